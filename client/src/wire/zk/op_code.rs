//! Every operation code of the protocol, by name.

macro_rules! op_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)+) => {
        /// What a request asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum OpCode {
            $($(#[$doc])* $name = $code,)+
        }

        impl OpCode {
            /// All of them.
            pub const ALL: &[OpCode] = &[$(OpCode::$name,)+];

            /// The name, for people.
            pub const fn name(self) -> &'static str {
                match self {
                    $(OpCode::$name => stringify!($name),)+
                }
            }

            /// The code on the wire.
            pub const fn to_wire(self) -> i32 {
                self as i32
            }

            /// The named operation, or `None` for codes the protocol does not define.
            pub fn from_wire(code: i32) -> Option<OpCode> {
                match code {
                    $($code => Some(OpCode::$name),)+
                    _ => None,
                }
            }
        }
    };
}

op_codes! {
    /// Ends the session.
    CloseSession = -11,
    /// Begins a session; only in logs.
    CreateSession = -10,
    /// In a multi: the result of what failed.
    Error = -1,
    /// Creates a znode.
    Create = 1,
    /// Deletes a znode.
    Delete = 2,
    /// Asks whether there is a znode.
    Exists = 3,
    /// Reads data.
    GetData = 4,
    /// Sets data.
    SetData = 5,
    /// Reads an access control list.
    GetAcl = 6,
    /// Sets an access control list.
    SetAcl = 7,
    /// Lists children.
    GetChildren = 8,
    /// Waits until the server has caught up with the leader.
    Sync = 9,
    /// Keeps the session alive.
    Ping = 11,
    /// Lists children, with the parent's stat.
    GetChildren2 = 12,
    /// In a multi: compares a version.
    Check = 13,
    /// Several writes, all or none.
    Multi = 14,
    /// Creates a znode, and asks for its stat.
    Create2 = 15,
    /// Changes the members.
    Reconfig = 16,
    /// Asks whether there is a watch.
    CheckWatches = 17,
    /// Takes watches away.
    RemoveWatches = 18,
    /// Creates a container.
    CreateContainer = 19,
    /// Deletes an empty container; only servers do.
    DeleteContainer = 20,
    /// Creates a znode with a time to live.
    CreateTtl = 21,
    /// Several reads.
    MultiRead = 22,
    /// Adds an identity.
    Auth = 100,
    /// Sets one-shot watches again on a new connection.
    SetWatches = 101,
    /// A step of SASL.
    Sasl = 102,
    /// Lists the session's ephemerals.
    GetEphemerals = 103,
    /// Counts everything below a znode.
    GetAllChildrenNumber = 104,
    /// Sets watches of all kinds again on a new connection.
    SetWatches2 = 105,
    /// Sets a watch that stays.
    AddWatch = 106,
    /// Lists the session's identities.
    WhoAmI = 107,
}
