//! The operations.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

use super::create::{CreateOptions, Created};
use super::data::{AsData, AsPath, Data};
use super::driver::{Answer, Command};
use super::error::Error;
use super::pending::Pending;
use super::queue::Queue;
use super::reconfig::{Members, Reconfig};
use super::registry::{WatchId, WatchKind};
use super::session::{Reply, Submission, Then};
use super::state::{Notice, SessionState};
use super::states::{Board, States};
use super::watch::{Watch, inside};
use crate::wire::codec::{DecodeError, Reader};
use crate::wire::zk::request::{AddWatchMode, WatcherType};
use crate::wire::zk::{Acl, Identity, Request, SessionId, Stat, path};

/// A request takes one unit of the budget for itself and one for each so many bytes.
pub(crate) const BYTES_PER_UNIT: usize = 4096;
/// Where servers keep who the members are; the same for every chroot.
const CONFIG_PATH: &str = "/zookeeper/config";

/// What all handles of a session share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) board: Arc<Board>,
    pub(crate) budget: Arc<Semaphore>,
    pub(crate) request_bytes_max: usize,
    pub(crate) watch_capacity: usize,
    pub(crate) next_watch: AtomicU64,
}

/// A session with a coordinator, or with Apache ZooKeeper.
///
/// Clones are cheap and share the session. When the last one is dropped the session is closed, and its ephemerals go.
///
/// Every operation returns a [`Pending`]: the request is sent when the method is called. While there is no connection,
/// requests wait for the next one, but not longer than the session's timeout ([`Error::ConnectionLoss`]). Reads whose
/// answer was lost with the connection are asked again on the next one, up to eight times; writes never are
/// ([`Error::UnknownOutcome`]).
///
/// Versions: `None` means any version, a number means only that one ([`Error::BadVersion`]).
#[derive(Debug, Clone)]
pub struct Coordinator {
    pub(crate) shared: Arc<Shared>,
    /// Put before every path; empty if there is none.
    pub(crate) chroot: Arc<str>,
}

impl Coordinator {
    // ---- The session ----

    /// The current state of the session.
    pub fn state(&self) -> SessionState {
        self.shared.board.current().state
    }

    /// All states of the session from now on.
    pub fn states(&self) -> States {
        States::new(Arc::clone(&self.shared.board))
    }

    /// The session's id, which its ephemerals have as their owner; `None` while there is no connection.
    pub fn session_id(&self) -> Option<SessionId> {
        match self.state() {
            SessionState::Connected { session, .. } => Some(session),
            _ => None,
        }
    }

    /// The negotiated timeout; `None` while there is no connection.
    pub fn session_timeout(&self) -> Option<Duration> {
        match self.state() {
            SessionState::Connected { timeout, .. } => Some(timeout),
            _ => None,
        }
    }

    /// A handle on the same session whose paths all begin below `path`.
    pub fn chroot(&self, path: &(impl AsPath + ?Sized)) -> Result<Coordinator, Error> {
        let chroot = self.full(path)?;
        let chroot = if chroot == "/" { "" } else { &*chroot };
        Ok(Coordinator { shared: Arc::clone(&self.shared), chroot: chroot.into() })
    }

    /// Presents one more identity, for example scheme `digest` with token `name:password`, now and on every later
    /// connection. If the servers refuse it, the session is over ([`SessionState::AuthFailed`]).
    pub fn add_auth(&self, scheme: &str, token: &[u8]) -> Pending<()> {
        let (scheme, token) = (scheme.to_owned(), token.to_vec());
        let command = |answer: Answer| Command::AddIdentity { scheme, token, answer };
        Pending::send(&self.shared.commands, &self.shared.budget, 1, command, |result| result.map(drop))
    }

    /// Ends the session: its ephemerals go at once. Requests called before are answered first.
    pub fn close(&self) -> Pending<()> {
        self.send(&Request::CloseSession, |_| Ok(()))
    }

    // ---- Reading ----

    /// The data of a znode.
    pub fn get(&self, path: &(impl AsPath + ?Sized)) -> Pending<(Data, Stat)> {
        self.on_path(path, |path| Request::GetData { path, watch: false }, data_and_stat)
    }

    /// The same, and a one-shot watch for the next change of the data or the deletion.
    pub fn get_and_watch(&self, path: &(impl AsPath + ?Sized)) -> Pending<(Data, Stat, Watch)> {
        self.on_path_and_watch(
            path,
            WatchKind::Data,
            |path| Request::GetData { path, watch: true },
            |result, watch| {
                let (data, stat) = data_and_stat(&result?.body)?;
                Ok((data, stat, watch))
            },
        )
    }

