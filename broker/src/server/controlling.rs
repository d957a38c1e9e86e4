//! How does the controller see, write and speak?
//!
//! While this broker is the controller, one task holds the [`Controller`]: it tells it what happens in the coordinator,
//! does its writes, and passes its orders on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use client::zk::{EventType, Notice, Watch};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::config_changes::ALL_BROKERS;
use super::random;
use crate::config::{UNCLEAN, Values};
use crate::controller::{Answer, Command, Controller, Event, Order, Ticket, Unclean, WriteError, WriteId};
use crate::registry::{Registry, RegistryError, paths};

/// Something that the controller is asked, and where the answer goes.
#[derive(Debug)]
pub enum Ask {
    /// A request that the controller answers.
    Request(Request, oneshot::Sender<Answer>),
    /// Something that a broker reports.
    Report(Event),
}

/// The contents of a request to the controller.
#[derive(Debug)]
pub enum Request {
    Prefer(Option<Vec<crate::controller::PartitionName>>),
    ElectAnybody(Option<Vec<crate::controller::PartitionName>>),
    Leaving { broker: i32, epoch: i64 },
    ChangeIsr(crate::controller::IsrChange),
}

/// An order for one broker, by the controller of an epoch.
#[derive(Debug)]
pub struct Orders {
    /// Who is to do it.
    pub broker: i32,
    pub controller: i32,
    pub controller_epoch: i32,
    pub brokers: Arc<BTreeMap<i32, crate::cluster::Broker>>,
    pub order: Order,
}

/// Why a broker stopped being the controller.
#[derive(Debug, PartialEq, Eq)]
pub enum Over {
    /// Another one took over, or `/controller` is gone.
    Replaced,
    /// What was known was wrong: take over again from what stands in the coordinator.
    Reread,
}

/// What the controller's task works with.
#[derive(Debug)]
pub struct Control<'a> {
    pub registry: &'a Registry,
    pub me: i32,
    /// What this broker was started with.
    pub values: &'a Values,
    pub epoch: i32,
    pub epoch_version: i32,
    /// Where requests and reports come from.
    pub asks: &'a mut mpsc::Receiver<Ask>,
    /// Where orders go.
    pub orders: &'a mpsc::Sender<Orders>,
}

impl Control<'_> {
    /// Whether replicas may lead without being in sync. For topics that do not say, this broker's own setting counts, as it
    /// was started or as it was set since.
    async fn unclean(&self) -> Result<Unclean, RegistryError> {
        let topics = self.registry.unclean_topics().await?;
        let all = self.registry.config(ALL_BROKERS).await?.values;
        let own = self.registry.config(&format!("brokers/{}", self.me)).await?.values;
        let values = self.values.overlaid(&all).overlaid(&own);
        let by_default = values.get(UNCLEAN).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Ok(Unclean { topics, by_default })
    }
}

/// The nodes that a controller looks at.
struct Watches {
    controller: Watch,
    brokers: Watch,
    topics: Watch,
    deletions: Watch,
    preferred: Watch,
    reassignment: Watch,
    configs: Watch,
    log_dirs: Watch,
}

impl Watches {
    async fn set(registry: &Registry) -> Result<Watches, RegistryError> {
        Ok(Watches {
            controller: registry.watch_controller().await?,
            brokers: registry.watch_children(paths::BROKER_IDS).await?,
            topics: registry.watch_topics().await?,
            deletions: registry.watch_children(paths::DELETE_TOPICS).await?,
            preferred: registry.watch_children(paths::PREFERRED_ELECTION).await?,
            reassignment: registry.watch_children(paths::REASSIGN_PARTITIONS).await?,
            configs: registry.watch_config_changes().await?,
            log_dirs: registry.watch_children(paths::LOG_DIR_EVENTS).await?,
        })
    }
}

/// What became of a write, unless the session did not live to tell.
type Written = Result<Result<Vec<i32>, WriteError>, RegistryError>;

struct Running<'a> {
    control: Control<'a>,
    controller: Controller,
    tickets: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    tickets_count: u64,
    writes: JoinSet<(WriteId, Written)>,
}

