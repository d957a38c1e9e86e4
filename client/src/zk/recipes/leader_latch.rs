//! Leadership that is held until it is given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::line::{Place, child, in_line};
use super::lock::data_of_line;
use crate::zk::{Coordinator, CreateMode, Error, Zxid};

/// What Curator's names have before the digits.
const NAMES: &[&str] = &["latch-"];

/// One of several participants of which one leads, from when it joins until it is closed.
///
/// **It promises** that it says it leads only while it is connected and was the first in the line when last heard; that the
/// connection's loss ends leadership on this side at once, though it may come back when the session has survived; and that
/// [`Leadership::fence`] is larger than that of every earlier leader.
///
/// **It does not promise** that nobody else leads yet when this side has not noticed that its session is over; see
/// [`Lock`](super::Lock) for what a fence is for.
///
/// When the session is over so is the latch: [`LeaderLatch::leadership`] fails, and a new session needs a new latch.
///
/// **Znodes**: `PATH/_c_UUID-latch-0000000007`, ephemeral, with the participant's id; the lowest number leads, and everybody
/// else watches the one before. Curator's `LeaderLatch` does the same.
///
/// ```no_run
/// # async fn example(zk: client::zk::Coordinator) -> Result<(), client::zk::Error> {
/// let latch = zk.leader_latch("/leader", "worker-1");
/// loop {
///     let leadership = latch.leadership().await?;
///     println!("we lead, with fence {}", leadership.fence());
///     leadership.lost().await;
///     println!("we do not lead");
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping the latch gives up leadership"]
pub struct LeaderLatch {
    zk: Coordinator,
    path: String,
    standing: watch::Receiver<Standing>,
    task: Option<JoinHandle<()>>,
    stop: Arc<Notify>,
    is_silent: Arc<AtomicBool>,
    changes: LeadershipChanges,
}

/// Where a participant stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Waiting,
    /// With this fence, for so many times: a short doubt in between must not go unseen.
    Leading(Zxid, u64),
    Over(Error, Ending),
}

/// Whether the end of leadership is told as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Told,
    Silent,
}

impl Coordinator {
    /// Takes part in the election at this path, under an id that others can read.
    ///
    /// Must be called inside a tokio runtime, where the latch's task then lives.
    pub fn leader_latch(&self, path: &str, id: &str) -> LeaderLatch {
        let (sender, standing) = watch::channel(Standing::Waiting);
        let (stop, is_silent) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let changes = LeadershipChanges { standing: standing.clone(), told: false };
        let (path_text, id) = (path.to_owned(), id.to_owned());
        let task = Task {
            zk: self.clone(),
            path: path_text,
            id,
            sender,
            turns: AtomicU64::new(0),
            look_again: Notify::new(),
            is_silent: Arc::clone(&is_silent),
        };
        let stopped = Arc::clone(&stop);
        let task = Some(tokio::spawn(async move { task.run(&stopped).await }));
        LeaderLatch { zk: self.clone(), path: path.to_owned(), standing, task, stop, is_silent, changes }
    }
}

/// Leadership while it lasts.
#[derive(Debug, Clone)]
pub struct Leadership {
    fence: Zxid,
    turn: u64,
    standing: watch::Receiver<Standing>,
}

impl Leadership {
    /// A number larger than that of every earlier leader. Whoever the leader writes to should refuse what comes with a
    /// smaller one than it has seen.
    pub fn fence(&self) -> Zxid {
        self.fence
    }

    /// Waits until we do not lead any more, or cannot know.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time.
    pub async fn lost(&self) {
        let mut standing = self.standing.clone();
        let leading = Standing::Leading(self.fence, self.turn);
        // An error means that the task is gone, and leadership with it.
        let _ = standing.wait_for(|standing| *standing != leading).await;
    }
}

impl LeaderLatch {
    /// Whether we lead, for all this side knows now.
    pub fn has_leadership(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Leading(..)) && self.zk.state().is_connected()
    }

    /// Waits until we lead. Fails when the session is over.
    ///
    /// # Cancel safety
    /// May be dropped and called again at any time; it makes no difference to the place in the line.
    pub async fn leadership(&self) -> Result<Leadership, Error> {
        let mut standing = self.standing.clone();
        let settled = standing.wait_for(|standing| *standing != Standing::Waiting).await;
        let settled = settled.map_err(|_| Error::Closed)?.clone();
        match settled {
            Standing::Leading(fence, turn) => Ok(Leadership { fence, turn, standing }),
            Standing::Over(error, _) => Err(error),
            Standing::Waiting => Err(Error::Closed),
        }
    }

    /// Everybody who takes part, the leader first: their ids.
    pub async fn participants(&self) -> Result<Vec<String>, Error> {
        let ids = data_of_line(&self.zk, &self.path, NAMES).await?;
        Ok(ids.iter().map(|id| String::from_utf8_lossy(id).into_owned()).collect())
    }

    /// The leader's id, if there is one.
    pub async fn leader(&self) -> Result<Option<String>, Error> {
        Ok(self.participants().await?.into_iter().next())
    }

    /// The next change of leadership. See [`LeadershipChanges::next`].
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> Option<bool> {
        self.changes.next().await
    }

    /// Changes of leadership from now on, for whoever wants to hear of them beside the owner of the latch.
    pub fn changes(&self) -> LeadershipChanges {
        let standing = self.standing.clone();
        let told = matches!(*standing.borrow(), Standing::Leading(..));
        LeadershipChanges { standing, told }
    }

    /// Gives up, and waits until the next in line can lead. [`LeadershipChanges`] and [`Leadership::lost`] tell of it before
    /// this returns.
    pub async fn close(mut self) -> Result<(), Error> {
        self.stop.notify_one();
        match self.task.take() {
            Some(task) => task.await.map_err(|_| Error::Closed),
            None => Ok(()),
        }
    }

    /// The same without a word to [`LeadershipChanges`], which end. [`Leadership::lost`] tells of it all the same: whoever
    /// works as a leader must hear of the end.
    pub async fn close_silently(self) -> Result<(), Error> {
        self.is_silent.store(true, Ordering::Relaxed);
        self.close().await
    }
}

