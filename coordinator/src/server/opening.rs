//! From a data directory to a core that can serve.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Read;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use bytes::Bytes;
use client::wire::zk::Zxid;
use hashbrown::HashMap;
use tokio::sync::Notify;

use super::core::{Core, Mailbox, SnapshotSchedule, now};
use super::disk_work::{DiskWork, logged};
use super::members_file::MembersFile;
use crate::config::{Config, EnsembleConfig};
use crate::limits;
use crate::logging::Complaints;
use crate::member::{KnownMembers, Member, membership};
use crate::request::{Service, Settings};
use crate::store::{
    self, CourierHandle, Disk, Log, LogHandle, LogOptions, LogReader, RealDisk, Recovery, RecoveryReport,
    Retention, SnapshotHandle, SnapshotReader, StoreError, salvage,
};
use crate::tree::Tree;
use crate::tree::command::FEATURE_LEVEL;
use crate::tree::snapshot::Loader;
use crate::zab::{self, Entry, MemberId, Membership, Persistent, Replica, Standing, Timing};

/// Opens the data directory and rebuilds the tree.
pub(super) fn open(config: &Config, started: Instant, stop: Rc<Notify>) -> anyhow::Result<Rc<RefCell<Core>>> {
    let storage = &config.storage;
    let data_disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&storage.data_dir)?);
    let log_disk: Arc<dyn Disk> = match storage.log_dir == storage.data_dir {
        true => Arc::clone(&data_disk),
        false => Arc::new(RealDisk::open(&storage.log_dir)?),
    };
    let options = LogOptions {
        segment_bytes_max: storage.segment_bytes_max.unwrap_or(LogOptions::default().segment_bytes_max),
        growth_bytes_max: storage.preallocate_bytes,
        sync: storage.force_sync,
        ..LogOptions::default()
    };
    let seed = random_seed()?;
    let hash_seed = u64::from_le_bytes(*seed.first_chunk().expect("a seed has 32 bytes"));
    let Recovered { tree, before, recent, log, report } = match &config.ensemble {
        Some(ensemble) if ensemble.membership.members.len() > 1 => {
            recover_or_salvage(&log_disk, &data_disk, &options, hash_seed)?
        }
        _ => recover(&log_disk, &data_disk, &options, hash_seed)?,
    };
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(bytes) = report.torn_bytes {
        tracing::warn!(
            bytes,
            "a crash left an unfinished batch at the end of the log; nobody was told it was done"
        );
    }
    tracing::info!(
        zxid = %tree.zxid(),
        znodes = tree.node_count(),
        sessions = tree.sessions().count(),
        snapshot = report.snapshot_zxid.map(|zxid| Zxid(zxid).to_string()),
        records = report.records,
        milliseconds = started.elapsed().as_millis() as u64,
        "data read"
    );

    let mailbox = Arc::new(Mailbox::default());
    let to_core = Arc::clone(&mailbox);
    let log = LogHandle::spawn(log, move |event| Mailbox::put(&to_core.log, &to_core.log_wake, event))?;
    let to_core = Arc::clone(&mailbox);
    let courier = CourierHandle::spawn(Arc::clone(&log_disk), Arc::clone(&data_disk), move |event| {
        Mailbox::put(&to_core.couriers, &to_core.courier_wake, event);
    })?;
    let log_permille = config.ensemble.as_ref().and_then(|ensemble| ensemble.log_permille);
    let disk = DiskWork::new(log, courier, Arc::clone(&log_disk), Arc::clone(&data_disk), log_permille);
    let to_core = Arc::clone(&mailbox);
    let retention = storage
        .retain_snapshots
        .map(|count| Retention::new(log_disk, Arc::clone(&data_disk), count as usize));
    let snapshots = SnapshotHandle::spawn(data_disk, retention, move |event| {
        Mailbox::put(&to_core.snapshots, &to_core.snapshot_wake, event);
    })?;

    let settings = Settings {
        server_id: config.server_id,
        session: config.session.clone(),
        limits: config.limits.clone(),
        tree: config.tree.clone(),
        auth: config.auth.clone(),
        reconfig_enabled: config.reconfig_enabled,
        read_only_mode: config.read_only_mode,
        leader_serves: config.ensemble.as_ref().is_none_or(|ensemble| ensemble.leader_serves),
        members_text: config.ensemble.as_ref().map(|ensemble| ensemble.membership.text()),
    };
    let mut service = Service::new(settings, tree, seed, now(started));
    service.metrics_mut().dbinittime.record(started.elapsed());
    service.metrics_mut().startup_txns_loaded.record_count(report.records);
    service.metrics_mut().looking_count = config.ensemble.is_some().into();
    let own = MemberId(config.server_id);
    let (replica_settings, members_at, next) = match &config.ensemble {
        // Nobody is ever behind a server that is alone.
        None => {
            let settings = zab::Settings::new(own, Membership::of_voters([own]));
            (zab::Settings { window_entries: 0, window_bytes: 0, ..settings }, Zxid::ZERO, None)
        }
        Some(ensemble) => {
            let (configured, tree) = (&ensemble.membership, service.tree());
            let (reached, allowed) = (tree.feature_level(), ensemble.feature_level_max);
            if reached > allowed {
                bail!(
                    "rookery.featureLevelMax is {allowed}, but the ensemble has reached feature level {reached} and never \
                     goes back; allowed are {reached} to {FEATURE_LEVEL}"
                );
            }
            // What clients decided is later than what files say.
            let known = KnownMembers::of(tree, tree.zxid())
                .filter(|_| config.reconfig_enabled && tree.members().version >= configured.version)
                .unwrap_or_else(|| KnownMembers::unchanged(membership(configured)));
            (replica_settings(ensemble, known.membership), known.at, known.next)
        }
    };
    let members_file = config.ensemble.as_ref().and_then(|ensemble| {
        let file = MembersFile::new(ensemble.members_file.as_deref()?, ensemble.membership.version);
        if next.is_none() && config.reconfig_enabled {
            // The server may have stopped before it wrote this down.
            file.keep(service.tree().members().version, service.tree().members_text());
        }
        Some(file)
    });
    let store::Epochs { accepted, current, complete } = report.epochs;
    let persistent =
        Persistent { epochs: zab::Epochs { accepted, current, complete }, before, recent, members_at, next };
    let replica = Replica::new(replica_settings, persistent, hash_seed, now(started).monotonic_us);
    Ok(Rc::new(RefCell::new(Core {
        member: Member::new(service, replica),
        effects: Vec::new(),
        disk,
        snapshots,
        peers: None,
        members_file,
        late: Vec::new(),
        diverged: None,
        hash_seed,
        pump_due: false,
        pump_wake: Rc::new(Notify::new()),
        wakes: HashMap::default(),
        told: Standing::Looking,
        standing_since: started,
        next_connection: 1,
        started,
        schedule: SnapshotSchedule {
            commands: storage.snap_count,
            bytes: storage.snap_size_limit_bytes.unwrap_or(u64::MAX),
            commands_since: report.records,
            bytes_since: 0,
            failed_at: None,
        },
        snapshot_wake: Rc::new(Notify::new()),
        mailbox,
        memory_bytes_max: config.limits.memory_bytes_max,
        sync_warning: storage.sync_warning,
        last_snapshot: None,
        snapshot_began: None,
        complaints: Complaints::new(limits::COMPLAINTS_PER_SECOND_MAX),
        slow_operation: config.limits.slow_operation,
        streaming: false,
        gate: None,
        rotated: Instant::now(),
        audit: None,
        fatal: None,
        stop,
    })))
}

