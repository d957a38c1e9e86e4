//! Changes of an ensemble's members.

/// What [`Coordinator::reconfig`](super::Coordinator::reconfig) is to do. Entries are written as in a configuration file:
/// `server.4=host:2888:3888:participant;2181`.
#[derive(Debug, Clone)]
pub struct Reconfig {
    pub(crate) members: Members,
    pub(crate) from_version: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) enum Members {
    Change { joining: Vec<String>, leaving: Vec<String> },
    Replace(Vec<String>),
}

impl Reconfig {
    /// Some members join or change, named by their entries; others leave, named by their numbers.
    pub fn change<J: Into<String>, L: ToString>(
        joining: impl IntoIterator<Item = J>,
        leaving: impl IntoIterator<Item = L>,
    ) -> Reconfig {
        let joining = joining.into_iter().map(Into::into).collect();
        let leaving = leaving.into_iter().map(|id| id.to_string()).collect();
        Reconfig { members: Members::Change { joining, leaving }, from_version: None }
    }

    /// These and no others are members from now on.
    pub fn replace<M: Into<String>>(members: impl IntoIterator<Item = M>) -> Reconfig {
        let members = members.into_iter().map(Into::into).collect();
        Reconfig { members: Members::Replace(members), from_version: None }
    }

    /// Only if the configuration still has this version (the number behind `version=`).
    #[must_use]
    pub fn if_version(self, version: i64) -> Reconfig {
        Reconfig { from_version: Some(version), ..self }
    }
}
