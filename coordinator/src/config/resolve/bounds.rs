//! How much of everything there may be.

use super::*;

impl Reader<'_> {
    /// Bytes with an optional unit, or a share of the machine's memory.
    pub(super) fn memory(&mut self, key: &str, total: u64) -> u64 {
        let default = total / 4 * 3;
        let Some(text) = self.text(key) else { return default };
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = text[digits.len()..].trim().to_ascii_lowercase();
        let bytes = digits.parse::<u64>().ok().and_then(|number| match unit.as_str() {
            "" | "b" => Some(number),
            "k" | "kb" | "kib" => number.checked_mul(1 << 10),
            "m" | "mb" | "mib" => number.checked_mul(1 << 20),
            "g" | "gb" | "gib" => number.checked_mul(1 << 30),
            "%" if (1..=100).contains(&number) => Some((u128::from(total) * u128::from(number) / 100) as u64),
            _ => None,
        });
        match bytes {
            Some(bytes) if bytes >= 16 << 20 => bytes,
            _ => {
                self.wrong(key, "must be at least 16 MiB, written as bytes, 512MiB, 4GiB or 75%");
                default
            }
        }
    }

    pub(super) fn limits(&mut self) -> LimitsConfig {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let by_files =
            files.saturating_sub(limits::FILES_RESERVED).clamp(1, u64::from(limits::CONNECTIONS_MAX)) as u32;
        let connections = self.number("maxCnxns", 0u32, 0..=i64::from(limits::CONNECTIONS_MAX));
        if connections > by_files {
            self.warnings.push(format!(
                "maxCnxns={connections} is more than the {by_files} that this process may open files for (see ulimit -n)"
            ));
        }
        let count = i64::from(i32::MAX);
        // Java accepts this one in hexadecimal, as its own documentation writes the default.
        let frame = match self.text("jute.maxbuffer").and_then(|text| text.strip_prefix("0x")) {
            Some(hex) => i64::from_str_radix(hex, 16)
                .ok()
                .filter(|n| (1024..=limits::FRAME_BYTES_CEILING as i64).contains(n)),
            None => None,
        };
        let frame_bytes_max = match frame {
            Some(bytes) => bytes as usize,
            None => self.number(
                "jute.maxbuffer",
                limits::FRAME_BYTES_DEFAULT,
                1024..=limits::FRAME_BYTES_CEILING as i64,
            ),
        };
        let outstanding_max = self.number(
            "globalOutstandingLimit",
            limits::OUTSTANDING_DEFAULT,
            1..=i64::from(limits::OUTSTANDING_CEILING),
        );
        let slow = self.number("rookery.slowOperationMs", 1000u64, 0..=3_600_000);
        LimitsConfig {
            frame_bytes_max,
            connections_per_address: match self.number(
                "maxClientCnxns",
                limits::CONNECTIONS_PER_ADDRESS_DEFAULT,
                0..=count,
            ) {
                0 => None,
                limit => Some(limit),
            },
            connections_max: if connections == 0 { by_files } else { connections },
            outstanding_max,
            outstanding_per_connection_max: self.number(
                "rookery.maxOutstandingPerConnection",
                limits::OUTSTANDING_PER_CONNECTION_DEFAULT.min(outstanding_max),
                1..=i64::from(limits::OUTSTANDING_CEILING),
            ),
            large_request_threshold: self
                .number_or_none("largeRequestThreshold", -1..=count)
                .filter(|&bytes| bytes > 0)
                .map(|bytes| bytes as usize),
            large_request_bytes_max: self.number(
                "largeRequestMaxBytes",
                limits::LARGE_REQUEST_BYTES_DEFAULT,
                1..=1 << 40,
            ),
            memory_bytes_max: self.memory("rookery.memoryLimit", machine_memory()),
            sessions_max: self.number("rookery.maxSessions", limits::SESSIONS_DEFAULT, 1..=count),
            watches_max: self.number("rookery.maxWatches", limits::WATCHES_DEFAULT, 1..=count),
            watches_per_connection_max: self.number(
                "rookery.maxWatchesPerConnection",
                limits::WATCHES_PER_CONNECTION_DEFAULT,
                1..=count,
            ),
            slow_operation: (slow > 0).then(|| Duration::from_millis(slow)),
        }
    }
}

/// The memory of the machine, or of the container if it has less.
fn machine_memory() -> u64 {
    let read =
        |path: &str| read_bounded(Path::new(path)).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
    });
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| read(path)?.trim().parse::<u64>().ok())
        .min();
    // Where neither can be read, a size that any machine has.
    machine.into_iter().chain(container).min().unwrap_or(1 << 30)
}
