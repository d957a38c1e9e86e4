//! Every bound of the broker that is not a setting of Kafka's.

use std::time::Duration;

/// Groups that one broker coordinates.
pub const GROUPS_MAX: usize = 1_000_000;
/// Partitions that a topic may have: each is a directory and some open files.
pub const PARTITIONS_PER_TOPIC_MAX: i32 = 100_000;
/// What the cleaner may remember of keys, whatever is configured.
pub const CLEANER_BUFFER_BYTES_MAX: i64 = 2 << 30;
/// How much is read from a socket at once. Requests that are larger are charged against the memory that all share.
pub const READ_BYTES: usize = 64 << 10;
/// What large requests may take all together, if nothing else is set. Besides, each connection may have [`READ_BYTES`] of
/// small ones and [`ANSWERS_BYTES`], and one large request at a time goes beyond the bound.
pub const REQUEST_MEMORY_BYTES: usize = 256 << 20;
/// Requests that one connection gets served before others have their turn. A producer that always has more under way would
/// else keep a thread for a hundred reads, and everybody else waiting for that.
pub const TURN_BYTES: usize = 256 << 10;
/// Small answers wait for each other up to this.
pub const ANSWERS_BYTES: usize = 16 << 10;
/// How much is read from a file at once to be encrypted.
pub const SEND_BYTES: usize = 256 << 10;
/// A request that has begun must arrive within this, and a little longer for every byte that came.
pub const FRAME_ARRIVES_WITHIN: Duration = Duration::from_secs(30);
/// The slowest line on which a large request is waited for.
const BYTES_PER_SECOND_MIN: u64 = 64 << 10;
/// A TLS handshake must be over within this.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted. With fewer, clients that all come at once wait a second for their second attempt.
pub const BACKLOG_MIN: u32 = 1024;
/// Requests that take longer are logged, unless they wait by design.
pub const SLOW_REQUEST: Duration = Duration::from_secs(1);
/// Lines a second in the log about clients that were sent away.
pub const COMPLAINTS_PER_SECOND: usize = 10;
/// Topics whose traffic is counted by themselves.
pub const TOPICS_COUNTED_MAX: usize = 10_000;
/// Partitions whose logs are described in the metrics.
pub const PARTITIONS_SHOWN_MAX: usize = 10_000;
/// Orders of the controller that wait to be done.
pub const ORDERS_MAX: usize = 1000;
/// A question to the controller must be answered within this.
pub const CONTROLLER_ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// Requests to the controller that wait.
pub const ASKS_MAX: usize = 1000;
/// The largest record of an internal topic that is looked into.
pub const INTERNAL_RECORD_BYTES_MAX: usize = 64 << 20;

/// How long so many bytes may take on the slowest line.
pub fn time_for(bytes: usize) -> Duration {
    Duration::from_micros(bytes as u64 * 1_000_000 / BYTES_PER_SECOND_MIN)
}