    /// The numbers of a znode, or `None` if it does not exist.
    pub fn exists(&self, path: &(impl AsPath + ?Sized)) -> Pending<Option<Stat>> {
        match self.full(path) {
            Ok(path) => {
                self.submit(&Request::Exists { path, watch: false }, Then::Nothing, None, stat_if_any)
            }
            Err(error) => Pending::failed(error),
        }
    }

    /// The same, and a one-shot watch for the creation, the next change of the data or the deletion.
    pub fn exists_and_watch(&self, path: &(impl AsPath + ?Sized)) -> Pending<(Option<Stat>, Watch)> {
        self.on_path_and_watch(
            path,
            WatchKind::Data,
            |path| Request::Exists { path, watch: true },
            |result, watch| Ok((stat_if_any(result)?, watch)),
        )
    }

    /// The names of a znode's children, in no order, and the znode's numbers.
    pub fn children(&self, path: &(impl AsPath + ?Sized)) -> Pending<(Vec<String>, Stat)> {
        self.on_path(path, |path| Request::GetChildren2 { path, watch: false }, names_and_stat)
    }

    /// The same, and a one-shot watch for the next child that comes or goes, or the deletion.
    pub fn children_and_watch(&self, path: &(impl AsPath + ?Sized)) -> Pending<(Vec<String>, Stat, Watch)> {
        self.on_path_and_watch(
            path,
            WatchKind::Child,
            |path| Request::GetChildren2 { path, watch: true },
            |result, watch| {
                let (names, stat) = names_and_stat(&result?.body)?;
                Ok((names, stat, watch))
            },
        )
    }

    /// How many znodes there are below this one, at any depth.
    pub fn all_children_number(&self, path: &(impl AsPath + ?Sized)) -> Pending<u32> {
        self.on_path(
            path,
            |path| Request::GetAllChildrenNumber { path },
            |body| Ok(Reader::new(body).int()?.try_into().unwrap_or(0)),
        )
    }

    /// The paths of this session's ephemerals that begin with `prefix`; `/` means all.
    pub fn ephemerals(&self, prefix: &str) -> Pending<Vec<String>> {
        let chroot = Arc::clone(&self.chroot);
        let prefix = if prefix == "/" { String::new() } else { prefix.to_owned() };
        let request = Request::GetEphemerals { prefix: Some(format!("{chroot}{prefix}").into()) };
        self.send(&request, move |body| {
            Ok(names(&mut Reader::new(body))?.iter().map(|path| inside(&chroot, path).to_owned()).collect())
        })
    }

    /// A znode's access control list and its numbers.
    pub fn get_acl(&self, path: &(impl AsPath + ?Sized)) -> Pending<(Vec<Acl<'static>>, Stat)> {
        self.on_path(path, |path| Request::GetAcl { path }, acl_and_stat)
    }

    /// Waits until the server has caught up with everything that was written before this call, wherever it was written.
    /// A read after it sees that.
    pub fn sync(&self, path: &(impl AsPath + ?Sized)) -> Pending<()> {
        self.on_path(path, |path| Request::Sync { path }, |_| Ok(()))
    }

