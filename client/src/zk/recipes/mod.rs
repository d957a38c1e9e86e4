//! What distributed programs need again and again, on the same znodes as Apache Curator and kazoo, so that programs of
//! different languages meet on one path.
//!
//! Every recipe lives as long as its session. When the session expires, whatever the recipe held is gone, its methods fail
//! with [`Error::SessionExpired`](super::Error::SessionExpired), and a new session needs a new recipe.

mod barrier;
mod cache;
mod counter;
mod discovery;
mod leader_latch;
mod leader_selector;
mod line;
mod lock;
mod marked_queue;
mod members;
mod multi_lock;
mod partitioner;
mod persistent_node;
mod queue;
mod rw_lock;
mod semaphore;
mod ttl_node;
mod unfair_election;

pub use barrier::{Barrier, DoubleBarrier};
pub use cache::{Cache, CacheEvent, CacheScope, Cached};
pub use counter::{AtomicLong, SharedCount, SharedValue};
pub use discovery::{
    DownPolicy, Registration, ServiceDiscovery, ServiceInstance, ServiceProvider, ServiceType, Strategy,
};
pub use leader_latch::{LeaderLatch, Leadership, LeadershipChanges};
pub use leader_selector::{LeaderSelector, Led};
pub use lock::{Lock, LockGuard};
pub use marked_queue::{DelayQueue, IdQueue};
pub use members::GroupMember;
pub use multi_lock::{MultiLock, MultiLockGuard};
pub use partitioner::{SetPartitioner, Share};
pub use persistent_node::PersistentNode;
pub use queue::{Held, LockingQueue, PriorityQueue, Queue};
pub use rw_lock::RwLock;
pub use semaphore::Semaphore;
pub use ttl_node::PersistentTtlNode;
pub use unfair_election::UnfairElection;
