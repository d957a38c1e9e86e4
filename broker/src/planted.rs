//! Mistakes that the simulator can build in, to see that it finds them. Without the feature `planted` there are none.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// P17: a member may commit whatever generation it speaks of.
    CommitOfOldGeneration,
    /// P15: a log that is opened knows nothing of its producers.
    ProducersForgotten,
    /// P14: a controller writes whether or not there is a later one.
    ControllerUnfenced,
    /// A cleaning looks at what is not replicated yet.
    CleaningPastWatermark,
    /// A cleaning takes away what says that a key was deleted, however lately that was.
    TombstonesAtOnce,
    /// A log is moved without a note of where it was before.
    MoveUnnoted,
    /// A cleaning drops records for newer ones that are not on the disk yet.
    UnsyncedCleaning,
}

#[cfg(feature = "planted")]
mod chosen {
    use std::cell::Cell;

    use super::Mistake;

    thread_local! {
        static CHOSEN: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    /// From now on the cores on this thread make this mistake.
    pub fn plant(mistake: Option<Mistake>) {
        CHOSEN.set(mistake);
    }

    pub(crate) fn is(mistake: Mistake) -> bool {
        CHOSEN.get() == Some(mistake)
    }
}

#[cfg(not(feature = "planted"))]
mod chosen {
    pub(crate) const fn is(_: super::Mistake) -> bool {
        false
    }
}

pub(crate) use chosen::is;
#[cfg(feature = "planted")]
pub use chosen::plant;
