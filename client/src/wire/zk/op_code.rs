//! Every operation code of the protocol, by name.

macro_rules! op_codes {
    ($($name:ident = $code:literal,)+) => {
        /// What a request asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum OpCode {
            $($name = $code,)+
        }

        impl OpCode {
            pub const ALL: &[OpCode] = &[$(OpCode::$name,)+];

            /// The name, for people.
            pub const fn name(self) -> &'static str {
                match self {
                    $(OpCode::$name => stringify!($name),)+
                }
            }

            pub const fn to_wire(self) -> i32 {
                self as i32
            }

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
    CloseSession = -11,
    CreateSession = -10,
    Error = -1,
    Create = 1,
    Delete = 2,
    Exists = 3,
    GetData = 4,
    SetData = 5,
    GetAcl = 6,
    SetAcl = 7,
    GetChildren = 8,
    Sync = 9,
    Ping = 11,
    GetChildren2 = 12,
    Check = 13,
    Multi = 14,
    Create2 = 15,
    Reconfig = 16,
    CheckWatches = 17,
    RemoveWatches = 18,
    CreateContainer = 19,
    DeleteContainer = 20,
    CreateTtl = 21,
    MultiRead = 22,
    Auth = 100,
    SetWatches = 101,
    Sasl = 102,
    GetEphemerals = 103,
    GetAllChildrenNumber = 104,
    SetWatches2 = 105,
    AddWatch = 106,
    WhoAmI = 107,
}
