//! What can go wrong with a request, by name.

use crate::wire::codec::DecodeError;
use crate::wire::zk::ErrorCode;
use crate::wire::zk::path::PathError;

/// Why a request failed.
///
/// Three of them are about the connection, and they differ in what may have happened:
/// [`ConnectionLoss`](Error::ConnectionLoss) and [`SessionExpired`](Error::SessionExpired) leave everything as it was,
/// [`UnknownOutcome`](Error::UnknownOutcome) does not say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- The connection ----
    /// No server could be reached in time. Nothing has changed: the request was never sent, or it was a read.
    #[error("no server could be reached in time; nothing was changed")]
    ConnectionLoss,
    /// No server has confirmed the new session in time; this is why the last attempt failed.
    #[error("no server could be reached in time: {}", if .0.is_empty() { "no answer" } else { .0 })]
    Unreachable(String),
    /// The connection was lost after the request was sent and before its answer came: it was executed once or not at all.
    #[error("the connection was lost before the answer came: the request was executed once or not at all")]
    UnknownOutcome,
    /// The session is over: its ephemerals and watches are gone, and this handle answers nothing any more.
    #[error("the session has expired")]
    SessionExpired,
    /// The session was closed on this side.
    #[error("the session is closed")]
    Closed,
    /// The server does not accept who we say we are; the session ended with that.
    #[error("authentication failed")]
    AuthFailed,

    // ---- What this side refuses ----
    /// The path is none.
    #[error("{path:?} is no path: {reason}")]
    BadPath {
        /// As given.
        path: String,
        /// Which rule it breaks.
        reason: PathError,
    },
    /// The options do not make sense.
    #[error("bad option: {0}")]
    BadOption(String),
    /// The request is larger than a server would read; nothing was sent.
    #[error("the request has {bytes} bytes, the limit is {limit}")]
    RequestTooLarge {
        /// Its size as a frame.
        bytes: usize,
        /// [`Builder::request_bytes_max`](super::Builder::request_bytes_max).
        limit: usize,
    },
    /// The answer is larger than this side wants to hold. A write was executed all the same.
    #[error("the reply has {bytes} bytes, the limit is {limit}")]
    ReplyTooLarge {
        /// Its size as a frame.
        bytes: usize,
        /// [`Builder::reply_bytes_max`](super::Builder::reply_bytes_max).
        limit: usize,
    },
    /// What the server sent is not what the protocol allows.
    #[error("the server broke the protocol: {0}")]
    Protocol(#[from] DecodeError),

    // ---- What the server answers ----
    /// An operation of a transaction failed, and none of them was executed.
    #[error("operation {index} of the transaction failed: {error}")]
    Transaction {
        /// Which, counted from 0.
        index: usize,
        /// Why.
        error: Box<Error>,
    },
    /// The znode does not exist; of a create, its parent.
    #[error("no such znode")]
    NoNode,
    /// There is a znode already.
    #[error("the znode exists already")]
    NodeExists,
    /// The znode has another version than the one expected.
    #[error("the version is not the expected one")]
    BadVersion,
    /// The znode has children.
    #[error("the znode has children")]
    NotEmpty,
    /// The parent is an ephemeral znode.
    #[error("ephemeral znodes have no children")]
    NoChildrenForEphemerals,
    /// The access control list does not allow it.
    #[error("not allowed by the access control list")]
    NoAuth,
    /// The access control list is empty, or names what no server knows.
    #[error("the access control list is invalid")]
    InvalidAcl,
    /// The path, the mode or another field is not valid there.
    #[error("the server finds the arguments invalid")]
    BadArguments,
    /// A hard quota would be exceeded.
    #[error("a quota would be exceeded")]
    QuotaExceeded,
    /// There is no such watch on this connection.
    #[error("no such watch")]
    NoWatcher,
    /// The server serves reads only, for want of a quorum.
    #[error("the server is read-only for now")]
    NotReadOnly,
    /// The server has no such operation, or it is switched off.
    #[error("the server does not offer this operation")]
    Unimplemented,
    /// The server could not parse the request.
    #[error("the server could not parse the request")]
    MarshallingError,
    /// The server had too much to do and did not execute the request.
    #[error("the server was too busy and did not execute the request")]
    ThrottledOp,
    /// Requests are only accepted after SASL authentication.
    #[error("the server requires authentication by SASL")]
    SessionClosedRequireSaslAuth,
    /// Ephemerals need a session that the whole ensemble knows.
    #[error("a local session cannot have ephemeral znodes")]
    EphemeralOnLocalSession,
    /// Changing the members is switched off.
    #[error("changing the members is switched off")]
    ReconfigDisabled,
    /// Another change of the members is under way.
    #[error("another change of the members is under way")]
    ReconfigInProgress,
    /// The new members would have no quorum in step.
    #[error("there is no quorum of the new members")]
    NewConfigNoQuorum,
    /// The session lives on at another server.
    #[error("the session has moved to another server")]
    SessionMoved,
    /// The server does not know the session.
    #[error("the server does not know the session")]
    UnknownSession,
    /// The server gave up on the request.
    #[error("the server gave up on the request: out of time")]
    OperationTimeout,
    /// The request timed out.
    #[error("the request timed out")]
    RequestTimeout,
    /// The server failed for a reason of its own.
    #[error("the server failed")]
    SystemError,
    /// The server's state contradicts itself.
    #[error("the server's state contradicts itself")]
    DataInconsistency,
    /// The operation stands after one that failed in its transaction.
    #[error("not executed, because an operation before it failed")]
    RuntimeInconsistency,
    /// A callback was invalid.
    #[error("invalid callback")]
    InvalidCallback,
    /// An error of the interface that has no name of its own.
    #[error("an unspecified error")]
    ApiError,
    /// A code that the protocol does not define.
    #[error("the server answered with the unknown error code {0}")]
    Unknown(i32),
}

