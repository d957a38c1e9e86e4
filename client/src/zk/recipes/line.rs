//! A line of contenders: ephemeral sequential znodes below one parent, each with a marker by which its owner knows it.
//!
//! The marker is Curator's: a name begins with `_c_`, a unique text and `-`. When the answer to a create is lost, the owner
//! looks for its marker instead of creating a second znode that nobody would ever delete.

use tokio::runtime::Handle;

use crate::wire::zk::path;
use crate::zk::builder::random_seed;
use crate::zk::random::Random;
use crate::zk::{Coordinator, CreateMode, Error, SessionState, Zxid};

/// The digits that a server adds.
const DIGITS: usize = 10;

/// A znode's place in the line. Kept until [`Place::leave`], or until it is dropped and the background has time.
#[derive(Debug)]
pub(crate) struct Place {
    zk: Coordinator,
    parent: String,
    name: String,
    czxid: Zxid,
    /// Others want a znode of the same name: it may be theirs by now.
    is_shared: bool,
    left: bool,
}

impl Place {
    /// Puts an ephemeral znode called marker, `name`, digits below `parent`, which is created if need be.
    ///
    /// When the future is dropped, the znode is removed if it came to be.
    pub(crate) async fn take(
        zk: &Coordinator,
        parent: &str,
        name: &str,
        data: &[u8],
        mode: CreateMode,
    ) -> Result<Place, Error> {
        // Of itself, so that nobody is told of a name that we have made.
        path::check(parent).map_err(|reason| Error::BadPath { path: parent.to_owned(), reason })?;
        let marker = format!("_c_{}-", unique());
        let path = format!("{}/{marker}{name}", if parent == "/" { "" } else { parent });
        let mut claim = Claim { zk: zk.clone(), parent: parent.to_owned(), marker, settled: false };
        loop {
            let created = match zk.create(&path, data, mode).await {
                Ok(created) => Some((path::name(&created.path).to_owned(), created.stat.czxid)),
                Err(Error::UnknownOutcome) => claim.find().await?,
                Err(Error::NoNode) => {
                    ensure(zk, parent).await?;
                    None
                }
                Err(Error::ConnectionLoss) => None,
                Err(error) => {
                    claim.settled = true;
                    return Err(error);
                }
            };
            if let Some((name, czxid)) = created {
                claim.settled = true;
                let (zk, parent) = (zk.clone(), parent.to_owned());
                return Ok(Place {
                    zk,
                    parent,
                    name,
                    czxid: Zxid(czxid as u64),
                    is_shared: false,
                    left: false,
                });
            }
        }
    }

    /// Takes the place that has this path, if nobody has it.
    ///
    /// When the future is dropped, the znode is removed if it came to be and is ours.
    pub(crate) async fn take_by_name(
        zk: &Coordinator,
        path: &str,
        data: &[u8],
    ) -> Result<Option<Place>, Error> {
        let mut claim = OwnName { zk: zk.clone(), path: path.to_owned(), settled: false };
        let taken = claim.take(data).await;
        claim.settled = true;
        let (parent, name) = (path::parent(path).unwrap_or_default(), path::name(path));
        let parent = if parent.is_empty() { "/" } else { parent };
        Ok(taken?.map(|czxid| Place {
            zk: zk.clone(),
            parent: parent.to_owned(),
            name: name.to_owned(),
            czxid: Zxid(czxid as u64),
            is_shared: true,
            left: false,
        }))
    }

    /// When it was taken: a number that is larger for whoever comes later.
    pub(crate) fn czxid(&self) -> Zxid {
        self.czxid
    }

