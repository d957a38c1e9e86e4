//! How a znode is created.

use std::borrow::Cow;
use std::time::Duration;

use crate::wire::zk::{Acl, Create, OpCode, Stat};

/// How long a new znode lives, and whether the server completes its name with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateMode {
    /// Until it is deleted.
    Persistent,
    /// The same, with ten digits added to the name, which rise with every child of the parent.
    PersistentSequential,
    /// Until the session ends.
    Ephemeral,
    /// The same, with ten digits added to the name.
    EphemeralSequential,
    /// Until its last child has gone; the server looks once in a while.
    Container,
    /// Until it has had no change and no child for so long. Servers must be told to offer this.
    Ttl(Duration),
    /// The same, with ten digits added to the name.
    TtlSequential(Duration),
}

impl CreateMode {
    /// Whether the server adds digits to the name.
    pub fn is_sequential(self) -> bool {
        use CreateMode::*;
        matches!(self, PersistentSequential | EphemeralSequential | TtlSequential(_))
    }

    /// With this access control list instead of everything for everybody.
    #[must_use]
    pub fn acl(self, acl: impl IntoIterator<Item = Acl<'static>>) -> CreateOptions {
        CreateOptions { mode: self, acl: acl.into_iter().collect() }
    }

    /// Operation, flags and time to live.
    fn to_wire(self) -> (OpCode, i32, i64) {
        let ms = |ttl: Duration| ttl.as_millis().try_into().unwrap_or(i64::MAX);
        match self {
            CreateMode::Persistent => (OpCode::Create2, 0, -1),
            CreateMode::Ephemeral => (OpCode::Create2, 1, -1),
            CreateMode::PersistentSequential => (OpCode::Create2, 2, -1),
            CreateMode::EphemeralSequential => (OpCode::Create2, 3, -1),
            CreateMode::Container => (OpCode::CreateContainer, 4, -1),
            CreateMode::Ttl(ttl) => (OpCode::CreateTtl, 5, ms(ttl)),
            CreateMode::TtlSequential(ttl) => (OpCode::CreateTtl, 6, ms(ttl)),
        }
    }
}

/// Everything about a new znode but its path and data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateOptions {
    /// How long it lives.
    pub mode: CreateMode,
    /// Who may do what with it.
    pub acl: Vec<Acl<'static>>,
}

impl From<CreateMode> for CreateOptions {
    fn from(mode: CreateMode) -> CreateOptions {
        mode.acl([Acl::open()])
    }
}

impl CreateOptions {
    pub(crate) fn request<'a>(&self, path: Cow<'a, str>, data: Option<&'a [u8]>) -> Create<'a> {
        let (op, flags, ttl_ms) = self.mode.to_wire();
        Create { op, path, data, acl: self.acl.clone(), flags, ttl_ms }
    }
}

/// A znode that was just created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its path, with the digits if the server added some.
    pub path: String,
    /// Its numbers.
    pub stat: Stat,
}