impl Error {
    /// The error that a reply's code stands for; `None` is success.
    pub(crate) fn from_wire(code: i32) -> Option<Error> {
        if code == 0 {
            return None;
        }
        Some(ErrorCode::from_wire(code).map_or(Error::Unknown(code), Error::from))
    }

    /// Whether the request certainly changed nothing, so that asking again cannot do it twice.
    pub fn changed_nothing(&self) -> bool {
        !matches!(self, Error::UnknownOutcome | Error::ReplyTooLarge { .. } | Error::Protocol(_))
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Error {
        match code {
            ErrorCode::SystemError => Error::SystemError,
            ErrorCode::RuntimeInconsistency => Error::RuntimeInconsistency,
            ErrorCode::DataInconsistency => Error::DataInconsistency,
            ErrorCode::ConnectionLoss => Error::ConnectionLoss,
            ErrorCode::MarshallingError => Error::MarshallingError,
            ErrorCode::Unimplemented => Error::Unimplemented,
            ErrorCode::OperationTimeout => Error::OperationTimeout,
            ErrorCode::BadArguments => Error::BadArguments,
            ErrorCode::UnknownSession => Error::UnknownSession,
            ErrorCode::NewConfigNoQuorum => Error::NewConfigNoQuorum,
            ErrorCode::ReconfigInProgress => Error::ReconfigInProgress,
            ErrorCode::ApiError => Error::ApiError,
            ErrorCode::NoNode => Error::NoNode,
            ErrorCode::NoAuth => Error::NoAuth,
            ErrorCode::BadVersion => Error::BadVersion,
            ErrorCode::NoChildrenForEphemerals => Error::NoChildrenForEphemerals,
            ErrorCode::NodeExists => Error::NodeExists,
            ErrorCode::NotEmpty => Error::NotEmpty,
            ErrorCode::SessionExpired => Error::SessionExpired,
            ErrorCode::InvalidCallback => Error::InvalidCallback,
            ErrorCode::InvalidAcl => Error::InvalidAcl,
            ErrorCode::AuthFailed => Error::AuthFailed,
            ErrorCode::SessionMoved => Error::SessionMoved,
            ErrorCode::NotReadOnly => Error::NotReadOnly,
            ErrorCode::EphemeralOnLocalSession => Error::EphemeralOnLocalSession,
            ErrorCode::NoWatcher => Error::NoWatcher,
            ErrorCode::RequestTimeout => Error::RequestTimeout,
            ErrorCode::ReconfigDisabled => Error::ReconfigDisabled,
            ErrorCode::SessionClosedRequireSaslAuth => Error::SessionClosedRequireSaslAuth,
            ErrorCode::QuotaExceeded => Error::QuotaExceeded,
            ErrorCode::ThrottledOp => Error::ThrottledOp,
        }
    }
}
