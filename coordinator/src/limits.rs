//! Every bound of the server, and the memory they add up to.
//!
//! What a configuration may change has its default and its ceiling here. Full means *slow, then refuse*: a socket is not
//! read further, then a request or a connection is refused; an acknowledged write is never dropped.
//!
//! Worst case beside the tree, with the defaults (what `rookery.memoryLimit` watches over is the tree, its sessions and
//! watches, plus all of this):
//!
//! | what | bound |
//! |---|---|
//! | requests read and not yet answered | [`IN_FLIGHT_BYTES_MAX`] 64 MiB |
//! | frames of which only a part has come | [`INCOMPLETE_BYTES_TOTAL_MAX`] 256 MiB, and [`READ_CHUNK_BYTES`] 64 KiB for each connection |
//! | replies and notifications not yet sent | [`UNSENT_BYTES_TOTAL_MAX`] 256 MiB |
//! | records on their way to the log | within the requests; the log's queue takes 32 MiB (`store::writer`), its buffer keeps 4 MiB |
//! | a snapshot under way | 4 MiB of chunks (`store::snapshotter`), and one pre-image each of nodes changed meanwhile, passed on at once |
//! | TLS handshakes | [`HANDSHAKES_DEFAULT`] × about 64 KiB of certificates and records = 16 MiB |
//! | the operations port | [`ADMIN_CONNECTIONS_MAX`] × (a head of at most 400 KiB + one page of at most [`LISTING_BYTES_MAX`]) = 270 MiB |
//! | entries kept for members that are behind | 16 MiB (`zab::Settings`), up to eight times that while one is sent a snapshot or the log; of that, 1 MiB and one record at a time |
//! | what waits for other members | [`PEER_QUEUE_BYTES_MAX`] 64 MiB and one frame for each, shared where the bytes are the same |
//! | what other members are sending | [`PEER_FRAME_BYTES_MAX`] 64 MiB for each that is in the middle of such a frame |
//! | peers that have not proven who they are | [`PEER_HANDSHAKES_MAX`] × (about 64 KiB + [`PEER_GREETING_BYTES_MAX`]) = 4.3 MiB |
//! | the audit log | [`AUDIT_QUEUE_LINES_MAX`] × [`AUDIT_LINE_BYTES_MAX`] = 16 MiB |

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

// ---- Requests ----

/// `jute.maxbuffer`: bytes of the longest request frame, and of the longest packet a Java client reads by default.
pub const FRAME_BYTES_DEFAULT: usize = 0xf_ffff;
/// The most `jute.maxbuffer` may be set to: a write must fit a log record with room to spare.
pub const FRAME_BYTES_CEILING: usize = 16 * MIB;
/// Operations in one multi. Kafka and Curator stay below a few thousand.
pub const MULTI_OPS_MAX: usize = 100_000;
/// Bytes of a reply that is worth a warning in the log: clients refuse packets above their own limit.
pub const REPLY_BYTES_LARGE: usize = FRAME_BYTES_DEFAULT;
/// Bytes of the longest reply; a longer one is refused instead of built (a directory of 10 million children).
pub const REPLY_BYTES_MAX: usize = 64 * MIB;

// ---- Connections ----

/// `clientPortListenBacklog`: what the system queues before we accept.
pub const ACCEPT_BACKLOG_DEFAULT: u32 = 1024;
/// `maxClientCnxns`: connections from one address.
pub const CONNECTIONS_PER_ADDRESS_DEFAULT: u32 = 60;
/// Open files kept back from connections: log, snapshots, the operations port, libraries.
pub const FILES_RESERVED: u64 = 128;
/// `maxCnxns` when nobody sets it and the open-file limit is higher.
pub const CONNECTIONS_MAX: u32 = 200_000;
/// Seconds a new connection may take for its handshake.
pub const HANDSHAKE_SECONDS_DEFAULT: u64 = 10;
/// What a connection reads in one go; a buffer of this size is shared by all, so an idle connection holds none.
pub const READ_CHUNK_BYTES: usize = 64 * KIB;
/// Bytes waiting to be sent to one client before it is read no further.
pub const UNSENT_BYTES_PER_CONNECTION_SLOW: usize = MIB;
/// Notifications waiting for one client (it reads nothing, its watches fire) before it is closed.
pub const UNSENT_BYTES_PER_CONNECTION_MAX: usize = 16 * MIB + REPLY_BYTES_LARGE;
/// Bytes waiting to be sent to all clients; above it, the client with most is closed.
pub const UNSENT_BYTES_TOTAL_MAX: usize = 256 * MIB;
/// The most requests of one connection that are handled in one go.
pub const REQUESTS_PER_TURN_MAX: usize = 256;
/// What one connection may read and write before others have their turn, however fast its client asks.
pub const TURN_BYTES: usize = 64 * KIB;