    pub(crate) fn zk(&self) -> &Coordinator {
        &self.zk
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> String {
        child(&self.parent, &self.name)
    }

    /// Gives the place up, for certain: tries until a server has confirmed it or the session is over, which comes to the
    /// same.
    ///
    /// When the future is dropped, the background goes on with it.
    pub(crate) async fn leave(mut self) -> Result<(), Error> {
        let result = give_up(&self.zk, &self.path(), self.is_shared).await;
        self.left = true;
        match result {
            // The session has taken the znode with it.
            Err(Error::SessionExpired | Error::Closed) => Ok(()),
            result => result,
        }
    }

    /// The znode is gone already: there is nothing to leave.
    pub(crate) fn has_gone(mut self) {
        self.left = true;
    }

    /// Waits until the place is lost: somebody has deleted the znode, the session is over, or has been without a server for
    /// so long that it may be.
    pub(crate) async fn lost(&self) {
        let mut states = self.zk.states();
        loop {
            match self.zk.state() {
                SessionState::Overdue
                | SessionState::Expired
                | SessionState::AuthFailed
                | SessionState::Closed => return,
                SessionState::Connecting | SessionState::Connected { .. } | SessionState::Suspended => {}
            }
            let gone = async {
                match self.zk.exists_and_watch(&self.path()).await {
                    Ok((None, _)) => true,
                    Ok((Some(stat), _)) if stat.czxid != self.czxid.to_wire() => true,
                    Ok((Some(_), mut watch)) => {
                        watch.changed().await;
                        false
                    }
                    // The state says more than this error.
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                // In this order, not a random one: a simulated life must be repeatable.
                biased;
                gone = gone => if gone { return },
                state = states.next() => if state.is_none() { return },
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.left {
            in_background(&self.zk, self.path(), self.is_shared);
        }
    }
}

/// A create under way. If it is abandoned, what it left is removed.
struct Claim {
    zk: Coordinator,
    parent: String,
    marker: String,
    settled: bool,
}

impl Claim {
    /// Whether the create whose answer was lost has happened: the znode's name and czxid.
    async fn find(&self) -> Result<Option<(String, i64)>, Error> {
        find_marked(&self.zk, &self.parent, &self.marker).await
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.settled {
            let (zk, parent, marker) = (self.zk.clone(), self.parent.clone(), self.marker.clone());
            runtime.spawn(async move {
                if let Ok(Some((name, _))) = find_marked(&zk, &parent, &marker).await {
                    let _ = delete_surely(&zk, &child(&parent, &name)).await;
                }
            });
        }
    }
}

/// A create under a name that others want too. If it is abandoned, the znode is removed if it is ours.
struct OwnName {
    zk: Coordinator,
    path: String,
    settled: bool,
}

impl OwnName {
    /// Its czxid, if it is ours now.
    async fn take(&self, data: &[u8]) -> Result<Option<i64>, Error> {
        loop {
            match self.zk.create(&self.path, data, CreateMode::Ephemeral).await {
                Ok(created) => return Ok(Some(created.stat.czxid)),
                Err(Error::NodeExists) => return Ok(None),
                Err(Error::UnknownOutcome) => match owned(&self.zk, &self.path).await? {
                    Owned::Ours(czxid) => return Ok(Some(czxid)),
                    Owned::Others => return Ok(None),
                    Owned::Nobodys => {}
                },
                Err(Error::NoNode) => ensure(&self.zk, path::parent(&self.path).unwrap_or_default()).await?,
                Err(Error::ConnectionLoss) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for OwnName {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.settled {
            let (zk, path) = (self.zk.clone(), self.path.clone());
            runtime.spawn(async move { give_up(&zk, &path, true).await });
        }
    }
}

/// Whose ephemeral a znode is.
enum Owned {
    /// This session's, with this czxid.
    Ours(i64),
    Others,
    Nobodys,
}

async fn owned(zk: &Coordinator, path: &str) -> Result<Owned, Error> {
    loop {
        match zk.sync(path).await {
            Err(Error::ConnectionLoss) => continue,
            result => result?,
        }
        let stat = match zk.exists(path).await {
            Err(Error::ConnectionLoss) => continue,
            result => result?,
        };
        // Without a connection nobody says which session this is; the next answer comes with one.
        let Some(session) = zk.session_id() else { continue };
        return Ok(match stat {
            Some(stat) if stat.ephemeral_owner == session.0 => Owned::Ours(stat.czxid),
            Some(_) => Owned::Others,
            None => Owned::Nobodys,
        });
    }
}

async fn find_marked(zk: &Coordinator, parent: &str, marker: &str) -> Result<Option<(String, i64)>, Error> {
    loop {
        // Without it the answer could come from a server that has not heard of the create yet.
        match zk.sync(parent).await {
            Err(Error::ConnectionLoss) => continue,
            result => result?,
        }
        let names = match zk.children(parent).await {
            Ok((names, _)) => names,
            Err(Error::NoNode) => return Ok(None),
            Err(Error::ConnectionLoss) => continue,
            Err(error) => return Err(error),
        };
        let Some(name) = names.into_iter().find(|name| name.starts_with(marker)) else { return Ok(None) };
        match zk.exists(&child(parent, &name)).await {
            Ok(stat) => return Ok(stat.map(|stat| (name, stat.czxid))),
            Err(Error::ConnectionLoss) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Creates a znode and all above it that are missing: containers, which go when they have been used and are empty, or
/// ordinary znodes where servers have no containers.
pub(crate) async fn ensure(zk: &Coordinator, path: &str) -> Result<(), Error> {
    match ensure_as(zk, path, CreateMode::Container).await {
        Err(Error::Unimplemented) => ensure_as(zk, path, CreateMode::Persistent).await,
        result => result,
    }
}

/// The same with znodes that stay.
pub(crate) async fn ensure_lasting(zk: &Coordinator, path: &str) -> Result<(), Error> {
    ensure_as(zk, path, CreateMode::Persistent).await
}

async fn ensure_as(zk: &Coordinator, path: &str, mode: CreateMode) -> Result<(), Error> {
    let mut missing = vec![path.to_owned()];
    while let Some(path) = missing.last() {
        match zk.create(path, b"", mode).await {
            Ok(_) | Err(Error::NodeExists) => drop(missing.pop()),
            Err(Error::NoNode) => {
                let parent = path::parent(path).unwrap_or_default().to_owned();
                missing.push(parent);
            }
            Err(Error::UnknownOutcome | Error::ConnectionLoss) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Deletes a znode, however often the connection is lost meanwhile.
pub(crate) async fn delete_surely(zk: &Coordinator, path: &str) -> Result<(), Error> {
    loop {
        match zk.delete(path, None).await {
            Err(Error::UnknownOutcome | Error::ConnectionLoss) => {}
            Ok(()) | Err(Error::NoNode) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Deletes our znode, and if it has a name that others want too, only if it is still ours.
async fn give_up(zk: &Coordinator, path: &str, is_shared: bool) -> Result<(), Error> {
    if is_shared && !matches!(owned(zk, path).await?, Owned::Ours(_)) {
        return Ok(());
    }
    delete_surely(zk, path).await
}

/// The same when nobody can wait for it. Outside a runtime one attempt must do.
fn in_background(zk: &Coordinator, path: String, is_shared: bool) {
    match Handle::try_current() {
        Ok(runtime) => {
            let zk = zk.clone();
            drop(runtime.spawn(async move { give_up(&zk, &path, is_shared).await }));
        }
        Err(_) if is_shared => {}
        Err(_) => drop(zk.delete(&path, None)),
    }
}

/// What the children of a parent are to each other: names with one of these texts before the digits, in the order of the
/// digits. The index says which text.
pub(crate) fn in_line(names: Vec<String>, kinds: &[&str]) -> Vec<(usize, String)> {
    let mut line: Vec<(i64, usize, String)> = names
        .into_iter()
        .filter_map(|name| {
            let digits = name.len().checked_sub(DIGITS).and_then(|at| name.get(at..))?;
            // After two billion children a server's counter goes on below zero.
            let number = digits.parse().ok()?;
            let kind = kinds.iter().position(|kind| name[..name.len() - DIGITS].ends_with(kind))?;
            Some((number, kind, name))
        })
        .collect();
    line.sort();
    line.into_iter().map(|(_, kind, name)| (kind, name)).collect()
}

/// A child's path.
pub(crate) fn child(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

/// A text like a random UUID, which nobody else has.
pub(crate) fn unique() -> String {
    let (mut high, mut low) = (Random::new(random_seed()), Random::new(random_seed()));
    let (high, low) = (high.next(), low.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        0x8000 | low >> 48 & 0x3fff,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_in_the_order_of_the_numbers_whoever_stands_there() {
        let names = [
            "_c_ffff-lock-0000000002",
            "0a1b__lock__0000000001",
            "_c_0000-lock-0000000010",
            "something else",
            "lock-",
            "x-lock--000000005",
            "żółw-lock-000000000",
        ];
        let line = in_line(names.map(str::to_owned).into(), &["lock-", "__lock__"]);
        let names: Vec<&str> = line.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "x-lock--000000005",
                "0a1b__lock__0000000001",
                "_c_ffff-lock-0000000002",
                "_c_0000-lock-0000000010"
            ]
        );
        assert_eq!(line[1].0, 1);
    }

    #[test]
    fn unique_texts_look_like_uuids_and_differ() {
        let (one, two) = (unique(), unique());
        assert_ne!(one, two);
        let lengths: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
    }
}
