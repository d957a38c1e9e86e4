//! A record set inside a Produce request or a Fetch response.

use bytes::Bytes;

/// Record batches as they travel, or the room for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// The batches themselves; what decoding gives, always.
    Bytes(Bytes),
    /// Only for encoding: the sender writes this many bytes here, straight from a file.
    Hole { length: u32 },
}

impl Records {
    pub fn len(&self) -> usize {
        match self {
            Records::Bytes(bytes) => bytes.len(),
            Records::Hole { length } => *length as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Records {
    fn default() -> Records {
        Records::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Records {
        Records::Bytes(bytes)
    }
}
