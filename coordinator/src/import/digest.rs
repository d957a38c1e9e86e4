//! Is the tree the one that ZooKeeper had?
//!
//! Since 3.6 ZooKeeper sums up a checksum of each node and stores the sum with snapshots and transactions.

use super::ImportedNode;

/// A node's part of the sum. Nodes below `/zookeeper` have none, because servers change some of them on their own.
pub(super) fn node_digest(path: &str, node: &ImportedNode) -> u64 {
    if path.starts_with("/zookeeper/") {
        return 0;
    }
    let stat = &node.stat;
    let mut bytes = Vec::with_capacity(60);
    for number in [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    for number in [stat.version, stat.cversion, stat.aversion] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&stat.ephemeral_owner.to_be_bytes());

    let mut crc = flate2::Crc::new();
    // The root counts under the empty path.
    crc.update(if path == "/" { b"" } else { path.as_bytes() });
    crc.update(node.data.as_deref().unwrap_or_default());
    crc.update(&bytes);
    u64::from(crc.sum())
}
