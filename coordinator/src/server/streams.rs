//! All data out, and all data in: the snapshot and restore commands of the operations port.
//!
//! A stream is a sequence of chunks, each with its length and CRC32C before it, four bytes each, big-endian; the chunks
//! are those of a snapshot (`docs/storage.md`).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use client::wire::zk::Zxid;
use tokio::sync::mpsc;

use super::{Core, STOP_PATIENCE, WALK_PAUSE};
use crate::limits;
use crate::request::Verdict;
use crate::store::CHUNK_BYTES_MAX;
use crate::tree::Tree;
use crate::tree::snapshot::Loader;
use crate::view::{Answer, Caller};
use crate::zab::Input;

/// Bytes, or why there are no more.
type StreamItem = Result<Bytes, String>;

/// How much of a stream may wait because its reader is slow, before the stream is given up.
const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// Answers a request for all data, and begins to send it.
pub(super) fn snapshot(core: &Rc<RefCell<Core>>, caller: &Caller) -> Answer {
    if let Some(refusal) = refusal(core, caller) {
        return refusal;
    }
    let mut borrowed = core.borrow_mut();
    let tree = borrowed.member.service.tree_mut();
    if tree.snapshot_in_progress() {
        return Answer::Failed("another snapshot is being taken; try again in a moment".to_owned());
    }
    tree.begin_snapshot();
    let zxid = tree.zxid();
    borrowed.streaming = true;
    drop(borrowed);
    let (sender, receiver) = mpsc::channel(limits::STREAM_QUEUE_CHUNKS_MAX);
    let core = Rc::clone(core);
    tokio::task::spawn_local(async move {
        let failed = sender.clone();
        let complete = send(&core, sender).await;
        let mut core = core.borrow_mut();
        core.streaming = false;
        if !complete {
            core.member.service.tree_mut().abandon_snapshot();
            let _ = failed.try_send(Err("the reader was too slow".to_owned()));
            tracing::warn!("a snapshot stream was given up: its reader left or was too slow");
        }
    });
    Answer::Snapshot(zxid.0, receiver)
}

/// Walks the tree and sends; false if the reader left or was too slow.
async fn send(core: &Rc<RefCell<Core>>, sender: mpsc::Sender<StreamItem>) -> bool {
    loop {
        let mut chunks = Vec::new();
        let in_progress = {
            let mut core = core.borrow_mut();
            let tree = core.member.service.tree_mut();
            tree.advance_snapshot(limits::SNAPSHOT_SLICE_NODES as u32);
            while let Some(chunk) = tree.next_snapshot_chunk() {
                chunks.push(chunk);
            }
            tree.snapshot_in_progress()
        };
        for chunk in chunks {
            let mut framed = BytesMut::with_capacity(chunk.len() + 8);
            framed.extend_from_slice(&(chunk.len() as u32).to_be_bytes());
            framed.extend_from_slice(&crc32c::crc32c(&chunk).to_be_bytes());
            framed.extend_from_slice(&chunk);
            let mut sending = std::pin::pin!(sender.send(Ok(framed.freeze())));
            loop {
                match tokio::time::timeout(Duration::from_millis(100), &mut sending).await {
                    Ok(Ok(())) => break,
                    Ok(Err(_)) => return false,
                    Err(_) if core.borrow().member.service.tree().snapshot_backlog() > BACKLOG_BYTES_MAX => {
                        return false;
                    }
                    Err(_) => {}
                }
            }
        }
        if !in_progress {
            return true;
        }
        tokio::time::sleep(WALK_PAUSE).await;
    }
}

/// Replaces all data by what a stream holds.
pub(super) async fn restore(
    core: &Rc<RefCell<Core>>,
    caller: &Caller,
    stream: mpsc::Receiver<StreamItem>,
) -> Answer {
    if let Some(refusal) = refusal(core, caller) {
        return refusal;
    }
    match try_restore(core, stream).await {
        Ok(zxid) => Answer::Restored(zxid.0),
        Err(error) => {
            let mut core = core.borrow_mut();
            core.member.service.metrics_mut().restore_error_count += 1;
            core.member.service.go_on();
            Answer::Failed(format!("{error:#}"))
        }
    }
}

fn refusal(core: &Rc<RefCell<Core>>, caller: &Caller) -> Option<Answer> {
    let core = core.borrow();
    if !core.member.service.is_serving() {
        return Some(Answer::NotServing);
    }
    match core.member.service.may_do_everything(caller.address, &caller.scheme, &caller.auth) {
        Verdict::Yes => None,
        Verdict::Unknown => Some(Answer::NotAuthenticated),
        Verdict::No => Some(Answer::NotAuthorized),
    }
}

