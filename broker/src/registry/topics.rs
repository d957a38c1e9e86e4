//! Which topics exist, and how do they change?

use std::collections::{BTreeMap, BTreeSet};

use client::wire::kafka::Uuid;
use client::zk::{CreateMode, Error, Multi, MultiOutcome, Watch};

use super::{Registry, RegistryError, paths, schema};
use crate::cluster::{Assignment, PartitionState};
use crate::config::UNCLEAN;
use crate::controller::{PartitionName, TopicView, Unclean, View, Write, WriteError};
use crate::planted::{self, Mistake};

/// How often a change of a topic is tried again because other topics are deleted meanwhile.
const SET_ATTEMPTS: u32 = 100;

/// Which assignment somebody has read: at that version, of the topic that had the name then. Every deletion of a topic raises
/// the version of the node above all topics, as the versions of a new topic of the same name begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsRead {
    created: i64,
    /// Of the topic's node.
    pub version: i32,
    deletions: i32,
}

impl Registry {
    /// Everything that concerns a controller, but for the settings.
    pub async fn view(&self) -> Result<View, RegistryError> {
        Ok(View {
            brokers: self.brokers().await?,
            topics: self.topics(&BTreeSet::new()).await?,
            wanted_gone: self.wanted_gone().await?,
            unclean: Unclean::default(),
        })
    }

    /// What topics say about replicas that would lead without being in sync.
    pub async fn unclean_topics(&self) -> Result<BTreeMap<String, bool>, RegistryError> {
        let configs = self.configs("topics").await?;
        let says = |values: &BTreeMap<String, String>| {
            values.get(UNCLEAN).map(|value| value.eq_ignore_ascii_case("true"))
        };
        Ok(configs.iter().filter_map(|(name, values)| Some((name.clone(), says(values)?))).collect())
    }

