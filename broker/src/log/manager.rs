//! All logs of a broker, in all its data directories.
//!
//! A directory that fails takes its partitions offline and nobody else's; what is wrong with a single partition keeps
//! only that one away. How they are found at a start is in `loading`; what comes round from time to time, in `upkeep`
//! and `cleaning`; how they change their directory, in `moving`.

mod cleaning;
mod loading;
mod moving;
mod upkeep;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;

use super::checkpoint::{self, MetaProperties};
use super::config::TopicConfig;
use super::disk::Folder;
use super::error::LogError;
use super::log_dir::LogDir;
use super::partition_log::{PartitionLog, TopicPartition};
use super::shared_log::SharedLog;
use cleaning::Cleaning;
use moving::Moves;
use upkeep::LastTimes;

pub use cleaning::CleanerReport;
pub use moving::MoveError;

/// What the name of a directory ends in that waits to be removed.
const DELETE_SUFFIX: &str = "-delete";
/// The longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;

/// How often things are done, in milliseconds; Kafka's defaults.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    pub retention_ms: i64,
    pub recovery_point_ms: i64,
    pub log_start_ms: i64,
    pub high_watermark_ms: i64,
    pub producer_expiration_check_ms: i64,
    /// After this long without a word, a producer is forgotten.
    pub producer_id_expiration_ms: i64,
}

impl Default for Intervals {
    fn default() -> Intervals {
        Intervals {
            retention_ms: 300_000,
            recovery_point_ms: 60_000,
            log_start_ms: 60_000,
            high_watermark_ms: 5000,
            producer_expiration_check_ms: 600_000,
            producer_id_expiration_ms: 86_400_000,
        }
    }
}

/// A partition that could not be opened, and why.
#[derive(Debug)]
pub struct Refused {
    pub dir: PathBuf,
    pub error: LogError,
}

/// A directory that was renamed and waits to be removed.
#[derive(Debug)]
struct Doomed {
    dir: Arc<LogDir>,
    name: String,
    due_ms: i64,
}

/// See the top of this file.
#[derive(Debug)]
pub struct LogManager {
    dirs: Vec<Arc<LogDir>>,
    logs: RwLock<BTreeMap<TopicPartition, Arc<SharedLog>>>,
    refused: Mutex<BTreeMap<TopicPartition, Refused>>,
    doomed: Mutex<Vec<Doomed>>,
    cleaning: Mutex<Cleaning>,
    moves: Mutex<Moves>,
    /// Where partitions are to be made that are not here yet.
    preferred: Mutex<BTreeMap<TopicPartition, Arc<LogDir>>>,
    deletions: AtomicU64,
    intervals: Intervals,
    last: LastTimes,
    /// Held while checkpoints are written, so that none that was begun earlier is written later.
    checkpoints: Mutex<()>,
}

/// What a topic's settings are.
pub type ConfigOf<'a> = &'a (dyn Fn(&str) -> Arc<TopicConfig> + Sync);

impl LogManager {
    /// Opens all logs in all directories, with so many threads for each. Fails only if no directory can be used.
    pub fn open(
        dirs: Vec<LogDir>,
        config_of: ConfigOf<'_>,
        threads_per_dir: usize,
        intervals: Intervals,
        now_ms: i64,
    ) -> Result<LogManager, LogError> {
        let manager = LogManager {
            dirs: dirs.into_iter().map(Arc::new).collect(),
            logs: RwLock::default(),
            refused: Mutex::default(),
            doomed: Mutex::default(),
            cleaning: Mutex::default(),
            moves: Mutex::default(),
            preferred: Mutex::default(),
            deletions: AtomicU64::new(0),
            intervals,
            last: LastTimes::default(),
            checkpoints: Mutex::default(),
        };
        let copies = manager.find_copies(now_ms);
        thread::scope(|scope| {
            for dir in manager.online() {
                let manager = &manager;
                scope.spawn(move || {
                    if let Err(error) = manager.load_dir(dir, config_of, threads_per_dir, now_ms) {
                        dir.fail(&error);
                    }
                });
            }
        });
        manager.drop_offline();
        manager.resume_moves(copies, now_ms);
        match manager.dirs.iter().find(|dir| dir.failure().is_none()) {
            Some(_) => Ok(manager),
            None => {
                let dir = manager.dirs.first().map(|dir| dir.path().to_path_buf()).unwrap_or_default();
                Err(LogError::Offline { dir })
            }
        }
    }

    fn insert(&self, dir: &Arc<LogDir>, log: PartitionLog) -> Result<Arc<SharedLog>, LogError> {
        let partition = log.partition().clone();
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = logs.get(&partition) {
            let problem = format!("the partition is in {} too", other.dir().path().display());
            return Err(dir.folder.malformed(&partition.to_string(), problem));
        }
        let shared = Arc::new(SharedLog::new(Arc::clone(dir), log));
        logs.insert(partition, Arc::clone(&shared));
        Ok(shared)
    }

    /// The data directories.
    pub fn dirs(&self) -> &[Arc<LogDir>] {
        &self.dirs
    }

