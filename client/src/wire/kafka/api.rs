//! Every request that Kafka 3.9 with ZooKeeper answers: key, versions, and the form of its headers.

use std::ops::RangeInclusive;

macro_rules! apis {
    ($($name:ident = $key:literal, $versions:expr $(, flexible $flexible:literal)?;)+) => {
        /// What a request asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $($name = $key,)+
        }

        impl ApiKey {
            /// In ascending order.
            pub const ALL: &[ApiKey] = &[$(ApiKey::$name,)+];

            /// The named key, or `None` for those that a cluster with ZooKeeper does not answer.
            pub const fn from_wire(key: i16) -> Option<ApiKey> {
                match key {
                    $($key => Some(ApiKey::$name),)+
                    _ => None,
                }
            }

            /// The name, for people.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => stringify!($name),)+
                }
            }

            /// The versions described here. What a server advertises is its own matter.
            pub const fn versions(self) -> RangeInclusive<i16> {
                match self {
                    $(ApiKey::$name => $versions,)+
                }
            }

            /// The first version with compact lengths and tagged fields, if any has them.
            pub const fn flexible_from(self) -> Option<i16> {
                match self {
                    $($(ApiKey::$name => Some($flexible),)?)+
                    _ => None,
                }
            }
        }
    };
}

apis! {
    Produce = 0, 0..=11, flexible 9;
    Fetch = 1, 0..=17, flexible 12;
    ListOffsets = 2, 0..=9, flexible 6;
    Metadata = 3, 0..=12, flexible 9;
    LeaderAndIsr = 4, 0..=7, flexible 4;
    StopReplica = 5, 0..=4, flexible 2;
    UpdateMetadata = 6, 0..=8, flexible 6;
    ControlledShutdown = 7, 0..=3, flexible 3;
    OffsetCommit = 8, 0..=9, flexible 8;
    OffsetFetch = 9, 0..=9, flexible 6;
    FindCoordinator = 10, 0..=6, flexible 3;
    JoinGroup = 11, 0..=9, flexible 6;
    Heartbeat = 12, 0..=4, flexible 4;
    LeaveGroup = 13, 0..=5, flexible 4;
    SyncGroup = 14, 0..=5, flexible 4;
    DescribeGroups = 15, 0..=5, flexible 5;
    ListGroups = 16, 0..=5, flexible 3;
    SaslHandshake = 17, 0..=1;
    ApiVersions = 18, 0..=4, flexible 3;
    CreateTopics = 19, 0..=7, flexible 5;
    DeleteTopics = 20, 0..=6, flexible 4;
    DeleteRecords = 21, 0..=2, flexible 2;
    InitProducerId = 22, 0..=5, flexible 2;
    OffsetForLeaderEpoch = 23, 0..=4, flexible 4;
    AddPartitionsToTxn = 24, 0..=5, flexible 3;
    AddOffsetsToTxn = 25, 0..=4, flexible 3;
    EndTxn = 26, 0..=4, flexible 3;
    WriteTxnMarkers = 27, 0..=1, flexible 1;
    TxnOffsetCommit = 28, 0..=4, flexible 3;
    DescribeAcls = 29, 0..=3, flexible 2;
    CreateAcls = 30, 0..=3, flexible 2;
    DeleteAcls = 31, 0..=3, flexible 2;
    DescribeConfigs = 32, 0..=4, flexible 4;
    AlterConfigs = 33, 0..=2, flexible 2;
    AlterReplicaLogDirs = 34, 0..=2, flexible 2;
    DescribeLogDirs = 35, 0..=4, flexible 2;
    SaslAuthenticate = 36, 0..=2, flexible 2;
    CreatePartitions = 37, 0..=3, flexible 2;
    CreateDelegationToken = 38, 0..=3, flexible 2;
    RenewDelegationToken = 39, 0..=2, flexible 2;
    ExpireDelegationToken = 40, 0..=2, flexible 2;
    DescribeDelegationToken = 41, 0..=3, flexible 2;
    DeleteGroups = 42, 0..=2, flexible 2;
    ElectLeaders = 43, 0..=2, flexible 2;
    IncrementalAlterConfigs = 44, 0..=1, flexible 1;
    AlterPartitionReassignments = 45, 0..=0, flexible 0;
    ListPartitionReassignments = 46, 0..=0, flexible 0;
    OffsetDelete = 47, 0..=0;
    DescribeClientQuotas = 48, 0..=1, flexible 1;
    AlterClientQuotas = 49, 0..=1, flexible 1;
    DescribeUserScramCredentials = 50, 0..=0, flexible 0;
    AlterUserScramCredentials = 51, 0..=0, flexible 0;
    AlterPartition = 56, 0..=3, flexible 0;
    UpdateFeatures = 57, 0..=1, flexible 0;
    Envelope = 58, 0..=0, flexible 0;
    DescribeCluster = 60, 0..=1, flexible 0;
    DescribeProducers = 61, 0..=0, flexible 0;
    DescribeTransactions = 65, 0..=0, flexible 0;
    ListTransactions = 66, 0..=1, flexible 0;
    AllocateProducerIds = 67, 0..=0, flexible 0;
}

impl ApiKey {
    /// The key on the wire.
    pub const fn to_wire(self) -> i16 {
        self as i16
    }

    /// The form of the request's header: 1 has a client id, 2 tagged fields as well. Any version has an answer, also
    /// one from the future.
    pub fn request_header_version(self, version: i16) -> i16 {
        match self.flexible_from() {
            Some(from) if version >= from => 2,
            _ if self == ApiKey::ControlledShutdown && version == 0 => 0,
            _ => 1,
        }
    }

    /// The form of the response's header: 1 has tagged fields. ApiVersions is the exception, because its asker does
    /// not know yet what the other side can do.
    pub fn response_header_version(self, version: i16) -> i16 {
        match self.flexible_from() {
            Some(from) if version >= from && self != ApiKey::ApiVersions => 1,
            _ => 0,
        }
    }
}
