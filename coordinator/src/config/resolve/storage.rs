//! Where data is kept, and how long.

use super::*;

impl Reader<'_> {
    pub(super) fn storage(&mut self) -> StorageConfig {
        let data_dir = PathBuf::from(self.text("dataDir").unwrap_or("./rookery-data/coordinator"));
        let log_dir = self.text("dataLogDir").map_or_else(|| data_dir.clone(), PathBuf::from);
        let kib = |number: i64| number as u64 * 1024;
        let most = 1 << 40;
        let retain = self.number("autopurge.snapRetainCount", limits::SNAPSHOTS_RETAINED_MIN, 1..=1_000_000);
        if retain < limits::SNAPSHOTS_RETAINED_MIN {
            self.warnings.push(format!(
                "autopurge.snapRetainCount={retain} is raised to {}, the least that is safe",
                limits::SNAPSHOTS_RETAINED_MIN
            ));
        }
        let purge = self.purge_interval();
        let storage = StorageConfig {
            data_dir,
            log_dir,
            create_dirs: self.flag("datadir.autocreate", true),
            snap_count: self.number("snapCount", 100_000, 2..=i64::from(i32::MAX)),
            snap_size_limit_bytes: match self.number_or_none("snapSizeLimitInKb", -1..=most) {
                None => Some(4 << 30),
                Some(limit) => (limit > 0).then_some(kib(limit)),
            },
            segment_bytes_max: self
                .number_or_none("txnLogSizeLimitInKb", -1..=most)
                .filter(|&n| n > 0)
                .map(kib),
            preallocate_bytes: kib(self.number("preAllocSize", 65_536, 64..=1 << 22)),
            force_sync: self.flag("forceSync", true),
            sync_warning: self.millis("fsync.warningthresholdms", 1000, 0..=3_600_000),
            batch_commands_max: match self.number(
                "maxBatchSize",
                0,
                0..=limits::LOG_QUEUE_COMMANDS_MAX as i64,
            ) {
                0 => limits::LOG_BATCH_COMMANDS_DEFAULT,
                count => count,
            },
            retain_snapshots: purge.then_some(retain.max(limits::SNAPSHOTS_RETAINED_MIN)),
            trust_empty_snapshot: self.flag("snapshot.trust.empty", false),
        };
        if !storage.force_sync {
            self.warnings
                .push("forceSync=no: acknowledged writes can be lost when the machine fails".to_owned());
        }
        storage
    }

    /// Purging follows every snapshot, so of the interval only "never" matters. 3.10 allows a unit behind the number.
    pub(super) fn purge_interval(&mut self) -> bool {
        let key = "autopurge.purgeInterval";
        let Some(text) = self.text(key) else { return true };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        match (digits.trim().parse::<i64>(), text[digits.len()..].to_ascii_lowercase().as_str()) {
            (Ok(number), "" | "ms" | "s" | "m" | "h" | "d") => {
                if number > 0 {
                    return true;
                }
                self.warnings.push(format!("{key}={text}: snapshots and logs are never deleted"));
                false
            }
            _ => {
                self.wrong(
                    key,
                    "must be a whole number of hours, or a number followed by ms, s, m, h or d; 0 = never",
                );
                true
            }
        }
    }
}