/// Bytes of frames of which only a part has come, in all; a quarter of `rookery.memoryLimit` if that is less. Above it, a
/// connection that adds more to a long one is closed.
pub const INCOMPLETE_BYTES_TOTAL_MAX: usize = 256 * MIB;

/// `globalOutstandingLimit`: requests under way in all before connections that have some are read no further.
pub const OUTSTANDING_DEFAULT: u32 = 1000;
/// The most `globalOutstandingLimit` may be set to.
pub const OUTSTANDING_CEILING: u32 = 1_000_000;
/// Requests of one connection under way.
pub const OUTSTANDING_PER_CONNECTION_DEFAULT: u32 = 1000;
/// Bytes of requests under way in all: a thousand requests of a mebibyte would be a gigabyte.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 * MIB;
/// `largeRequestMaxBytes`: bytes of large requests under way together.
pub const LARGE_REQUEST_BYTES_DEFAULT: u64 = 100 * 1024 * 1024;

// ---- Sessions and watches ----

/// Sessions that may exist. About 150 B each.
pub const SESSIONS_DEFAULT: u32 = 1_000_000;
/// Watches in all. About 60 B each, beside paths that do not exist in the tree.
pub const WATCHES_DEFAULT: u32 = 10_000_000;
/// Watches of one connection.
pub const WATCHES_PER_CONNECTION_DEFAULT: u32 = 1_000_000;
/// Authenticated identities of one connection.
pub const IDENTITIES_PER_CONNECTION_MAX: usize = 64;
/// Bytes of one identity (scheme and id).
pub const IDENTITY_BYTES_MAX: usize = 4 * KIB;
/// Entries of one ACL.
pub const ACL_ENTRIES_MAX: usize = 10_000;
/// Rounds of one SASL exchange.
pub const SASL_ROUNDS_MAX: usize = 4;
/// Bytes of a SASL token: what RFC 2831 allows for a digest response.
pub const SASL_TOKEN_BYTES_MAX: usize = 4096;

// ---- Log and snapshots ----

/// Commands waiting for the log thread.
pub const LOG_QUEUE_COMMANDS_MAX: usize = 8192;
/// `maxBatchSize`: commands that share one fsync.
pub const LOG_BATCH_COMMANDS_DEFAULT: u32 = 1000;
/// What a command adds around the request that caused it: session, identities, clock, encoding.
pub const COMMAND_OVERHEAD_BYTES_MAX: usize = MIB + IDENTITIES_PER_CONNECTION_MAX * IDENTITY_BYTES_MAX;
/// Bytes of one log record. Recovery refuses a longer one, so admission must too.
pub const LOG_RECORD_BYTES_MAX: usize = crate::store::RECORD_BYTES_MAX;
/// Nodes a snapshot walks before clients are served again.
pub const SNAPSHOT_SLICE_NODES: usize = 1024;
/// `autopurge.snapRetainCount`: the fewest snapshots kept.
pub const SNAPSHOTS_RETAINED_MIN: u32 = 3;

// ---- TLS ----

/// Handshakes under way at once; further connections wait in the queue below.
pub const HANDSHAKES_DEFAULT: u32 = 256;
/// Accepted sockets waiting for a handshake to begin; beyond it they are closed.
pub const HANDSHAKE_QUEUE_MAX: usize = 1024;
/// Milliseconds a handshake may take.
pub const HANDSHAKE_MILLIS_DEFAULT: u64 = 5000;
/// Bytes of a key store or trust store file.
pub const KEY_STORE_BYTES_MAX: usize = 4 * MIB;

// ---- Members ----

/// Bytes of one frame between members: the largest record of the log, and what a message adds to it.
pub const PEER_FRAME_BYTES_MAX: usize = 64 * MIB;
/// Bytes of a frame before a peer has proven who it is.
pub const PEER_GREETING_BYTES_MAX: usize = 4 * KIB;
/// Bytes waiting to be sent to one member; above it, its link is dropped.
pub const PEER_QUEUE_BYTES_MAX: usize = 64 * MIB;
/// What a link reads in one go; a partial frame makes its buffer grow with what has come, never with what was announced.
pub const PEER_READ_CHUNK_BYTES: usize = 64 * KIB;
/// Frames handed on from one link before the others get their turn.
pub const PEER_FRAMES_PER_TURN_MAX: usize = 256;
/// Accepted links that have not proven who they are; beyond it, the oldest of them is closed.
pub const PEER_HANDSHAKES_MAX: usize = 64;
/// `cnxTimeout`: milliseconds in which a link comes up or is given up.
pub const PEER_HANDSHAKE_MILLIS_DEFAULT: u64 = 5000;
/// Milliseconds a single address has to accept a connection, so that one that swallows packets does not cost all the time.
pub const PEER_CONNECT_MILLIS_MAX: u64 = 1000;
/// Seconds without any byte taken by the other end, while some wait, after which a link is dropped.
pub const PEER_WRITE_STALL_SECONDS_MAX: u64 = 10;
/// Links that came up and wait for the core thread.
pub const PEER_ARRIVALS_MAX: usize = 64;

