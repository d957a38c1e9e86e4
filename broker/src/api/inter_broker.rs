//! What brokers ask of each other. No client may: whoever could order leaders about, or speak for the controller of a later
//! epoch, would take the cluster from the real one.

use client::wire::kafka::messages::allocate_producer_ids::AllocateProducerIdsResponse;
use client::wire::kafka::messages::alter_partition::AlterPartitionResponse;
use client::wire::kafka::messages::controlled_shutdown::ControlledShutdownResponse;
use client::wire::kafka::messages::leader_and_isr::LeaderAndIsrResponse;
use client::wire::kafka::messages::stop_replica::StopReplicaResponse;
use client::wire::kafka::messages::update_metadata::UpdateMetadataResponse;
use client::wire::kafka::{ApiKey, ErrorCode};

use super::{Context, Reply, write};
use crate::net::connection::Ended;

/// Answers what is not served. In this release nobody can prove to be a broker, so nothing of an order is even read.
pub(super) fn refuse(context: &Context<'_>) -> Result<Reply, Ended> {
    let error_code = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
    match context.header.api_key {
        ApiKey::LeaderAndIsr => write(context, &LeaderAndIsrResponse { error_code, ..Default::default() }),
        ApiKey::StopReplica => write(context, &StopReplicaResponse { error_code, ..Default::default() }),
        ApiKey::UpdateMetadata => write(context, &UpdateMetadataResponse { error_code }),
        ApiKey::ControlledShutdown => {
            write(context, &ControlledShutdownResponse { error_code, ..Default::default() })
        }
        ApiKey::AlterPartition => {
            write(context, &AlterPartitionResponse { error_code, ..Default::default() })
        }
        ApiKey::AllocateProducerIds => {
            write(context, &AllocateProducerIdsResponse { error_code, ..Default::default() })
        }
        key => Err(Ended::Refused(format!("{} is not served", key.name()))),
    }
}
