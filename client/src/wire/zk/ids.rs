//! Numbers that must not be mixed up.

use std::fmt;

/// A position in the agreed order of writes: epoch in the high 32 bits, counter in the low ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(pub u64);

impl Zxid {
    /// Before the first write.
    pub const ZERO: Zxid = Zxid(0);

    /// The position after this one.
    pub fn next(self) -> Zxid {
        Zxid(self.0 + 1)
    }

    /// As the wire writes it.
    pub fn to_wire(self) -> i64 {
        self.0 as i64
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// A session. Zero on the wire means "none yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub i64);

impl SessionId {
    /// No session.
    pub const NONE: SessionId = SessionId(0);
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}
