//! From another server's directory into ours.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use client::wire::zk::{SessionId, Zxid};

use super::{ImportedTree, read};
use crate::store::{Disk, RealDisk, SnapshotWriter, prepare_for_snapshot};
use crate::tree::Tree;
use crate::tree::import::ForeignNode;

/// What `coordinator import` was told.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// ZooKeeper's `dataDir`.
    pub from: PathBuf,
    /// ZooKeeper's `dataLogDir`, if it is another directory.
    pub logs_from: Option<PathBuf>,
    /// Our data directory; it must hold no data yet.
    pub data_dir: PathBuf,
    /// Our `dataLogDir`, if it is another directory; it must hold no data either.
    pub log_dir: Option<PathBuf>,
    /// Read and report, write nothing.
    pub dry_run: bool,
}

/// Reads, checks, writes, and says what was found.
pub fn run(options: &ImportOptions) -> anyhow::Result<()> {
    let imported = read(&options.from, options.logs_from.as_deref())?;
    print_report(&imported);
    if let Some(zxid) = imported.report.digest.first_mismatch {
        bail!(
            "the digests that ZooKeeper wrote do not match what was read, from {} on; nothing was imported",
            Zxid(zxid)
        );
    }
    let mut tree = build(&imported)?;
    if options.dry_run {
        println!("dry run: nothing was written");
        return Ok(());
    }
    let disk = without_data(&options.data_dir)?;
    let log_disk = match &options.log_dir {
        Some(log_dir) if *log_dir != options.data_dir => without_data(log_dir)?,
        _ => Arc::clone(&disk),
    };
    prepare_for_snapshot(&log_disk, &disk)?;
    let zxid = tree.zxid();
    let digest = tree.content_digest();
    let mut writer = SnapshotWriter::create(disk, zxid.0, &[])?;
    tree.begin_snapshot();
    loop {
        tree.advance_snapshot(4096);
        while let Some(chunk) = tree.next_snapshot_chunk() {
            writer.chunk(&chunk)?;
        }
        if !tree.snapshot_in_progress() {
            break;
        }
    }
    writer.finish(&[])?;
    println!("imported into:   {} (content digest {digest:016x})", options.data_dir.display());
    let logs = options.log_dir.as_ref().map(|dir| format!(" --dataLogDir {}", dir.display()));
    println!(
        "next:            coordinator --dataDir {}{}",
        options.data_dir.display(),
        logs.unwrap_or_default()
    );
    Ok(())
}

/// One of our directories, which must be empty of data.
fn without_data(path: &Path) -> anyhow::Result<Arc<dyn Disk>> {
    let disk = RealDisk::open(path)?;
    let names = disk.list().with_context(|| format!("cannot list {}", path.display()))?;
    if let Some(name) = names.iter().find(|name| name.starts_with("log.") || name.starts_with("snapshot.")) {
        bail!("{} already holds data ({name}); choose an empty directory", path.display());
    }
    Ok(Arc::new(disk))
}

fn build(imported: &ImportedTree) -> anyhow::Result<Tree> {
    let sessions =
        imported.sessions.iter().map(|(id, timeout_ms)| (SessionId(*id), (*timeout_ms).max(0) as u32));
    let nodes = imported.nodes.iter().map(|(path, node)| ForeignNode {
        path: if path.is_empty() { "/" } else { path },
        data: node.data.as_deref(),
        acl: &node.acl,
        zxids: [node.stat.czxid, node.stat.mzxid, node.stat.pzxid],
        times: [node.stat.ctime, node.stat.mtime],
        owner: node.stat.ephemeral_owner,
        versions: [node.stat.version, node.stat.aversion, node.stat.cversion],
    });
    Ok(Tree::import(0, Zxid(imported.last_zxid), sessions, nodes)?)
}

fn print_report(imported: &ImportedTree) {
    let report = &imported.report;
    match &report.snapshot {
        Some(snapshot) => println!("snapshot:        {}", snapshot.display()),
        None => println!("snapshot:        none; everything from the transaction log"),
    }
    println!("transactions:    {} after it", report.transactions);
    println!("znodes:          {} ({} ephemeral)", report.nodes, report.ephemerals);
    println!("data:            {} bytes", report.data_bytes);
    println!("sessions:        {}", report.sessions);
    println!("last zxid:       {}", Zxid(imported.last_zxid));
    match report.digest.compared {
        0 => println!("digest:          ZooKeeper wrote none to compare with"),
        compared => println!("digest:          compared at {compared} places"),
    }
    if report.orphans > 0 {
        println!("left out:        {} ephemeral znodes whose session had ended", report.orphans);
    }
    for warning in &report.warnings {
        println!("warning:         {warning}");
    }
}
