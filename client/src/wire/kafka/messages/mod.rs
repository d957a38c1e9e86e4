//! Requests and responses, a file per API: what may be said, and since when.
//!
//! A field that a struct has always had names no versions; all others do. What a field means is said where its name
//! does not say it. The same everywhere:
//!
//! - `error_message` is for people and may say more than `error_code`;
//! - `timeout_ms` is how long the server may take before it answers with what is done so far;
//! - `throttle_time_ms` is how long the client is slowed down by a quota, or has been in the oldest versions;
//! - `*_authorized_operations` is a bit field of what the client may do, `i32::MIN` if it did not ask.

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod allocate_producer_ids;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod alter_user_scram_credentials;
pub mod api_versions;
pub mod controlled_shutdown;
pub mod create_acls;
pub mod create_delegation_token;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_delegation_token;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod end_txn;
pub mod envelope;
pub mod expire_delegation_token;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leader_and_isr;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod renew_delegation_token;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod stop_replica;
pub mod sync_group;
pub mod txn_offset_commit;
pub mod update_features;
pub mod update_metadata;
pub mod write_txn_markers;

use std::ops::RangeInclusive;

use crate::wire::kafka::{ApiKey, Message, Request};

pub use add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
pub use add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
pub use allocate_producer_ids::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
pub use alter_client_quotas::{AlterClientQuotasRequest, AlterClientQuotasResponse};
pub use alter_configs::{AlterConfigsRequest, AlterConfigsResponse};
pub use alter_partition::{AlterPartitionRequest, AlterPartitionResponse};
pub use alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
};
pub use alter_replica_log_dirs::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
pub use alter_user_scram_credentials::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
pub use api_versions::{ApiVersionsRequest, ApiVersionsResponse};
pub use controlled_shutdown::{ControlledShutdownRequest, ControlledShutdownResponse};
pub use create_acls::{CreateAclsRequest, CreateAclsResponse};
pub use create_delegation_token::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};
pub use create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
pub use create_topics::{CreateTopicsRequest, CreateTopicsResponse};
pub use delete_acls::{DeleteAclsRequest, DeleteAclsResponse};
pub use delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
pub use delete_records::{DeleteRecordsRequest, DeleteRecordsResponse};
pub use delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
pub use describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
pub use describe_client_quotas::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
pub use describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
pub use describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse};
pub use describe_delegation_token::{DescribeDelegationTokenRequest, DescribeDelegationTokenResponse};
pub use describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
pub use describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
pub use describe_producers::{DescribeProducersRequest, DescribeProducersResponse};
pub use describe_transactions::{DescribeTransactionsRequest, DescribeTransactionsResponse};
pub use describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
};
pub use elect_leaders::{ElectLeadersRequest, ElectLeadersResponse};
pub use end_txn::{EndTxnRequest, EndTxnResponse};
pub use envelope::{EnvelopeRequest, EnvelopeResponse};
pub use expire_delegation_token::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};
pub use fetch::{FetchRequest, FetchResponse};
pub use find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
pub use heartbeat::{HeartbeatRequest, HeartbeatResponse};
pub use incremental_alter_configs::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
pub use init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
pub use join_group::{JoinGroupRequest, JoinGroupResponse};
pub use leader_and_isr::{LeaderAndIsrRequest, LeaderAndIsrResponse};
pub use leave_group::{LeaveGroupRequest, LeaveGroupResponse};
pub use list_groups::{ListGroupsRequest, ListGroupsResponse};
pub use list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
pub use list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
pub use list_transactions::{ListTransactionsRequest, ListTransactionsResponse};
pub use metadata::{MetadataRequest, MetadataResponse};
pub use offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
pub use offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
pub use offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
pub use offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
pub use produce::{ProduceRequest, ProduceResponse};
pub use renew_delegation_token::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};
pub use sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
pub use sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
pub use stop_replica::{StopReplicaRequest, StopReplicaResponse};
pub use sync_group::{SyncGroupRequest, SyncGroupResponse};
pub use txn_offset_commit::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
pub use update_features::{UpdateFeaturesRequest, UpdateFeaturesResponse};
pub use update_metadata::{UpdateMetadataRequest, UpdateMetadataResponse};
pub use write_txn_markers::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

