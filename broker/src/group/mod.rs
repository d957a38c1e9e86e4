//! Who is in which group, what is each member given, and how far has the group read?
//!
//! The coordinator of the groups whose records lie in the partitions of `__consumer_offsets` that this broker leads. It
//! decides; the shell around it appends what it asks for and answers the tickets. A request that waits keeps its
//! [`Ticket`]; every ticket is answered exactly once.
//!
//! The journey of a rebalance: [`Groups::join`] until the round completes, [`Groups::sync`] until the leader's assignment
//! is in the log, [`Groups::heartbeat`] until somebody comes or goes. Offsets: [`Groups::commit`], answered once they are in
//! the log; [`Groups::offsets`].

mod admin;
mod groups;
mod join;
mod leave;
mod load;
mod member;
mod offsets;
mod record;
mod round;
mod state;
mod sync;
#[cfg(test)]
mod tests;

pub use admin::{DescribedGroup, DescribedMember, ListedGroup};
pub use groups::{Answer, AppendId, Counts, Effect, Groups, Settings, Ticket, partition_of};
pub use join::{Join, JoinedAs};
pub use leave::{Leaver, Voice};
pub use offsets::{Commit, CommitOffsets, Committed};
pub use record::{GroupImage, MemberImage, Record};
pub use state::State;
pub use sync::{Sync, Synced};

/// Milliseconds since 1970, by a clock of the caller that never goes back.
pub type Millis = u64;