// ---- Operations ----

/// Bytes of a configuration, membership or login file.
pub const CONFIG_FILE_BYTES_MAX: usize = client::properties::FILE_BYTES_MAX;
/// Bytes of a listing (wchc, wchp, dump, cons): longer ones end with a line that says so.
pub const LISTING_BYTES_MAX: usize = 8 * MIB;
/// Entries of a listing handed from the core thread to a renderer.
pub const LISTING_ENTRIES_MAX: usize = 100_000;
/// HTTP connections at once on the operations port.
pub const ADMIN_CONNECTIONS_MAX: usize = 32;
/// Seconds an HTTP request may take, streams excepted.
pub const ADMIN_REQUEST_SECONDS_MAX: u64 = 30;
/// Questions from the operations port waiting for the core thread.
pub const QUERY_QUEUE_MAX: usize = 64;
/// Chunks of a snapshot or restore stream between the operations port and the core.
pub const STREAM_QUEUE_CHUNKS_MAX: usize = 16;
/// Bytes of the longest line of the audit log; longer paths and ACLs are cut.
pub const AUDIT_LINE_BYTES_MAX: usize = 4 * KIB;
/// Lines waiting for the audit writer; when they are, lines are counted as lost rather than clients stopped.
pub const AUDIT_QUEUE_LINES_MAX: usize = 4096;
/// Complaints about connections in the log, per second, after which they are only counted.
pub const COMPLAINTS_PER_SECOND_MAX: u32 = 10;

// ---- Relations ----

// A client with default settings can read back whatever it could write.
const _: () = assert!(FRAME_BYTES_DEFAULT <= REPLY_BYTES_LARGE && REPLY_BYTES_LARGE <= REPLY_BYTES_MAX);
// Whatever is accepted can be logged, and so be read again at the next start. Names in sequence grow by ten digits and
// ACLs by expansion of `auth`, hence the factor.
const _: () = assert!(FRAME_BYTES_CEILING * 2 + COMMAND_OVERHEAD_BYTES_MAX <= LOG_RECORD_BYTES_MAX);
// The largest request alone must fit what may be under way, or it could never be served.
const _: () = assert!(FRAME_BYTES_CEILING <= IN_FLIGHT_BYTES_MAX);
// A frame of multi operations cannot hold more than it has bytes for: a header of nine bytes each.
const _: () = assert!(MULTI_OPS_MAX * 9 <= FRAME_BYTES_DEFAULT);
// One connection cannot take all of what the others share.
const _: () = assert!(WATCHES_PER_CONNECTION_DEFAULT < WATCHES_DEFAULT);
const _: () = assert!(OUTSTANDING_PER_CONNECTION_DEFAULT <= OUTSTANDING_DEFAULT);
const _: () = assert!(UNSENT_BYTES_PER_CONNECTION_SLOW < UNSENT_BYTES_PER_CONNECTION_MAX);
const _: () = assert!(UNSENT_BYTES_PER_CONNECTION_MAX < UNSENT_BYTES_TOTAL_MAX);
// Everything under way may be a write, and must find room in the log's queue without waiting on the core thread.
const _: () = assert!(OUTSTANDING_DEFAULT as usize * 2 <= LOG_QUEUE_COMMANDS_MAX);
const _: () = assert!(LOG_BATCH_COMMANDS_DEFAULT as usize <= LOG_QUEUE_COMMANDS_MAX);
// Whatever is accepted can be sent to a member, with what a message adds to it.
const _: () = assert!(FRAME_BYTES_CEILING * 2 + COMMAND_OVERHEAD_BYTES_MAX + MIB <= PEER_FRAME_BYTES_MAX);
// An open connection costs a file, and the smallest usual limit (1024 files) must leave room for clients.
const _: () = assert!(FILES_RESERVED + ADMIN_CONNECTIONS_MAX as u64 <= 256);
const _: () = assert!(HANDSHAKES_DEFAULT as usize <= HANDSHAKE_QUEUE_MAX);