fn replica_settings(ensemble: &EnsembleConfig, members: Membership) -> zab::Settings {
    let settings = zab::Settings::new(MemberId(ensemble.my_id), members);
    zab::Settings {
        timing: Timing {
            ping_us: ensemble.ping.as_micros() as u64,
            silence_us: ensemble.leader_silence.as_micros() as u64,
            init_us: ensemble.init_limit.as_micros() as u64,
            ..settings.timing
        },
        window_entries: settings.window_entries.max(ensemble.recent_entries_max as usize),
        level: ensemble.feature_level_max,
        ..settings
    }
}

/// Records at the end of the log that are kept in memory, for members that are a little behind.
const RECENT_RECORDS: usize = 4096;
const RECENT_BYTES: usize = 4 << 20;

/// What was found on disk.
struct Recovered {
    tree: Tree,
    /// The zxid before the first of `recent`.
    before: Zxid,
    /// The end of the log.
    recent: Vec<Entry>,
    log: Log,
    report: RecoveryReport,
}

/// How often damage is put aside before a start is given up.
const SALVAGES_MAX: usize = 8;

/// What is damaged is put aside: the others have it. This member has no voice until it got everything from them.
fn recover_or_salvage(
    log_disk: &Arc<dyn Disk>,
    snapshot_disk: &Arc<dyn Disk>,
    options: &LogOptions,
    hash_seed: u64,
) -> anyhow::Result<Recovered> {
    for _ in 0..SALVAGES_MAX {
        let error = match recover(log_disk, snapshot_disk, options, hash_seed) {
            Ok(recovered) => return Ok(recovered),
            Err(error) => error,
        };
        match error.downcast_ref::<StoreError>() {
            Some(damage @ StoreError::Damaged { .. }) => {
                let salvaged = salvage(log_disk, snapshot_disk, damage)?;
                tracing::error!(%salvaged, "data is damaged; what is missing is fetched from the other members");
            }
            _ => return Err(error),
        }
    }
    recover(log_disk, snapshot_disk, options, hash_seed)
}

