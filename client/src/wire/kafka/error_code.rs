//! Every error code of the protocol: number, Kafka's name for it, whether asking again can help, and what it says.

use std::fmt;

macro_rules! error_codes {
    ($($name:ident = $code:literal, $retry:ident, $message:literal;)+) => {
        /// A result code as responses carry it. Codes from the future stay the numbers they are.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct ErrorCode(pub i16);

        impl ErrorCode {
            $(
                #[doc = $message]
                pub const $name: ErrorCode = ErrorCode($code);
            )+

            /// All that are named here, `NONE` included.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)+];

            /// The name that Kafka's documentation and tools use.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(ErrorCode::$name => Some(stringify!($name)),)+
                    _ => None,
                }
            }

            /// One line for people who get no better explanation.
            pub const fn message(self) -> &'static str {
                match self {
                    $(ErrorCode::$name => $message,)+
                    _ => "an error that this version does not know",
                }
            }

            /// Whether the same request may succeed later, perhaps at another broker.
            pub const fn is_retriable(self) -> bool {
                match self {
                    $(ErrorCode::$name => error_codes!(@ $retry),)+
                    _ => false,
                }
            }
        }
    };
    (@ retry) => { true };
    (@ final) => { false };
}

// Those that only KRaft's quorum or share groups know are here for clients that meet a newer Kafka.
error_codes! {
    UNKNOWN_SERVER_ERROR = -1, final, "the server failed in a way it did not foresee";
    NONE = 0, final, "no error";
    OFFSET_OUT_OF_RANGE = 1, final, "the offset lies outside the partition's log";
    CORRUPT_MESSAGE = 2, retry, "the records are damaged: checksum, size or compressed data do not fit";
    UNKNOWN_TOPIC_OR_PARTITION = 3, retry, "this broker knows no such topic or partition";
    INVALID_FETCH_SIZE = 4, final, "the fetch size is not possible";
    LEADER_NOT_AVAILABLE = 5, retry, "the partition has no leader at the moment";
    NOT_LEADER_OR_FOLLOWER = 6, retry, "this broker does not lead (or follow) the partition";
    REQUEST_TIMED_OUT = 7, retry, "the time given was too short; the operation may still finish";
    BROKER_NOT_AVAILABLE = 8, final, "the broker is not available";
    REPLICA_NOT_AVAILABLE = 9, retry, "the replica is not available";
    MESSAGE_TOO_LARGE = 10, final, "the batch is larger than the topic allows";
    STALE_CONTROLLER_EPOCH = 11, final, "a newer controller is in charge";
    OFFSET_METADATA_TOO_LARGE = 12, final, "the metadata beside the offset is too long";
    NETWORK_EXCEPTION = 13, retry, "the connection broke before an answer came";
    COORDINATOR_LOAD_IN_PROGRESS = 14, retry, "the coordinator is still loading";
    COORDINATOR_NOT_AVAILABLE = 15, retry, "the coordinator is not available";
    NOT_COORDINATOR = 16, retry, "this broker is not the coordinator";
    INVALID_TOPIC_EXCEPTION = 17, final, "the topic name is not allowed";
    RECORD_LIST_TOO_LARGE = 18, final, "the batch is larger than a segment";
    NOT_ENOUGH_REPLICAS = 19, retry, "fewer replicas are in sync than the topic demands; nothing was written";
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, retry, "the records are written, but then fewer replicas were in sync than the topic demands";
    INVALID_REQUIRED_ACKS = 21, final, "acks must be 0, 1 or -1";
    ILLEGAL_GENERATION = 22, final, "the group has moved on to another generation";
    INCONSISTENT_GROUP_PROTOCOL = 23, final, "the member has no protocol in common with the group";
    INVALID_GROUP_ID = 24, final, "the group id is not allowed";
    UNKNOWN_MEMBER_ID = 25, final, "the coordinator knows no such member";
    INVALID_SESSION_TIMEOUT = 26, final, "the session timeout lies outside the broker's bounds";
    REBALANCE_IN_PROGRESS = 27, final, "the group is rebalancing; join again";
    INVALID_COMMIT_OFFSET_SIZE = 28, final, "the committed offset does not fit into a record";
    TOPIC_AUTHORIZATION_FAILED = 29, final, "not allowed to do this with the topic";
    GROUP_AUTHORIZATION_FAILED = 30, final, "not allowed to do this with the group";
    CLUSTER_AUTHORIZATION_FAILED = 31, final, "not allowed to do this with the cluster";
    INVALID_TIMESTAMP = 32, final, "a record's timestamp lies outside the topic's bounds";
    UNSUPPORTED_SASL_MECHANISM = 33, final, "the SASL mechanism is not enabled here";
    ILLEGAL_SASL_STATE = 34, final, "the request does not belong into this phase of the authentication";
    UNSUPPORTED_VERSION = 35, final, "this version of the request is not spoken here";
    TOPIC_ALREADY_EXISTS = 36, final, "the topic exists already";
    INVALID_PARTITIONS = 37, final, "the number of partitions is not possible";
    INVALID_REPLICATION_FACTOR = 38, final, "the replication factor is not possible";
    INVALID_REPLICA_ASSIGNMENT = 39, final, "the assignment of replicas is not consistent";
    INVALID_CONFIG = 40, final, "a setting is unknown or has an impossible value";
    NOT_CONTROLLER = 41, retry, "this broker is not the controller";
    INVALID_REQUEST = 42, final, "the request contradicts itself or is not complete";
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43, final, "the message format in use cannot express this";
    POLICY_VIOLATION = 44, final, "the server's policy does not allow this";
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45, final, "the producer's records do not follow the last ones received";
    DUPLICATE_SEQUENCE_NUMBER = 46, final, "the producer sent these records before";
    INVALID_PRODUCER_EPOCH = 47, final, "a producer with a newer epoch has taken over";
    INVALID_TXN_STATE = 48, final, "the transaction is in no state for this";
    INVALID_PRODUCER_ID_MAPPING = 49, final, "the producer id does not belong to this transactional id";
    INVALID_TRANSACTION_TIMEOUT = 50, final, "the transaction timeout lies outside the broker's bounds";
    CONCURRENT_TRANSACTIONS = 51, retry, "an earlier step of the transaction is still going on";
    TRANSACTION_COORDINATOR_FENCED = 52, final, "a newer coordinator is in charge of the transaction";
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, final, "not allowed to use this transactional id";
    SECURITY_DISABLED = 54, final, "access rules are not enabled here";
    OPERATION_NOT_ATTEMPTED = 55, final, "not tried, because something else in the request failed";
    KAFKA_STORAGE_ERROR = 56, retry, "the disk failed";
    LOG_DIR_NOT_FOUND = 57, final, "the broker has no such log directory";
    SASL_AUTHENTICATION_FAILED = 58, final, "the credentials were not accepted";
    UNKNOWN_PRODUCER_ID = 59, final, "the broker remembers nothing of this producer id";
    REASSIGNMENT_IN_PROGRESS = 60, final, "the partition is being reassigned";
    DELEGATION_TOKEN_AUTH_DISABLED = 61, final, "delegation tokens are not enabled here";
    DELEGATION_TOKEN_NOT_FOUND = 62, final, "no such delegation token";
    DELEGATION_TOKEN_OWNER_MISMATCH = 63, final, "the token belongs to somebody else";
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64, final, "tokens cannot be asked for over this connection";
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65, final, "not allowed to do this with the token";
    DELEGATION_TOKEN_EXPIRED = 66, final, "the token has expired";
    INVALID_PRINCIPAL_TYPE = 67, final, "principals of this type cannot be used here";
    NON_EMPTY_GROUP = 68, final, "the group still has members";
    GROUP_ID_NOT_FOUND = 69, final, "no such group";
    FETCH_SESSION_ID_NOT_FOUND = 70, retry, "no such fetch session";
    INVALID_FETCH_SESSION_EPOCH = 71, retry, "the fetch session expected another epoch";
    LISTENER_NOT_FOUND = 72, retry, "the leader does not offer the listener this request came through";
    TOPIC_DELETION_DISABLED = 73, final, "deleting topics is not enabled here";
    FENCED_LEADER_EPOCH = 74, retry, "the leader epoch given is older than the broker's";
    UNKNOWN_LEADER_EPOCH = 75, retry, "the leader epoch given is newer than the broker's";
    UNSUPPORTED_COMPRESSION_TYPE = 76, final, "the client's version cannot read this compression";
    STALE_BROKER_EPOCH = 77, final, "the broker has registered again since";
    OFFSET_NOT_AVAILABLE = 78, retry, "the leader does not know yet how far it may tell";
    MEMBER_ID_REQUIRED = 79, final, "join again with the member id just given";
    PREFERRED_LEADER_NOT_AVAILABLE = 80, retry, "the preferred leader is not in sync";
    GROUP_MAX_SIZE_REACHED = 81, final, "the group is full";
    FENCED_INSTANCE_ID = 82, final, "another member has taken over this instance id";
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83, retry, "no replica may become leader";
    ELECTION_NOT_NEEDED = 84, retry, "the right leader is in charge already";
    NO_REASSIGNMENT_IN_PROGRESS = 85, final, "nothing is being reassigned";
    GROUP_SUBSCRIBED_TO_TOPIC = 86, final, "the group still subscribes to the topic";
    INVALID_RECORD = 87, final, "a record is not acceptable to the topic";
    UNSTABLE_OFFSET_COMMIT = 88, retry, "an open transaction may still change the offsets";
    THROTTLING_QUOTA_EXCEEDED = 89, retry, "too many changes at once";
    PRODUCER_FENCED = 90, final, "a newer producer with this transactional id has taken over";
    RESOURCE_NOT_FOUND = 91, final, "no such resource";
    DUPLICATE_RESOURCE = 92, final, "the resource is named more than once";
    UNACCEPTABLE_CREDENTIAL = 93, final, "the credential is not acceptable";
    INCONSISTENT_VOTER_SET = 94, final, "the voters given are not the ones in the quorum";
    INVALID_UPDATE_VERSION = 95, final, "the update rests on a state that is no longer current";
    FEATURE_UPDATE_FAILED = 96, final, "the features could not be updated";
    PRINCIPAL_DESERIALIZATION_FAILURE = 97, final, "the principal in the envelope cannot be read";
    SNAPSHOT_NOT_FOUND = 98, final, "no such metadata snapshot";
    POSITION_OUT_OF_RANGE = 99, final, "the position lies outside the metadata snapshot";
    UNKNOWN_TOPIC_ID = 100, retry, "this broker knows no such topic id";
    DUPLICATE_BROKER_REGISTRATION = 101, final, "another broker is registered under this id";
    BROKER_ID_NOT_REGISTERED = 102, final, "no broker is registered under this id";
    INCONSISTENT_TOPIC_ID = 103, retry, "the topic id is not the one in the log directory";
    INCONSISTENT_CLUSTER_ID = 104, final, "the cluster id is not this cluster's";
    TRANSACTIONAL_ID_NOT_FOUND = 105, final, "no such transactional id";
    FETCH_SESSION_TOPIC_ID_ERROR = 106, retry, "the fetch session cannot mix topic names and topic ids";
    INELIGIBLE_REPLICA = 107, final, "a replica in the proposal cannot be in sync";
    NEW_LEADER_ELECTED = 108, final, "the controller elected another leader";
    OFFSET_MOVED_TO_TIERED_STORAGE = 109, final, "the offset is in remote storage only";
    FENCED_MEMBER_EPOCH = 110, final, "the member has missed an epoch";
    UNRELEASED_INSTANCE_ID = 111, final, "another member still uses this instance id";
    UNSUPPORTED_ASSIGNOR = 112, final, "the assignor is not known here";
    STALE_MEMBER_EPOCH = 113, final, "the member's epoch is not current";
    MISMATCHED_ENDPOINT_TYPE = 114, final, "this kind of endpoint does not answer such requests";
    UNSUPPORTED_ENDPOINT_TYPE = 115, final, "this kind of endpoint is not known here";
    UNKNOWN_CONTROLLER_ID = 116, final, "no such controller";
    UNKNOWN_SUBSCRIPTION_ID = 117, final, "no such telemetry subscription";
    TELEMETRY_TOO_LARGE = 118, final, "the telemetry is too large";
    INVALID_REGISTRATION = 119, final, "the registration is not acceptable";
    TRANSACTION_ABORTABLE = 120, final, "the transaction has to be aborted; the producer may go on";
    INVALID_RECORD_STATE = 121, final, "the shared record is in no state for this";
    SHARE_SESSION_NOT_FOUND = 122, retry, "no such share session";
    INVALID_SHARE_SESSION_EPOCH = 123, retry, "the share session expected another epoch";
    FENCED_STATE_EPOCH = 124, final, "a newer share coordinator is in charge";
    INVALID_VOTER_KEY = 125, final, "the voter is not the one meant";
    DUPLICATE_VOTER = 126, final, "the voter is in the quorum already";
    VOTER_NOT_FOUND = 127, final, "no such voter";
}

impl ErrorCode {
    /// `Err` with the code, unless it is `NONE`.
    pub fn ok(self) -> Result<(), ErrorCode> {
        match self {
            ErrorCode::NONE => Ok(()),
            error => Err(error),
        }
    }
}

impl Default for ErrorCode {
    fn default() -> ErrorCode {
        ErrorCode::NONE
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "ErrorCode({})", self.0),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}: {}", self.message())
    }
}

impl std::error::Error for ErrorCode {}