/// Is the controller, until something ends that.
pub async fn control(control: Control<'_>) -> Result<Over, RegistryError> {
    // Watches before reading: what changes in between is then read again, not missed.
    let mut watches = Watches::set(control.registry).await?;
    if !control.registry.is_controller(control.me).await? {
        return Ok(Over::Replaced);
    }
    let mut view = control.registry.view().await?;
    view.unclean = control.unclean().await?;
    tracing::info!(
        epoch = control.epoch,
        brokers = view.brokers.len(),
        topics = view.topics.len(),
        "this broker is the controller"
    );
    let mut commands = Vec::new();
    let controller = Controller::new(control.epoch, view, &mut commands);
    let mut running =
        Running { control, controller, tickets: BTreeMap::new(), tickets_count: 0, writes: JoinSet::new() };
    if let Some(over) = running.run(commands).await? {
        return Ok(over);
    }
    running.legacy_preferred().await?;
    running.legacy_reassignment().await?;
    if let Some(over) = running.log_dir_failures().await? {
        return Ok(over);
    }
    loop {
        let event = tokio::select! {
            // In this order, not a random one: a simulated life must be repeatable. Requests come last, however many.
            biased;
            seen = watches.controller.changed() => match seen {
                None => return Err(client::zk::Error::SessionExpired.into()),
                Some(_) if running.is_still_controller().await? => continue,
                Some(_) => return Ok(Over::Replaced),
            },
            seen = watches.brokers.changed() => {
                seen.ok_or(client::zk::Error::SessionExpired)?;
                Event::Brokers(running.control.registry.brokers().await?)
            }
            seen = watches.topics.changed() => match seen.ok_or(client::zk::Error::SessionExpired)? {
                Notice::Changed(change) => match running.topics_event(change).await? {
                    Some(event) => event,
                    None => continue,
                },
                // What changed meanwhile is not known: perhaps a topic is another one of the same name.
                _ => return Ok(Over::Reread),
            },
            seen = watches.deletions.changed() => {
                seen.ok_or(client::zk::Error::SessionExpired)?;
                Event::Deletions(running.control.registry.wanted_gone().await?)
            }
            seen = watches.preferred.changed() => {
                seen.ok_or(client::zk::Error::SessionExpired)?;
                running.legacy_preferred().await?;
                continue;
            }
            seen = watches.reassignment.changed() => {
                seen.ok_or(client::zk::Error::SessionExpired)?;
                running.legacy_reassignment().await?;
                continue;
            }
            seen = watches.configs.changed() => {
                seen.ok_or(client::zk::Error::SessionExpired)?;
                Event::Unclean(running.control.unclean().await?)
            }
            seen = watches.log_dirs.changed() => {
                seen.ok_or(client::zk::Error::SessionExpired)?;
                match running.log_dir_failures().await? {
                    Some(over) => return Ok(over),
                    None => continue,
                }
            }
            Some(written) = running.writes.join_next() => match written {
                Ok((id, result)) => Event::Written { id, result: result? },
                // A task that writes does not panic, and is not aborted before this one ends.
                Err(_) => return Ok(Over::Reread),
            },
            ask = running.control.asks.recv() => match ask {
                Some(ask) => running.event_of(ask),
                None => return Ok(Over::Replaced),
            },
        };
        let mut commands = Vec::new();
        running.controller.step(event, &mut commands);
        if let Some(over) = running.run(commands).await? {
            return Ok(over);
        }
    }
}