/// Changes of a latch's leadership, as they come.
#[derive(Debug, Clone)]
pub struct LeadershipChanges {
    standing: watch::Receiver<Standing>,
    /// What was told last: whether we lead.
    told: bool,
}

impl LeadershipChanges {
    /// The next change: `true` when we begin to lead, `false` when we stop. `None` when the latch is closed or the session is
    /// over, after a `false` if the last word was `true`. Changes that come faster than they are read are told as one.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<bool> {
        self.standing.changed().await.ok()?;
        let leads = match *self.standing.borrow_and_update() {
            Standing::Leading(..) => true,
            Standing::Waiting => false,
            Standing::Over(_, Ending::Told) if self.told => false,
            Standing::Over(..) => return None,
        };
        self.told = leads;
        Some(leads)
    }
}

impl Drop for LeaderLatch {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

struct Task {
    zk: Coordinator,
    path: String,
    id: String,
    sender: watch::Sender<Standing>,
    /// How often it has begun to lead.
    turns: AtomicU64,
    /// The connection is back.
    look_again: Notify,
    /// Whether the end is to be told.
    is_silent: Arc<AtomicBool>,
}

impl Task {
    async fn run(self, stop: &Notify) {
        let mut place = None;
        let end = tokio::select! {
            // In this order, not a random one: a simulated life must be repeatable.
            biased;
            error = self.take_part(&mut place) => error,
            () = self.doubt() => Error::Closed,
            () = stop.notified() => Error::Closed,
        };
        // First this side stops believing that it leads, then the others may begin.
        let ending = if self.is_silent.load(Ordering::Relaxed) { Ending::Silent } else { Ending::Told };
        self.sender.send_replace(Standing::Over(end, ending));
        if let Some(place) = place {
            // Only the end of the session keeps it from being left, and that is as good.
            let _ = place.leave().await;
        }
    }

    /// Stops leading as soon as the connection is lost, whatever else is being waited for.
    async fn doubt(&self) {
        let mut states = self.zk.states();
        while let Some(state) = states.next().await {
            if state.is_connected() {
                self.look_again.notify_one();
            } else {
                self.lead(None);
            }
        }
        // How the session ended is for the next request to say.
        std::future::pending().await
    }

    /// Ends only with the session.
    async fn take_part(&self, place: &mut Option<Place>) -> Error {
        loop {
            match self.stand(place).await {
                Ok(()) | Err(Error::ConnectionLoss) => {}
                Err(error) => return error,
            }
        }
    }

    /// Looks where we stand, and waits until that may have changed.
    async fn stand(&self, place: &mut Option<Place>) -> Result<(), Error> {
        let own = match place {
            Some(place) => place,
            None => {
                let (id, mode) = (self.id.as_bytes(), CreateMode::EphemeralSequential);
                place.insert(Place::take(&self.zk, &self.path, "latch-", id, mode).await?)
            }
        };
        let names = match self.zk.children(&self.path).await {
            Err(Error::NoNode) => Vec::new(),
            result => result?.0,
        };
        let line = in_line(names, NAMES);
        let Some(index) = line.iter().position(|(_, name)| name == own.name()) else {
            // Somebody has deleted our znode.
            self.lead(None);
            *place = None;
            return Ok(());
        };
        // The leader watches itself.
        let watched = child(&self.path, &line[index.saturating_sub(1)].1);
        let (found, mut watch) = self.zk.exists_and_watch(&watched).await?;
        if found.is_none() {
            return Ok(());
        }
        self.lead((index == 0 && self.zk.state().is_connected()).then(|| own.czxid()));
        tokio::select! {
            // In this order, not a random one: a simulated life must be repeatable.
            biased;
            _ = watch.changed() => {}
            () = self.look_again.notified() => {}
        }
        Ok(())
    }

    /// Leads with this fence, or does not.
    fn lead(&self, fence: Option<Zxid>) {
        self.sender.send_if_modified(|standing| match (&*standing, fence) {
            (Standing::Leading(old, _), Some(fence)) if *old == fence => false,
            (Standing::Waiting, None) | (Standing::Over(..), _) => false,
            (_, Some(fence)) => {
                *standing = Standing::Leading(fence, self.turns.fetch_add(1, Ordering::Relaxed));
                true
            }
            (_, None) => {
                *standing = Standing::Waiting;
                true
            }
        });
    }
}