async fn try_restore(core: &Rc<RefCell<Core>>, stream: mpsc::Receiver<StreamItem>) -> anyhow::Result<Zxid> {
    let began = Instant::now();
    let mut tree = load(stream).await?;

    // From here on nobody is served until the new state is safe.
    core.borrow_mut().member.service.stop();
    let quiet = wait_for(core, STOP_PATIENCE, |core| {
        core.disk.is_idle() && !core.member.service.tree().snapshot_in_progress() && !core.snapshots.is_busy()
    });
    if !quiet.await {
        bail!("the server did not come to rest");
    }
    let zxid = {
        let core = core.borrow();
        // The first position of a new epoch: after everything in the log, and after everything in the stream.
        let epoch = 1 + (core.member.replica().last().max(tree.zxid()).0 >> 32);
        tree.move_to(Zxid(epoch << 32), core.member.service.tree());
        tree.zxid()
    };
    write(core, &mut tree, zxid).await?;

    let mut core = core.borrow_mut();
    let now = core.now();
    core.disk.restart_after(zxid);
    core.member.service.replace_tree(tree, now);
    core.input(Input::Replaced { zxid });
    core.member.service.go_on();
    core.pump();
    core.member.service.metrics_mut().restore_time.record(began.elapsed());
    tracing::warn!(%zxid, "all data was replaced by a restored snapshot; every client has to connect again");
    Ok(zxid)
}

/// Builds a tree of a stream, chunk by chunk, so that clients are served meanwhile.
async fn load(mut stream: mpsc::Receiver<StreamItem>) -> anyhow::Result<Tree> {
    let mut loader = Loader::new(0);
    let mut pending = BytesMut::new();
    loop {
        while let Some(chunk) = next_chunk(&mut pending)? {
            loader.chunk(&chunk).context("the stream is not a snapshot of this server")?;
        }
        match stream.recv().await {
            Some(Ok(bytes)) => pending.extend_from_slice(&bytes),
            Some(Err(why)) => bail!("the stream broke: {why}"),
            None if pending.is_empty() => break,
            None => bail!("the stream ends inside a chunk"),
        }
    }
    loader.finish().context("the stream is not a whole snapshot")
}

fn next_chunk(pending: &mut BytesMut) -> anyhow::Result<Option<Bytes>> {
    let Some(head) = pending.first_chunk::<8>() else { return Ok(None) };
    let [a, b, c, d, crc @ ..] = *head;
    let size = u32::from_be_bytes([a, b, c, d]) as usize;
    if size > CHUNK_BYTES_MAX {
        bail!("a chunk of {size} bytes is announced; at most {CHUNK_BYTES_MAX} are allowed");
    }
    if pending.len() < 8 + size {
        return Ok(None);
    }
    pending.advance(8);
    let chunk = pending.split_to(size).freeze();
    if crc32c::crc32c(&chunk) != u32::from_be_bytes(crc) {
        bail!("a chunk does not match its checksum");
    }
    Ok(Some(chunk))
}

/// Makes the new state safe before anybody sees it.
async fn write(core: &Rc<RefCell<Core>>, tree: &mut Tree, zxid: Zxid) -> anyhow::Result<()> {
    if !core.borrow().snapshots.begin(zxid.0, Vec::new()) {
        bail!("another snapshot is being written");
    }
    let failures_before = core.borrow().member.service.metrics().snapshot_error_count;
    tree.begin_snapshot();
    while tree.snapshot_in_progress() {
        tree.advance_snapshot(limits::SNAPSHOT_SLICE_NODES as u32);
        while let Some(mut chunk) = tree.next_snapshot_chunk() {
            loop {
                let kept = core.borrow().snapshots.chunk(chunk);
                match kept {
                    Ok(()) => break,
                    Err(kept) => chunk = kept,
                }
                tokio::time::sleep(WALK_PAUSE).await;
            }
        }
    }
    core.borrow().snapshots.finish(Vec::new());
    let written = |core: &Core| core.last_snapshot.is_some_and(|(at, _)| at == zxid);
    let over = wait_for(core, Duration::from_secs(600), |core| {
        written(core) || core.member.service.metrics().snapshot_error_count > failures_before
    });
    over.await;
    if !written(&core.borrow()) {
        bail!("the new state could not be written");
    }
    Ok(())
}

/// Waits until something holds; false if it does not in time.
async fn wait_for(core: &Rc<RefCell<Core>>, patience: Duration, holds: impl Fn(&Core) -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if holds(&core.borrow()) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_checked_before_they_are_believed() {
        let framed = |content: &[u8], crc: u32| {
            let mut bytes = BytesMut::from(&(content.len() as u32).to_be_bytes()[..]);
            bytes.extend_from_slice(&crc.to_be_bytes());
            bytes.extend_from_slice(content);
            bytes
        };
        let good = framed(b"abc", crc32c::crc32c(b"abc"));
        assert_eq!(next_chunk(&mut good.clone()).unwrap().unwrap(), &b"abc"[..]);
        assert!(next_chunk(&mut BytesMut::from(&good[..good.len() - 1])).unwrap().is_none());
        assert!(next_chunk(&mut framed(b"abc", 1)).is_err());
        assert!(next_chunk(&mut BytesMut::from(&[0xff; 8][..])).is_err());
    }
}
