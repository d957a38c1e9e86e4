//! Every error code of the protocol, by name.

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)+) => {
        /// A result code as the reply header carries it; success is the absence of one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum ErrorCode {
            $($(#[$doc])* $name = $code,)+
        }

        impl ErrorCode {
            /// The code on the wire.
            pub const fn to_wire(self) -> i32 {
                self as i32
            }

            /// The named code, or `None` for success and codes the protocol does not define.
            pub fn from_wire(code: i32) -> Option<ErrorCode> {
                match code {
                    $($code => Some(ErrorCode::$name),)+
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    /// The server could not do what it was asked for a reason of its own.
    SystemError = -1,
    /// In a failed multi: an operation after the one that failed.
    RuntimeInconsistency = -2,
    /// Replicas disagree; no server says so.
    DataInconsistency = -3,
    /// The connection was lost; clients say so to themselves.
    ConnectionLoss = -4,
    /// The request could not be parsed.
    MarshallingError = -5,
    /// The server does not offer this.
    Unimplemented = -6,
    /// The server gave up waiting for itself or others.
    OperationTimeout = -7,
    /// The request makes no sense.
    BadArguments = -8,
    /// No such session; no server says so.
    UnknownSession = -12,
    /// The members that a change wants are too few that are in step.
    NewConfigNoQuorum = -13,
    /// Another change of the members is not over yet.
    ReconfigInProgress = -14,
    /// Where the codes about requests begin; no code itself.
    ApiError = -100,
    /// There is no such znode.
    NoNode = -101,
    /// The access control list does not allow it.
    NoAuth = -102,
    /// The version is another one.
    BadVersion = -103,
    /// Ephemerals have no children.
    NoChildrenForEphemerals = -108,
    /// There is such a znode already.
    NodeExists = -110,
    /// The znode has children.
    NotEmpty = -111,
    /// The session is over.
    SessionExpired = -112,
    /// Of the Java client; no server says so.
    InvalidCallback = -113,
    /// The access control list is empty, or names nobody.
    InvalidAcl = -114,
    /// The identity was not proven.
    AuthFailed = -115,
    /// The session lives on another server by now.
    SessionMoved = -118,
    /// This server answers reads only.
    NotReadOnly = -119,
    /// A session that one server alone knows cannot have ephemerals.
    EphemeralOnLocalSession = -120,
    /// There is no such watch.
    NoWatcher = -121,
    /// The client gave up; clients say so to themselves.
    RequestTimeout = -122,
    /// Changes of the members are switched off.
    ReconfigDisabled = -123,
    /// The session was closed because it must authenticate by SASL first.
    SessionClosedRequireSaslAuth = -124,
    /// A quota on a part of the tree would be exceeded.
    QuotaExceeded = -125,
    /// The server has too much to do.
    ThrottledOp = -127,
}
