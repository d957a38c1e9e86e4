//! A broker, as far as the controller is concerned: the real registry, elections and controller, and replicas that are
//! only lists.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker::cluster::{Endpoint, PartitionState};
use broker::config::Values;
use broker::controller::{Event, IsrChange, Order, PartitionName, PartitionOrder};
use broker::registry::schema::Registration;
use broker::registry::{Registry, RegistryError};
use broker::server::controlling::{Ask, Orders, Request};
use broker::server::elections::Candidate;
use client::wire::kafka::Uuid;
use client::zk::Coordinator;
use tokio::sync::{mpsc, oneshot};

use crate::sim::host::Surroundings;
use crate::sim::random::Random;

/// How long to wait before a session is tried again that could not be had.
const RETRY: Duration = Duration::from_millis(500);
const ASKS_WAITING_MAX: usize = 1000;

/// What one broker says to another.
#[derive(Debug)]
pub(super) enum Message {
    Orders(Orders),
    /// To whom, as it is known to be the controller.
    Ask(i32, Box<Asked>),
}

/// What a controller is asked.
#[derive(Debug)]
pub(super) enum Asked {
    Report(Event),
    ChangeIsr(IsrChange),
    Prefer,
}

impl Message {
    pub(super) fn to(&self) -> i32 {
        match self {
            Message::Orders(orders) => orders.broker,
            Message::Ask(controller, _) => *controller,
        }
    }
}

/// A replica on a broker's disk.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Replica {
    pub(super) id: Uuid,
    pub(super) state: PartitionState,
}

/// What a broker shares with the world, most of which is on its disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) replicas: BTreeMap<PartitionName, Replica>,
    /// The session whose registration may still be there.
    last_session: Option<i64>,
    /// Of its registration.
    epoch: i64,
    /// Said, and not on its way yet.
    pub(super) said: Vec<Message>,
    /// Orders that came from a controller when a later one was known.
    pub(super) refused: u64,
}

pub(super) type SharedDisk = Arc<Mutex<Disk>>;

pub(super) fn lock(disk: &SharedDisk) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Is a member of the cluster with one session after the other, as the real server is.
pub(super) async fn run(
    id: i32,
    mut surroundings: Surroundings,
    disk: SharedDisk,
    heard: mpsc::UnboundedReceiver<Message>,
) {
    let (ask, mut asks) = mpsc::channel(ASKS_WAITING_MAX);
    let (order, orders) = mpsc::channel(1);
    tokio::spawn(pass_on(orders, Arc::clone(&disk)));
    let random = surroundings.random.split();
    let replicas = Replicas { me: id, disk: Arc::clone(&disk), random, controller_epoch: 0 };
    tokio::spawn(replicas.listen(heard, ask));
    loop {
        if let Ok(zk) = surroundings.session().connect().await {
            // Whatever ends it, there is another session after this one.
            let _ = live(id, zk, &disk, &mut asks, &order).await;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn live(
    id: i32,
    zk: Coordinator,
    disk: &SharedDisk,
    asks: &mut mpsc::Receiver<Ask>,
    orders: &mpsc::Sender<Orders>,
) -> Result<(), RegistryError> {
    let registry = Registry::over(zk).await?;
    let last_session = lock(disk).last_session;
    let epoch = registry.register(id, &registration(id), last_session).await?;
    {
        let mut disk = lock(disk);
        disk.last_session = registry.session().session_id().map(|session| session.0);
        disk.epoch = epoch;
    }
    let mut states = registry.session().states();
    let values = &Values::default();
    let candidate = Candidate { registry: &registry, me: id, values, asks, orders };
    tokio::select! {
        biased;
        result = candidate.run(|| 0, |_| {}) => result,
        () = async { while states.next().await.is_some_and(|state| !state.is_final()) {} } => Ok(()),
    }
}

fn registration(id: i32) -> Registration {
    let listener = "PLAINTEXT".to_owned();
    let host = format!("broker-{id}");
    let endpoint = Endpoint { listener: listener.clone(), host, port: 9092, protocol: listener };
    Registration { endpoints: vec![endpoint], rack: None, timestamp_ms: 0 }
}

/// The controller's orders go out into the world.
async fn pass_on(mut orders: mpsc::Receiver<Orders>, disk: SharedDisk) {
    while let Some(orders) = orders.recv().await {
        lock(&disk).said.push(Message::Orders(orders));
    }
}

struct Replicas {
    me: i32,
    disk: SharedDisk,
    random: Random,
    /// The latest controller that was heard of.
    controller_epoch: i32,
}

impl Replicas {
    /// Hears what others say.
    async fn listen(mut self, mut heard: mpsc::UnboundedReceiver<Message>, ask: mpsc::Sender<Ask>) {
        while let Some(message) = heard.recv().await {
            match message {
                Message::Orders(orders) => self.obey(orders),
                Message::Ask(_, asked) => {
                    let request = |request| Ask::Request(request, oneshot::channel().0);
                    let asked = match *asked {
                        Asked::Report(event) => Ask::Report(event),
                        Asked::ChangeIsr(change) => request(Request::ChangeIsr(change)),
                        Asked::Prefer => request(Request::Prefer(None)),
                    };
                    if ask.send(asked).await.is_err() {
                        return;
                    }
                }
            }
        }
        pending::<()>().await;
    }

    fn obey(&mut self, orders: Orders) {
        let shared = Arc::clone(&self.disk);
        let mut disk = lock(&shared);
        if orders.controller_epoch < self.controller_epoch {
            disk.refused += 1;
            return;
        }
        self.controller_epoch = orders.controller_epoch;
        let mut answers = Vec::new();
        match orders.order {
            Order::Lead(partitions) => {
                for order in partitions {
                    let name = (order.topic.clone(), order.partition);
                    let replica = Replica { id: order.topic_id, state: order.state.clone() };
                    disk.replicas.insert(name.clone(), replica);
                    if order.state.leader == self.me && self.random.one_in(3) {
                        answers.push(Asked::ChangeIsr(self.another_isr(disk.epoch, name, order)));
                    }
                }
            }
            Order::Inform { .. } => {}
            Order::Delete { topic_id, partitions } => {
                for partition in partitions {
                    disk.replicas.remove(&partition);
                    answers.push(Asked::Report(Event::Deleted {
                        broker: self.me,
                        topic_id,
                        partition,
                        result: Ok(()),
                    }));
                }
            }
        }
        if self.random.one_in(20) {
            answers.push(Asked::Prefer);
        }
        let answers = answers.into_iter().map(|asked| Message::Ask(orders.controller, Box::new(asked)));
        disk.said.extend(answers);
    }

    /// Followers fall behind and catch up.
    fn another_isr(
        &mut self,
        broker_epoch: i64,
        partition: PartitionName,
        order: PartitionOrder,
    ) -> IsrChange {
        let (me, random, topic_id) = (self.me, &mut self.random, order.topic_id);
        let isr = order.replicas.into_iter().filter(|replica| *replica == me || random.coin()).collect();
        let PartitionState { leader_epoch, version, .. } = order.state;
        IsrChange {
            broker: me,
            broker_epoch,
            partition,
            topic_id,
            leader_epoch,
            version,
            isr,
            is_recovering: false,
        }
    }
}