/// The newest snapshot, and every command after it executed again; then the end of the log.
fn recover(
    log_disk: &Arc<dyn Disk>,
    snapshot_disk: &Arc<dyn Disk>,
    options: &LogOptions,
    hash_seed: u64,
) -> anyhow::Result<Recovered> {
    let mut recovery = Recovery::open(Arc::clone(log_disk), Arc::clone(snapshot_disk), options.clone())?;
    let mut tree = load(recovery.snapshot(), hash_seed)?;
    let mut before = tree.zxid();
    let (mut recent, mut recent_bytes) = (VecDeque::new(), 0);
    while let Some((zxid, bytes)) = recovery.next_record()? {
        execute(&mut tree, zxid, &bytes)?;
        // Who the members are from here on, if this command changed that.
        let changed = tree.members().version == zxid;
        let entry = logged(zxid, bytes, changed.then(|| tree.members_text()));
        recent_bytes += entry.size();
        recent.push_back(entry);
        while recent.len() > RECENT_RECORDS || recent_bytes > RECENT_BYTES {
            let Some(oldest) = recent.pop_front() else { break };
            recent_bytes -= oldest.size();
            before = oldest.zxid;
        }
    }
    let (log, report) = recovery.finish()?;
    Ok(Recovered { tree, before, recent: recent.into(), log, report })
}

/// A snapshot and the records after it.
pub(super) fn rebuild(
    mut snapshot: Option<SnapshotReader>,
    records: Option<LogReader>,
    hash_seed: u64,
) -> anyhow::Result<Tree> {
    let mut tree = load(snapshot.as_mut(), hash_seed)?;
    let Some(mut records) = records else { return Ok(tree) };
    while let Some((zxid, bytes)) = records.next_record()? {
        execute(&mut tree, zxid, &bytes)?;
    }
    Ok(tree)
}

fn load(snapshot: Option<&mut SnapshotReader>, hash_seed: u64) -> anyhow::Result<Tree> {
    let Some(snapshot) = snapshot else { return Ok(Tree::new(hash_seed)) };
    let zxid = Zxid(snapshot.zxid());
    let unusable = || format!("the snapshot at {zxid} cannot be used");
    let mut loader = Loader::new(hash_seed);
    while let Some(chunk) = snapshot.next_chunk()? {
        loader.chunk(&chunk).with_context(unusable)?;
    }
    let tree = loader.finish().with_context(unusable)?;
    if tree.zxid() != zxid {
        bail!("the snapshot at {zxid} holds the state at {}", tree.zxid());
    }
    Ok(tree)
}

fn execute(tree: &mut Tree, zxid: u64, bytes: &Bytes) -> anyhow::Result<()> {
    tree.execute(Zxid(zxid), bytes, &mut Vec::new())
        .with_context(|| format!("cannot execute the command at {}", Zxid(zxid)))?;
    Ok(())
}

fn random_seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut seed))
        .context("cannot read random bytes from /dev/urandom")?;
    Ok(seed)
}