    /// All topics, in full but for those that are `known`, of which only the names are told.
    pub async fn topics(
        &self,
        known: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, TopicView>, RegistryError> {
        let (names, _) = self.zk.children(paths::TOPICS).await?;
        let mut topics: BTreeMap<String, TopicView> = names
            .iter()
            .filter(|name| known.contains(*name))
            .map(|name| (name.clone(), TopicView::default()))
            .collect();
        let new: Vec<String> = names.into_iter().filter(|name| !known.contains(name)).collect();
        let sent: Vec<_> = new.iter().map(|name| self.zk.get(&paths::topic(name))).collect();
        for (name, pending) in new.into_iter().zip(sent) {
            match pending.await {
                Ok((data, _)) => match schema::decode_assignment(&paths::topic(&name), &data) {
                    Ok(assignment) => {
                        topics.insert(name, TopicView { assignment, states: BTreeMap::new() });
                    }
                    Err(error) => tracing::warn!(%error, "a topic is passed over"),
                },
                Err(Error::NoNode) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.read_states(&mut topics).await?;
        Ok(topics)
    }

    /// Adds the partitions' states; all are asked for before the first is awaited.
    async fn read_states(&self, topics: &mut BTreeMap<String, TopicView>) -> Result<(), RegistryError> {
        let names = topics.iter().flat_map(|(name, topic)| {
            topic.assignment.replicas.keys().map(move |&partition| (name.clone(), partition))
        });
        let sent: Vec<_> = names
            .map(|(topic, partition)| {
                let path = paths::partition_state(&topic, partition);
                let pending = self.zk.get(&path);
                (topic, partition, path, pending)
            })
            .collect();
        for (topic, partition, path, pending) in sent {
            match pending.await {
                Ok((data, stat)) => {
                    let state = schema::decode_state(&path, &data, stat.version)?;
                    if let Some(topic) = topics.get_mut(&topic) {
                        topic.states.insert(partition, state);
                    }
                }
                Err(Error::NoNode) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// A topic's assignment, and what [`Registry::set_assignment`] wants to know of it.
    pub async fn assignment(&self, topic: &str) -> Result<Option<(Assignment, AsRead)>, RegistryError> {
        let path = paths::topic(topic);
        // A deletion in between is then noticed, not missed.
        let deletions = self.zk.exists(paths::TOPICS);
        let found = self.read(&path).await?;
        let deletions = deletions.await?.map_or(0, |stat| stat.version);
        let Some((data, stat)) = found else { return Ok(None) };
        let read = AsRead { created: stat.czxid, version: stat.version, deletions };
        Ok(Some((schema::decode_assignment(&path, &data)?, read)))
    }

    /// The topics that somebody wants to be deleted.
    pub async fn wanted_gone(&self) -> Result<BTreeSet<String>, RegistryError> {
        let (names, _) = self.zk.children(paths::DELETE_TOPICS).await?;
        Ok(names.into_iter().collect())
    }

    /// Makes a topic together with its settings, so that no topic is ever seen without them.
    pub async fn create_topic(
        &self,
        name: &str,
        assignment: &Assignment,
        config: &BTreeMap<String, String>,
    ) -> Result<(), RegistryError> {
        let entity = format!("topics/{name}");
        let (path, settings) = (paths::config(&entity), schema::encode_config(config));
        let topic = schema::encode_assignment(assignment);
        loop {
            let left_over = self.config(&entity).await?;
            let multi = match left_over.version {
                Some(version) => self.zk.multi().set(&path, &settings, version),
                None => self.zk.multi().create(&path, &settings, CreateMode::Persistent),
            };
            match multi.create(&paths::topic(name), &topic, CreateMode::Persistent).commit().await {
                Ok(_) => return Ok(()),
                Err(Error::Transaction { index: 1, error }) => return Err((*error).into()),
                // Settings of that name came or went meanwhile.
                Err(Error::Transaction { index: 0, error })
                    if matches!(*error, Error::BadVersion | Error::NoNode | Error::NodeExists) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Replaces a topic's assignment, provided that it is still the one that was read.
    pub async fn set_assignment(
        &self,
        name: &str,
        assignment: &Assignment,
        mut read: AsRead,
    ) -> Result<(), RegistryError> {
        let data = schema::encode_assignment(assignment);
        for _ in 0..SET_ATTEMPTS {
            let multi = self.zk.multi().check(paths::TOPICS, read.deletions);
            match multi.set(&paths::topic(name), &data, read.version).commit().await {
                Ok(_) => return Ok(()),
                Err(Error::Transaction { index: 1, error }) => return Err((*error).into()),
                // A topic was deleted. If it was another one, nothing has changed.
                Err(Error::Transaction { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some((_, now)) = self.assignment(name).await? else { return Err(Error::NoNode.into()) };
            if (now.created, now.version) != (read.created, read.version) {
                break;
            }
            read = now;
        }
        Err(Error::BadVersion.into())
    }

    /// Asks the controller to delete a topic.
    pub async fn wish_gone(&self, name: &str) -> Result<(), RegistryError> {
        match self.zk.create(&paths::delete_topic(name), b"", CreateMode::Persistent).await {
            Ok(_) | Err(Error::NodeExists) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until nothing is left of a topic, so that one of its name can be made.
    pub async fn until_gone(&self, name: &str) -> Result<(), RegistryError> {
        let path = paths::topic(name);
        while self.zk.exists(&path).await?.is_some() {
            let (is_there, mut watch) = self.zk.exists_and_watch(&path).await?;
            if is_there.is_some() {
                watch.next().await;
            }
        }
        Ok(())
    }

    /// Everything that happens to topics: they come, go, and get other assignments. Their partitions are seen as well.
    pub async fn watch_topics(&self) -> Result<Watch, RegistryError> {
        Ok(self.zk.watch_recursive(paths::TOPICS).await?)
    }

    /// The children of a node that come and go.
    pub async fn watch_children(&self, path: &str) -> Result<Watch, RegistryError> {
        Ok(self.zk.watch(path).await?)
    }

    /// Does what a controller asks for, unless another one has taken over since its epoch was given out; `draw` makes the
    /// id of a topic that never had one.
    pub async fn write(
        &self,
        epoch_version: i32,
        write: &Write,
        draw: impl FnOnce() -> Uuid,
    ) -> Result<Result<Vec<i32>, WriteError>, RegistryError> {
        match write {
            Write::CreateStates(states) => self.create_states(epoch_version, states).await,
            Write::SetStates(states) => {
                let mut multi = self.fenced(epoch_version);
                for ((topic, partition), state) in states {
                    let path = paths::partition_state(topic, *partition);
                    multi = multi.set(&path, &schema::encode_state(state), state.version);
                }
                judge(multi.commit().await)
            }
            Write::GiveTopicId(name, assignment) => {
                let Some((mut now, read)) = self.assignment(name).await? else {
                    return Ok(Ok(Vec::new()));
                };
                if now.topic_id.is_none() && now.replicas == assignment.replicas {
                    now.topic_id = Some(assignment.topic_id.unwrap_or_else(draw));
                }
                let data = schema::encode_assignment(&now);
                judge(self.fenced(epoch_version).set(&paths::topic(name), &data, read.version).commit().await)
            }
            Write::RemoveTopic(topic, partitions) => {
                self.remove_topic(epoch_version, topic, partitions).await
            }
            Write::RemoveWish(topic) => self.remove(epoch_version, vec![paths::delete_topic(topic)]).await,
        }
    }

    fn fenced(&self, epoch_version: i32) -> Multi<'_> {
        const ANY_VERSION: i32 = -1;
        let forgets = planted::is(Mistake::ControllerUnfenced);
        self.zk.multi().check(paths::CONTROLLER_EPOCH, if forgets { ANY_VERSION } else { epoch_version })
    }

    async fn create_states(
        &self,
        epoch_version: i32,
        states: &[(PartitionName, PartitionState)],
    ) -> Result<Result<Vec<i32>, WriteError>, RegistryError> {
        // The nodes above may be there already, from a controller that did not get further.
        let topics: BTreeSet<&str> = states.iter().map(|((topic, _), _)| topic.as_str()).collect();
        let parents = topics.iter().map(|topic| paths::partitions(topic));
        let parents =
            parents.chain(states.iter().map(|((topic, partition), _)| paths::partition(topic, *partition)));
        super::make_all(&self.zk, &parents.collect::<Vec<_>>()).await?;
        let mut multi = self.fenced(epoch_version);
        for ((topic, partition), state) in states {
            let path = paths::partition_state(topic, *partition);
            multi = multi.create(&path, &schema::encode_state(state), CreateMode::Persistent);
        }
        judge(multi.commit().await)
    }

    async fn remove_topic(
        &self,
        epoch_version: i32,
        topic: &str,
        partitions: &[i32],
    ) -> Result<Result<Vec<i32>, WriteError>, RegistryError> {
        let mut below = Vec::new();
        for &partition in partitions {
            below.push(paths::partition_state(topic, partition));
            below.push(paths::partition(topic, partition));
        }
        below.push(paths::partitions(topic));
        for path in below {
            if let Err(error) = self.remove(epoch_version, vec![path]).await? {
                return Ok(Err(error));
            }
        }
        // At once: whatever has this name from then on is another topic, and who has read this one is told so.
        let config = paths::config(&format!("topics/{topic}"));
        let gone = vec![config, paths::topic(topic), paths::delete_topic(topic)];
        self.remove_and(epoch_version, gone, |multi| multi.set(paths::TOPICS, b"", None)).await
    }

    /// Removes nodes together, if no other controller took over; those that are gone already are no failure.
    pub async fn remove(
        &self,
        epoch_version: i32,
        paths: Vec<String>,
    ) -> Result<Result<Vec<i32>, WriteError>, RegistryError> {
        self.remove_and(epoch_version, paths, |multi| multi).await
    }

    /// The same, and what is added to the transaction.
    async fn remove_and(
        &self,
        epoch_version: i32,
        mut paths: Vec<String>,
        add: impl Fn(Multi<'_>) -> Multi<'_>,
    ) -> Result<Result<Vec<i32>, WriteError>, RegistryError> {
        while !paths.is_empty() {
            let multi = self.fenced(epoch_version);
            let multi = paths.iter().fold(multi, |multi, path| multi.delete(path, None));
            match add(multi).commit().await {
                Err(Error::Transaction { index, error }) if index > 0 && *error == Error::NoNode => {
                    paths.remove(index - 1);
                }
                result => return judge(result),
            }
        }
        Ok(Ok(Vec::new()))
    }
}

/// The versions of what a fenced transaction wrote, or why it did nothing.
fn judge(result: Result<Vec<MultiOutcome>, Error>) -> Result<Result<Vec<i32>, WriteError>, RegistryError> {
    match result {
        Ok(outcomes) => {
            let version = |outcome: &MultiOutcome| match outcome {
                MultiOutcome::Set(stat) => Some(stat.version),
                MultiOutcome::Created(created) => Some(created.stat.version),
                _ => None,
            };
            Ok(Ok(outcomes.iter().filter_map(version).collect()))
        }
        Err(Error::Transaction { index: 0, .. }) => Ok(Err(WriteError::Fenced)),
        // What was half heard is read again, as is what somebody else changed.
        Err(Error::Transaction { .. } | Error::UnknownOutcome | Error::ConnectionLoss) => {
            Ok(Err(WriteError::Conflict))
        }
        Err(error) => Err(error.into()),
    }
}