    /// Who the server takes this session for.
    pub fn who_am_i(&self) -> Pending<Vec<Identity<'static>>> {
        self.send(&Request::WhoAmI, identities)
    }

    // ---- Writing ----

    /// Creates a znode. `options` is a [`CreateMode`](super::CreateMode), or more: see [`CreateOptions`].
    pub fn create(
        &self,
        path: &(impl AsPath + ?Sized),
        data: &(impl AsData + ?Sized),
        options: impl Into<CreateOptions>,
    ) -> Pending<Created> {
        let options = options.into();
        let full = match self.full_with_suffix(path, options.mode.is_sequential()) {
            Ok(full) => full,
            Err(error) => return Pending::failed(error),
        };
        let chroot = Arc::clone(&self.chroot);
        self.send(&Request::Create(options.request(full, data.field())), move |body| {
            let mut reader = Reader::new(body);
            let path = inside(&chroot, &reader.required_string()?).to_owned();
            Ok(Created { path, stat: Stat::decode(&mut reader)? })
        })
    }

    /// Replaces a znode's data.
    pub fn set(
        &self,
        path: &(impl AsPath + ?Sized),
        data: &(impl AsData + ?Sized),
        version: impl Into<Option<i32>>,
    ) -> Pending<Stat> {
        let version = version.into().unwrap_or(-1);
        self.on_path(path, |path| Request::SetData { path, data: data.field(), version }, stat)
    }

    /// Deletes a znode that has no children.
    pub fn delete(&self, path: &(impl AsPath + ?Sized), version: impl Into<Option<i32>>) -> Pending<()> {
        let version = version.into().unwrap_or(-1);
        self.on_path(path, |path| Request::Delete { path, version }, |_| Ok(()))
    }

    /// Replaces a znode's access control list. The version is that of the list: [`Stat::aversion`].
    pub fn set_acl(
        &self,
        path: &(impl AsPath + ?Sized),
        acl: &[Acl<'_>],
        version: impl Into<Option<i32>>,
    ) -> Pending<Stat> {
        let version = version.into().unwrap_or(-1);
        self.on_path(path, |path| Request::SetAcl { path, acl: acl.to_vec(), version }, stat)
    }

    // ---- Watching ----

    /// Everything that happens to a znode, whether it exists or not: creation, changes of its data, children that come
    /// and go, deletion.
    pub fn watch(&self, path: &(impl AsPath + ?Sized)) -> Pending<Watch> {
        self.add_watch(path, WatchKind::Persistent, AddWatchMode::Persistent)
    }

    /// Everything that happens to a znode and to all znodes below it: creation, changes of data, deletion.
    pub fn watch_recursive(&self, path: &(impl AsPath + ?Sized)) -> Pending<Watch> {
        self.add_watch(path, WatchKind::Recursive, AddWatchMode::PersistentRecursive)
    }

    fn add_watch(
        &self,
        path: &(impl AsPath + ?Sized),
        kind: WatchKind,
        mode: AddWatchMode,
    ) -> Pending<Watch> {
        self.on_path_and_watch(
            path,
            kind,
            |path| Request::AddWatch { path, mode },
            |result, watch| result.map(|_| watch),
        )
    }

    /// Whether the server has a watch of this type for this session ([`Error::NoWatcher`] if not).
    pub fn check_watches(&self, path: &(impl AsPath + ?Sized), kind: WatcherType) -> Pending<()> {
        self.on_path(path, |path| Request::CheckWatches { path, kind }, |_| Ok(()))
    }

    /// Removes all watches of this type that this session has on the path; their streams end with
    /// [`Notice::Removed`].
    pub fn remove_watches(&self, path: &(impl AsPath + ?Sized), kind: WatcherType) -> Pending<()> {
        match self.full(path) {
            Ok(path) => {
                let then = Then::Unwatch(kind, path.clone().into_owned());
                self.submit(&Request::RemoveWatches { path, kind }, then, None, |result| result.map(drop))
            }
            Err(error) => Pending::failed(error),
        }
    }

    // ---- The ensemble ----

    /// Who the members are, one `server.N=…` line each and `version=…` at the end, and the numbers of the znode that
    /// says so.
    pub fn config(&self) -> Pending<(Data, Stat)> {
        self.send(&Request::GetData { path: CONFIG_PATH.into(), watch: false }, data_and_stat)
    }

    /// Changes who the members are, and returns what [`Coordinator::config`] says afterwards.
    pub fn reconfig(&self, change: Reconfig) -> Pending<(Data, Stat)> {
        let text = |lines: Vec<String>| (!lines.is_empty()).then(|| Cow::Owned(lines.join(",")));
        let (joining, leaving, members) = match change.members {
            Members::Change { joining, leaving } => (text(joining), text(leaving), None),
            Members::Replace(members) => (None, None, text(members)),
        };
        let config = change.from_version.unwrap_or(-1);
        self.send(&Request::Reconfig { joining, leaving, members, config }, data_and_stat)
    }

    // ---- How requests get on their way ----

    fn full<'a>(&self, path: &'a (impl AsPath + ?Sized)) -> Result<Cow<'a, str>, Error> {
        self.full_with_suffix(path, false)
    }

    /// The path as the server knows it. With a suffix that the server adds, even a path that ends in `/` is complete.
    pub(crate) fn full_with_suffix<'a>(
        &self,
        path: &'a (impl AsPath + ?Sized),
        sequential: bool,
    ) -> Result<Cow<'a, str>, Error> {
        let (path, is_checked) = path.text();
        if !is_checked {
            let checked = if sequential { path::check(&format!("{path}0")) } else { path::check(path) };
            checked.map_err(|reason| Error::BadPath { path: path.to_owned(), reason })?;
        }
        Ok(match (&*self.chroot, path) {
            ("", path) => path.into(),
            (chroot, "/") => chroot.to_owned().into(),
            (chroot, path) => format!("{chroot}{path}").into(),
        })
    }

    fn on_path<'a, T>(
        &self,
        path: &'a (impl AsPath + ?Sized),
        request: impl FnOnce(Cow<'a, str>) -> Request<'a>,
        decode: impl FnOnce(&Bytes) -> Result<T, DecodeError> + Send + 'static,
    ) -> Pending<T> {
        match self.full(path) {
            Ok(path) => self.send(&request(path), decode),
            Err(error) => Pending::failed(error),
        }
    }

    fn on_path_and_watch<'a, T>(
        &self,
        path: &'a (impl AsPath + ?Sized),
        kind: WatchKind,
        request: impl FnOnce(Cow<'a, str>) -> Request<'a>,
        finish: impl FnOnce(Result<Reply, Error>, Watch) -> Result<T, Error> + Send + 'static,
    ) -> Pending<T> {
        let path = match self.full(path) {
            Ok(path) => path,
            Err(error) => return Pending::failed(error),
        };
        let id = WatchId(self.shared.next_watch.fetch_add(1, Ordering::Relaxed));
        let queue = Arc::new(Queue::new(self.shared.watch_capacity));
        let commands = self.shared.commands.downgrade();
        let watch = Watch { id, queue: Arc::clone(&queue), commands, chroot: Arc::clone(&self.chroot) };
        let then = Then::Watch(kind, path.clone().into_owned(), id);
        self.submit(&request(path), then, Some((id, queue)), |result| finish(result, watch))
    }

    pub(crate) fn send<T>(
        &self,
        request: &Request<'_>,
        decode: impl FnOnce(&Bytes) -> Result<T, DecodeError> + Send + 'static,
    ) -> Pending<T> {
        self.submit(request, Then::Nothing, None, |result| Ok(decode(&result?.body)?))
    }

    pub(crate) fn submit<T>(
        &self,
        request: &Request<'_>,
        then: Then,
        watcher: Option<(WatchId, Arc<Queue<Notice>>)>,
        finish: impl FnOnce(Result<Reply, Error>) -> Result<T, Error> + Send + 'static,
    ) -> Pending<T> {
        let mut frame = Vec::new();
        request.write(0, &mut frame);
        let (op, bytes, limit) = (request.op(), frame.len() - 4, self.shared.request_bytes_max);
        if bytes > limit {
            return Pending::failed(Error::RequestTooLarge { bytes, limit });
        }
        let share = units(bytes);
        let command =
            move |answer| Command::Submit { submission: Submission { op, frame, then, answer }, watcher };
        Pending::send(&self.shared.commands, &self.shared.budget, share, command, finish)
    }
}

