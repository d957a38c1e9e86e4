//! What can be asked of a broker, and who answers it?
//!
//! One function a request, in a file a family. A handler decides nothing that a core could: it looks things up, asks, waits,
//! and says it in the protocol's words.

mod acls;
mod alter_configs;
mod api_versions;
mod client_quotas;
mod cluster;
mod configs;
mod data;
mod fetch;
mod fetch_session;
mod groups;
mod inter_broker;
mod list_offsets;
mod log_dirs;
mod metadata;
mod offsets;
mod produce;
mod producers;
mod throttle;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use client::wire::kafka::{ApiKey, ErrorCode, Message, Part, Reader, Request, RequestHeader, frame};

use crate::log::AppendError;
use crate::log::segment::FileRange;
use crate::net::connection::{Ended, Peer};
use crate::server::Broker;

pub use fetch_session::FetchSessions;
use throttle::Throttle;
pub(crate) use topics::{create_and_wait, parse_wanted};

/// What goes back to the client.
#[derive(Debug)]
pub enum Reply {
    /// A frame; its holes are filled from these files, in order.
    Frame { parts: Vec<Part>, files: Vec<FileRange> },
    /// The client does not expect any.
    Nothing,
}

/// An answer, and what comes after it.
#[derive(Debug)]
pub struct Answered {
    pub reply: Reply,
    /// Nothing is read from the client for so long: it was too fast.
    pub muted_for: Duration,
}

/// What a handler knows besides the request itself.
#[derive(Debug)]
pub struct Context<'a> {
    pub broker: &'a Arc<Broker>,
    pub peer: &'a Peer,
    pub header: &'a RequestHeader,
    /// The size of the request.
    pub size: usize,
    throttle: Throttle,
}

impl Context<'_> {
    pub fn version(&self) -> i16 {
        self.header.api_version
    }

    pub fn client_id(&self) -> &str {
        self.header.client_id.as_deref().unwrap_or_default()
    }
}

macro_rules! served {
    ($($key:ident => $handler:path;)+) => {
        /// What this broker answers; nothing else is advertised.
        pub const SERVED: &[ApiKey] = &[ApiKey::Produce, ApiKey::Fetch, ApiKey::ApiVersions, $(ApiKey::$key,)+];

        async fn dispatch(context: &Context<'_>, reader: Reader) -> Result<Reply, Ended> {
            match context.header.api_key {
                ApiKey::Produce => produce::handle(context, reader).await,
                ApiKey::Fetch => fetch::handle(context, reader).await,
                $(ApiKey::$key => {
                    let request = read(context, reader)?;
                    let mut response = context.throttle.timed($handler(context, request)).await;
                    response.throttle_time_ms = context.charge_time();
                    write(context, &response)
                })+
                _ => inter_broker::refuse(context),
            }
        }
    };
}

served! {
    ListOffsets => list_offsets::handle;
    Metadata => metadata::handle;
    OffsetCommit => offsets::commit;
    OffsetFetch => offsets::fetch;
    FindCoordinator => groups::find_coordinator;
    JoinGroup => groups::join;
    Heartbeat => groups::heartbeat;
    LeaveGroup => groups::leave;
    SyncGroup => groups::sync;
    DescribeGroups => groups::describe;
    ListGroups => groups::list;
    DeleteGroups => groups::delete;
    OffsetDelete => offsets::delete;
    CreateTopics => topics::create;
    DeleteTopics => topics::delete;
    CreatePartitions => topics::create_partitions;
    InitProducerId => producers::init;
    DescribeProducers => producers::describe;
    DescribeConfigs => configs::describe;
    AlterConfigs => alter_configs::replace;
    IncrementalAlterConfigs => alter_configs::change_single;
    DeleteRecords => data::delete_records;
    OffsetForLeaderEpoch => data::epoch_ends;
    DescribeLogDirs => log_dirs::describe;
    AlterReplicaLogDirs => log_dirs::alter;
    DescribeCluster => cluster::describe;
    ElectLeaders => cluster::elect_leaders;
    AlterPartitionReassignments => cluster::reassign;
    ListPartitionReassignments => cluster::list_reassignments;
    DescribeAcls => acls::describe;
    CreateAcls => acls::create;
    DeleteAcls => acls::delete;
    DescribeClientQuotas => client_quotas::describe;
    AlterClientQuotas => client_quotas::alter;
}

/// Answers one request of so many bytes. An error ends the connection.
pub async fn handle(
    broker: &Arc<Broker>,
    peer: &Peer,
    header: &RequestHeader,
    size: usize,
    reader: Reader,
) -> Result<Answered, Ended> {
    let context = Context { broker, peer, header, size, throttle: Throttle::default() };
    let reply = if header.api_key == ApiKey::ApiVersions {
        api_versions::handle(&context, reader)?
    } else if header.api_key.versions().contains(&header.api_version) {
        dispatch(&context, reader).await?
    } else {
        return Err(Ended::Refused(format!(
            "{} has no version {}",
            header.api_key.name(),
            header.api_version
        )));
    };
    Ok(Answered { reply, muted_for: context.throttle.wait() })
}

/// The request's body. Bytes behind it are passed over, as Kafka does: librdkafka sends some.
fn read<R: Request>(context: &Context<'_>, mut reader: Reader) -> Result<R, Ended> {
    let request = R::decode(&mut reader, context.version())?;
    if let Err(behind) = reader.finish() {
        let header = context.header;
        tracing::debug!(api = header.api_key.name(), version = header.api_version, %behind, "passed over");
    }
    Ok(request)
}

fn write<M: Message>(context: &Context<'_>, response: &M) -> Result<Reply, Ended> {
    encode(context, response, context.version(), Vec::new())
}

/// The response as it goes to the socket, with what goes there straight from files; counts the errors that it tells.
fn encode<M: Message>(
    context: &Context<'_>,
    response: &M,
    version: i16,
    files: Vec<FileRange>,
) -> Result<Reply, Ended> {
    let RequestHeader { api_key, correlation_id, .. } = *context.header;
    let frame = frame::response(response, api_key, version, correlation_id)?;
    context.broker.metrics.told(api_key, &frame.codes);
    Ok(Reply::Frame { parts: frame.parts, files })
}

/// The code that a producer gets for an error of the log.
pub(crate) fn append_error(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Corrupt(_) => ErrorCode::CORRUPT_MESSAGE,
        AppendError::InvalidRecord(_) => ErrorCode::INVALID_RECORD,
        AppendError::UnsupportedFormat(_) => ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
        AppendError::TooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
        AppendError::LargerThanSegment { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
        AppendError::InvalidTimestamp { .. } | AppendError::InvalidTimestampType => {
            ErrorCode::INVALID_TIMESTAMP
        }
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        AppendError::InvalidProducerEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
        AppendError::InvalidTxnState { .. } => ErrorCode::INVALID_TXN_STATE,
        AppendError::CoordinatorFenced { .. } => ErrorCode::TRANSACTION_COORDINATOR_FENCED,
        AppendError::Storage(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        AppendError::OutOfOrderOffsets { .. } => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}