    /// Partitions that could not be opened.
    pub fn refused(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who each usable directory belongs to; `None` for a new one.
    pub fn meta_properties(&self) -> Result<Vec<(PathBuf, Option<MetaProperties>)>, LogError> {
        self.online()
            .map(|dir| Ok((dir.path().to_path_buf(), checkpoint::read_meta_properties(&dir.folder)?)))
            .collect()
    }

    /// Writes down who the directories belong to, where that is not written yet.
    pub fn claim(&self, meta: &MetaProperties) -> Result<(), LogError> {
        for dir in self.online() {
            let known = checkpoint::read_meta_properties(&dir.folder)?;
            let directory_id = known.as_ref().and_then(|known| known.directory_id.clone());
            let wanted = MetaProperties { directory_id, ..meta.clone() };
            if known.as_ref() != Some(&wanted) {
                checkpoint::write_meta_properties(&dir.folder, &wanted)?;
            }
        }
        Ok(())
    }

    fn online(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.dirs.iter().filter(|dir| dir.failure().is_none())
    }

    /// The partition's log, unless it has none here or its directory failed.
    pub fn get(&self, partition: &TopicPartition) -> Option<Arc<SharedLog>> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.get(partition).filter(|log| log.dir().failure().is_none()).cloned()
    }

    /// All logs, by partition.
    pub fn logs(&self) -> Vec<(TopicPartition, Arc<SharedLog>)> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.iter().map(|(partition, log)| (partition.clone(), Arc::clone(log))).collect()
    }

    /// The partition's log, made if there is none, in the usable directory with the fewest.
    pub fn get_or_create(
        &self,
        partition: &TopicPartition,
        config: Arc<TopicConfig>,
        now_ms: i64,
    ) -> Result<Arc<SharedLog>, LogError> {
        if let Some(log) = self.get(partition) {
            return Ok(log);
        }
        if let Some(refused) = self.refused().get(partition) {
            let (file, problem) = (refused.dir.join(partition.to_string()), refused.error.to_string());
            return Err(LogError::Malformed { file, problem });
        }
        let preferred = self.preferred().remove(partition).filter(|dir| dir.failure().is_none());
        let dir = match preferred {
            Some(dir) => dir,
            None => Arc::clone(self.emptiest_dir()?),
        };
        let name = partition.to_string();
        let folder = Folder::new(Arc::clone(dir.folder.disk()), &name);
        let create = || {
            self.forget_former(&dir, partition)?;
            dir.folder.disk().create_dir(&name).map_err(dir.folder.failed("create directory", &name))?;
            PartitionLog::create(folder, partition.clone(), config, now_ms)
        };
        let log: PartitionLog = create().inspect_err(|error: &LogError| {
            if !error.is_full() {
                dir.fail(error);
            }
        })?;
        match self.insert(&dir, log) {
            Ok(log) => Ok(log),
            // Somebody else made it meanwhile.
            Err(error) => self.get(partition).ok_or(error),
        }
    }

    fn emptiest_dir(&self) -> Result<&Arc<LogDir>, LogError> {
        let online: Vec<&Arc<LogDir>> = self.online().collect();
        if let [only] = online[..] {
            return Ok(only);
        }
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        let load = |dir: &Arc<LogDir>| logs.values().filter(|log| Arc::ptr_eq(&log.dir(), dir)).count();
        let dir = online.into_iter().min_by_key(|dir| load(dir));
        dir.ok_or_else(|| LogError::Offline { dir: self.dirs[0].path().to_path_buf() })
    }

    /// Gives a partition up: at once for everybody who asks, on disk after the topic's delay.
    pub fn delete(&self, partition: &TopicPartition, now_ms: i64) -> Result<(), LogError> {
        self.stop_moving(partition, now_ms);
        let removed = {
            let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
            logs.remove(partition)
        };
        let Some(shared) = removed else { return Ok(()) };
        let number = self.deletions.fetch_add(1, Ordering::Relaxed);
        let name = doomed_name(partition, now_ms, number);
        let log = shared.lock()?;
        let dir = shared.dir();
        dir.outdated().insert(partition.clone());
        let folder = &dir.folder;
        let delay_ms = log.config().file_delete_delay_ms;
        folder.rename(&partition.to_string(), &name).inspect_err(|error| shared.note(error))?;
        shared.is_deleted.store(true, Ordering::Release);
        drop(log);
        folder.sync().inspect_err(|error| dir.fail(error))?;
        dir.set_cleaned_to(partition, None)?;
        self.cleaning().failed.remove(partition);
        let due_ms = now_ms.saturating_add(delay_ms);
        self.doom(Doomed { dir, name, due_ms });
        Ok(())
    }

    fn doom(&self, doomed: Doomed) {
        self.doomed.lock().unwrap_or_else(PoisonError::into_inner).push(doomed);
    }
}

/// The name of a partition's directory while it waits to be removed: one that no other directory has or had.
fn doomed_name(partition: &TopicPartition, now_ms: i64, number: u64) -> String {
    let tail = format!("-{}.{now_ms:016x}{number:016x}{DELETE_SUFFIX}", partition.partition);
    let topic: String = partition.topic.chars().take(NAME_BYTES_MAX - tail.len()).collect();
    topic + &tail
}

#[cfg(test)]
mod tests;
