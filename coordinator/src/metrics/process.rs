//! What `/proc` says of this process.

/// Figures of the process, read from `/proc`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessView {
    /// Open files.
    pub open_files: u64,
    /// How many files may be open.
    pub open_files_max: u64,
    /// Memory in use.
    pub resident_bytes: u64,
    /// Addresses in use.
    pub virtual_bytes: u64,
    /// Processor time used.
    pub cpu_seconds: f64,
}

impl ProcessView {
    /// Reads the figures of this process; what cannot be read is zero.
    pub fn read() -> ProcessView {
        // Fields of /proc/self/stat behind the name in parentheses, which may hold anything: 12 and 13 are user and system
        // ticks. statm counts pages.
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as u64;
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let cpu_ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let mut pages = statm.split_whitespace().map(|field| field.parse::<u64>().unwrap_or(0));
        ProcessView {
            open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            open_files_max: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .unwrap_or(u64::MAX),
            virtual_bytes: pages.next().unwrap_or(0) * page,
            resident_bytes: pages.next().unwrap_or(0) * page,
            cpu_seconds: cpu_ticks as f64 / ticks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_seen() {
        let process = ProcessView::read();
        assert!(process.open_files > 2 && process.open_files_max >= process.open_files, "{process:?}");
        assert!(
            process.resident_bytes > 100_000 && process.virtual_bytes >= process.resident_bytes,
            "{process:?}"
        );
    }
}