/// Calls a macro with a row `module::Name(NameRequest, NameResponse);` for each API, in the order of their keys.
#[macro_export]
macro_rules! with_every_kafka_api {
    ($callback:ident) => {
        $callback! {
            produce::Produce(ProduceRequest, ProduceResponse);
            fetch::Fetch(FetchRequest, FetchResponse);
            list_offsets::ListOffsets(ListOffsetsRequest, ListOffsetsResponse);
            metadata::Metadata(MetadataRequest, MetadataResponse);
            leader_and_isr::LeaderAndIsr(LeaderAndIsrRequest, LeaderAndIsrResponse);
            stop_replica::StopReplica(StopReplicaRequest, StopReplicaResponse);
            update_metadata::UpdateMetadata(UpdateMetadataRequest, UpdateMetadataResponse);
            controlled_shutdown::ControlledShutdown(ControlledShutdownRequest, ControlledShutdownResponse);
            offset_commit::OffsetCommit(OffsetCommitRequest, OffsetCommitResponse);
            offset_fetch::OffsetFetch(OffsetFetchRequest, OffsetFetchResponse);
            find_coordinator::FindCoordinator(FindCoordinatorRequest, FindCoordinatorResponse);
            join_group::JoinGroup(JoinGroupRequest, JoinGroupResponse);
            heartbeat::Heartbeat(HeartbeatRequest, HeartbeatResponse);
            leave_group::LeaveGroup(LeaveGroupRequest, LeaveGroupResponse);
            sync_group::SyncGroup(SyncGroupRequest, SyncGroupResponse);
            describe_groups::DescribeGroups(DescribeGroupsRequest, DescribeGroupsResponse);
            list_groups::ListGroups(ListGroupsRequest, ListGroupsResponse);
            sasl_handshake::SaslHandshake(SaslHandshakeRequest, SaslHandshakeResponse);
            api_versions::ApiVersions(ApiVersionsRequest, ApiVersionsResponse);
            create_topics::CreateTopics(CreateTopicsRequest, CreateTopicsResponse);
            delete_topics::DeleteTopics(DeleteTopicsRequest, DeleteTopicsResponse);
            delete_records::DeleteRecords(DeleteRecordsRequest, DeleteRecordsResponse);
            init_producer_id::InitProducerId(InitProducerIdRequest, InitProducerIdResponse);
            offset_for_leader_epoch::OffsetForLeaderEpoch(OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse);
            add_partitions_to_txn::AddPartitionsToTxn(AddPartitionsToTxnRequest, AddPartitionsToTxnResponse);
            add_offsets_to_txn::AddOffsetsToTxn(AddOffsetsToTxnRequest, AddOffsetsToTxnResponse);
            end_txn::EndTxn(EndTxnRequest, EndTxnResponse);
            write_txn_markers::WriteTxnMarkers(WriteTxnMarkersRequest, WriteTxnMarkersResponse);
            txn_offset_commit::TxnOffsetCommit(TxnOffsetCommitRequest, TxnOffsetCommitResponse);
            describe_acls::DescribeAcls(DescribeAclsRequest, DescribeAclsResponse);
            create_acls::CreateAcls(CreateAclsRequest, CreateAclsResponse);
            delete_acls::DeleteAcls(DeleteAclsRequest, DeleteAclsResponse);
            describe_configs::DescribeConfigs(DescribeConfigsRequest, DescribeConfigsResponse);
            alter_configs::AlterConfigs(AlterConfigsRequest, AlterConfigsResponse);
            alter_replica_log_dirs::AlterReplicaLogDirs(AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse);
            describe_log_dirs::DescribeLogDirs(DescribeLogDirsRequest, DescribeLogDirsResponse);
            sasl_authenticate::SaslAuthenticate(SaslAuthenticateRequest, SaslAuthenticateResponse);
            create_partitions::CreatePartitions(CreatePartitionsRequest, CreatePartitionsResponse);
            create_delegation_token::CreateDelegationToken(CreateDelegationTokenRequest, CreateDelegationTokenResponse);
            renew_delegation_token::RenewDelegationToken(RenewDelegationTokenRequest, RenewDelegationTokenResponse);
            expire_delegation_token::ExpireDelegationToken(ExpireDelegationTokenRequest, ExpireDelegationTokenResponse);
            describe_delegation_token::DescribeDelegationToken(DescribeDelegationTokenRequest, DescribeDelegationTokenResponse);
            delete_groups::DeleteGroups(DeleteGroupsRequest, DeleteGroupsResponse);
            elect_leaders::ElectLeaders(ElectLeadersRequest, ElectLeadersResponse);
            incremental_alter_configs::IncrementalAlterConfigs(IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse);
            alter_partition_reassignments::AlterPartitionReassignments(AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse);
            list_partition_reassignments::ListPartitionReassignments(ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse);
            offset_delete::OffsetDelete(OffsetDeleteRequest, OffsetDeleteResponse);
            describe_client_quotas::DescribeClientQuotas(DescribeClientQuotasRequest, DescribeClientQuotasResponse);
            alter_client_quotas::AlterClientQuotas(AlterClientQuotasRequest, AlterClientQuotasResponse);
            describe_user_scram_credentials::DescribeUserScramCredentials(DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse);
            alter_user_scram_credentials::AlterUserScramCredentials(AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse);
            alter_partition::AlterPartition(AlterPartitionRequest, AlterPartitionResponse);
            update_features::UpdateFeatures(UpdateFeaturesRequest, UpdateFeaturesResponse);
            envelope::Envelope(EnvelopeRequest, EnvelopeResponse);
            describe_cluster::DescribeCluster(DescribeClusterRequest, DescribeClusterResponse);
            describe_producers::DescribeProducers(DescribeProducersRequest, DescribeProducersResponse);
            describe_transactions::DescribeTransactions(DescribeTransactionsRequest, DescribeTransactionsResponse);
            list_transactions::ListTransactions(ListTransactionsRequest, ListTransactionsResponse);
            allocate_producer_ids::AllocateProducerIds(AllocateProducerIdsRequest, AllocateProducerIdsResponse);
        }
    };
}

macro_rules! speak {
    ($($module:ident::$name:ident($request:ident, $response:ident);)+) => {$(
        impl Message for $request {
            const NAME: &'static str = stringify!($request);
            const VERSIONS: RangeInclusive<i16> = ApiKey::$name.versions();
            const FLEXIBLE_FROM: Option<i16> = ApiKey::$name.flexible_from();
        }

        impl Message for $response {
            const NAME: &'static str = stringify!($response);
            const VERSIONS: RangeInclusive<i16> = ApiKey::$name.versions();
            const FLEXIBLE_FROM: Option<i16> = ApiKey::$name.flexible_from();
        }

        impl Request for $request {
            const KEY: ApiKey = ApiKey::$name;
            type Response = $response;
        }
    )+};
}

with_every_kafka_api!(speak);

#[cfg(test)]
mod tests;
