//! Mistakes that the simulator can build in, to see that it finds them. Without the feature `planted` there are none.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// A learner keeps the new epoch before it has the history that belongs to it.
    EpochBeforeHistory,
    /// What is committed while a learner is brought up to date does not reach its log.
    CommitsSkipLog,
    /// A leader begins before a quorum has its history.
    ProposeBeforeSync,
    /// Who looks for a leader keeps connections from which nothing comes.
    SilentLinksStay,
}

#[cfg(feature = "planted")]
mod chosen {
    use std::cell::Cell;

    use super::Mistake;

    thread_local! {
        static CHOSEN: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    /// From now on replicas on this thread make this mistake.
    pub fn plant(mistake: Option<Mistake>) {
        CHOSEN.set(mistake);
    }

    pub(in crate::zab) fn is(mistake: Mistake) -> bool {
        CHOSEN.get() == Some(mistake)
    }
}

#[cfg(not(feature = "planted"))]
mod chosen {
    pub(in crate::zab) const fn is(_: super::Mistake) -> bool {
        false
    }
}

pub(super) use chosen::is;
#[cfg(feature = "planted")]
pub use chosen::plant;
