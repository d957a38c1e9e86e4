//! Streams of changes.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::driver::Command;
use super::queue::Queue;
use super::registry::WatchId;
use super::state::{Event, Notice};

/// What happens to a znode, or to a whole subtree.
///
/// A one-shot watch, left by a read, tells one change and ends. A persistent watch goes on until it is dropped. Either
/// says when it could not see: [`Notice::Suspended`], [`Notice::Resumed`], [`Notice::Lagged`], [`Notice::Expired`].
///
/// Dropping it removes the watch.
#[derive(Debug)]
#[must_use = "the watch is removed when this is dropped"]
pub struct Watch {
    pub(crate) id: WatchId,
    pub(crate) queue: Arc<Queue<Notice>>,
    /// Weak, so that a watch alone keeps no session open.
    pub(crate) commands: mpsc::WeakUnboundedSender<Command>,
    pub(crate) chroot: Arc<str>,
}

impl Watch {
    /// The next notice, or `None` after the last.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Notice> {
        let notice = self.queue.next().await?;
        Some(match notice {
            Notice::Changed(event) if !self.chroot.is_empty() => {
                Notice::Changed(Event { path: inside(&self.chroot, &event.path).to_owned(), ..event })
            }
            other => other,
        })
    }

    /// Waits for a change, or for anything after which one may have been missed, and returns the change if there was one.
    ///
    /// For callers that read anew in any case. [`Notice::Suspended`] is passed over, since reading has to wait for the
    /// connection anyway. `None` means that the watch is over without a change.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) -> Option<Notice> {
        loop {
            match self.next().await? {
                Notice::Suspended => {}
                Notice::Removed | Notice::Expired | Notice::Closed => return None,
                notice => return Some(notice),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.send(Command::Unwatch(self.id));
        }
    }
}

/// A server's path as the user of this chroot knows it.
pub(crate) fn inside<'a>(chroot: &str, path: &'a str) -> &'a str {
    match path.strip_prefix(chroot) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chroot_is_taken_off() {
        for (chroot, path, expected) in
            [("", "/a", "/a"), ("/r", "/r/a", "/a"), ("/r", "/r", "/"), ("/r", "/rest", "/rest")]
        {
            assert_eq!(inside(chroot, path), expected);
        }
    }
}