impl Running<'_> {
    /// Does what the controller wants; `Some` if it wants to stop.
    async fn run(&mut self, commands: Vec<Command>) -> Result<Option<Over>, RegistryError> {
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            match command {
                Command::LookAgain => {
                    let deletions = Event::Deletions(self.control.registry.wanted_gone().await?);
                    let mut more = Vec::new();
                    for event in [deletions, self.topics().await?] {
                        self.controller.step(event, &mut more);
                    }
                    commands.extend(more);
                }
                Command::Write { id, write } => {
                    let registry = self.control.registry.clone();
                    let version = self.control.epoch_version;
                    self.writes
                        .spawn(async move { (id, registry.write(version, &write, random::uuid).await) });
                }
                Command::Order { broker, order } => self.order(broker, order).await,
                Command::Answer(ticket, answer) => {
                    if let Some(waiting) = self.tickets.remove(&ticket) {
                        // Whoever asked may have stopped waiting.
                        let _ = waiting.send(answer);
                    }
                }
                Command::Reread => return Ok(Some(Over::Reread)),
                Command::Resign => return Ok(Some(Over::Replaced)),
            }
        }
        Ok(None)
    }

    async fn order(&self, broker: i32, order: Order) {
        let orders = Orders {
            broker,
            controller: self.control.me,
            controller_epoch: self.control.epoch,
            brokers: Arc::new(self.controller.brokers().clone()),
            order,
        };
        // The receiver ends only with the process.
        let _ = self.control.orders.send(orders).await;
    }

    fn event_of(&mut self, ask: Ask) -> Event {
        match ask {
            Ask::Report(event) => event,
            Ask::Request(request, answer) => {
                self.tickets_count += 1;
                let ticket = Ticket(self.tickets_count);
                self.tickets.insert(ticket, answer);
                match request {
                    Request::Prefer(partitions) => Event::Prefer { ticket: Some(ticket), partitions },
                    Request::ElectAnybody(partitions) => Event::ElectAnybody { ticket, partitions },
                    Request::Leaving { broker, epoch } => Event::Leaving { ticket, broker, epoch },
                    Request::ChangeIsr(change) => Event::ChangeIsr { ticket, change },
                }
            }
        }
    }

    /// What a notice below `/brokers/topics` means; partitions and their states are of the controller's own making.
    async fn topics_event(&mut self, change: client::zk::Event) -> Result<Option<Event>, RegistryError> {
        let name = change.path.strip_prefix(paths::TOPICS).map(|rest| rest.trim_start_matches('/'));
        let changed_topic = match name {
            Some(name) if name.contains('/') => return Ok(None),
            // A topic was deleted, of which there is a notice of its own.
            Some("") if change.kind == EventType::NodeDataChanged => return Ok(None),
            Some(name) if change.kind == EventType::NodeDataChanged && !name.is_empty() => {
                Some(name.to_owned())
            }
            _ => None,
        };
        if let Some(name) = changed_topic {
            let found = self.control.registry.assignment(&name).await?;
            return Ok(found.map(|(assignment, _)| Event::Assigned(name, assignment)));
        }
        Ok(Some(self.topics().await?))
    }

    /// All topics, those in full that the controller does not know yet.
    async fn topics(&self) -> Result<Event, RegistryError> {
        Ok(Event::Topics(self.control.registry.topics(&self.controller.topics()).await?))
    }

    /// Old tools ask for preferred leaders by a node, which goes once that was tried.
    async fn legacy_preferred(&mut self) -> Result<(), RegistryError> {
        let Some(partitions) = self.control.registry.take_preferred_wish().await? else { return Ok(()) };
        let mut commands = Vec::new();
        self.controller.step(Event::Prefer { ticket: None, partitions: Some(partitions) }, &mut commands);
        self.run(commands).await?;
        Ok(())
    }

    /// Old tools ask for replicas to be elsewhere by a node, which goes once that was dealt with. Replicas that are where
    /// they should be need nothing; the others stay where they are, because this release moves none.
    async fn legacy_reassignment(&mut self) -> Result<(), RegistryError> {
        let wanted = self.control.registry.take_reassignment_wish().await?;
        for (topic, partition, wanted) in wanted.unwrap_or_default() {
            let replicas = self.controller.replicas(&topic, partition);
            if replicas != Some(wanted.as_slice()) {
                tracing::warn!(
                    topic,
                    partition,
                    ?wanted,
                    ?replicas,
                    "replicas are not moved by this release"
                );
            }
        }
        Ok(())
    }

    /// Notices of failed data directories do not say what was in them: the broker is asked, by being told once more what
    /// to lead. Then the notices go.
    async fn log_dir_failures(&mut self) -> Result<Option<Over>, RegistryError> {
        let (brokers, notices) = self.control.registry.log_dir_failures().await?;
        if notices.is_empty() {
            return Ok(None);
        }
        tracing::warn!(?brokers, "data directories failed");
        let mut commands = Vec::new();
        self.controller.step(Event::LogDirsFailed(brokers), &mut commands);
        if let Some(over) = self.run(commands).await? {
            return Ok(Some(over));
        }
        let removed = self.control.registry.remove(self.control.epoch_version, notices).await?;
        Ok(match removed {
            Ok(_) => None,
            Err(WriteError::Fenced) => Some(Over::Replaced),
            Err(WriteError::Conflict) => Some(Over::Reread),
        })
    }

    async fn is_still_controller(&self) -> Result<bool, RegistryError> {
        self.control.registry.is_controller(self.control.me).await
    }
}