/// What a request of this size takes of the budget.
pub(crate) fn units(bytes: usize) -> u32 {
    (1 + bytes / BYTES_PER_UNIT).try_into().unwrap_or(u32::MAX)
}

// ---- Bodies of replies ----

fn data_and_stat(body: &Bytes) -> Result<(Data, Stat), DecodeError> {
    let mut reader = Reader::new(body);
    let data = Data::within(body, reader.buffer()?);
    Ok((data, Stat::decode(&mut reader)?))
}

fn stat(body: &Bytes) -> Result<Stat, DecodeError> {
    Stat::decode(&mut Reader::new(body))
}

fn stat_if_any(result: Result<Reply, Error>) -> Result<Option<Stat>, Error> {
    match result {
        Ok(reply) => Ok(Some(stat(&reply.body)?)),
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}

fn names(reader: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    Ok(reader.strings()?.into_iter().map(Cow::into_owned).collect())
}

fn names_and_stat(body: &Bytes) -> Result<(Vec<String>, Stat), DecodeError> {
    let mut reader = Reader::new(body);
    Ok((names(&mut reader)?, Stat::decode(&mut reader)?))
}

fn acl_and_stat(body: &Bytes) -> Result<(Vec<Acl<'static>>, Stat), DecodeError> {
    let mut reader = Reader::new(body);
    let acl = Acl::decode_list(&mut reader)?.into_iter().map(Acl::into_owned).collect();
    Ok((acl, Stat::decode(&mut reader)?))
}

fn identities(body: &Bytes) -> Result<Vec<Identity<'static>>, DecodeError> {
    let mut reader = Reader::new(body);
    let count = reader.count(8)?.unwrap_or(0);
    let mut identities = Vec::with_capacity(count);
    for _ in 0..count {
        let scheme = reader.string()?.unwrap_or_default();
        identities.push(Identity::new(scheme, reader.string()?.unwrap_or_default()).into_owned());
    }
    Ok(identities)
}
