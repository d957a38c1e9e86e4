//! The server's log: text on a terminal, one JSON object per line otherwise, with a level that can change at run time.

use crate::config::{LogConfig, LogFormat};
use std::fmt;
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Changes what is logged while the server runs.
#[derive(Clone)]
pub struct LevelSwitch(reload::Handle<EnvFilter, Registry>);

impl fmt::Debug for LevelSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LevelSwitch")
    }
}

impl LevelSwitch {
    /// Sets a level (`debug`) or a filter by module (`coordinator::store=trace,info`).
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let filter = parse(filter)?;
        self.0.reload(filter).map_err(|error| error.to_string())
    }

    /// The filter in force.
    pub fn get(&self) -> String {
        self.0.with_current(|filter| filter.to_string()).unwrap_or_default()
    }
}

/// The switch of the process's log: the log is one per process, so its switch is too.
static SWITCH: OnceLock<LevelSwitch> = OnceLock::new();

/// Starts logging to standard error. Once per process; a second call is an error and changes nothing.
pub fn start(config: &LogConfig) -> Result<(), String> {
    let (switch, subscriber) = subscriber(config, std::io::stderr, std::io::stderr().is_terminal())?;
    subscriber.try_init().map_err(|error| error.to_string())?;
    let _ = SWITCH.set(switch);
    Ok(())
}

/// Changes the process's log; absent where [`start`] was never called, as in tests.
pub fn level_switch() -> Option<&'static LevelSwitch> {
    SWITCH.get()
}

type BoxedSubscriber = Box<dyn tracing::Subscriber + Send + Sync>;

fn subscriber<W>(
    config: &LogConfig,
    writer: W,
    terminal: bool,
) -> Result<(LevelSwitch, BoxedSubscriber), String>
where
    W: for<'w> tracing_subscriber::fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse(&config.filter)?);
    let format = config.format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let registry = tracing_subscriber::registry().with(filter);
    let subscriber: BoxedSubscriber = match format {
        LogFormat::Text => Box::new(registry.with(lines.with_ansi(terminal).with_target(false))),
        LogFormat::Json => Box::new(registry.with(lines.json().flatten_event(true))),
    };
    Ok((LevelSwitch(handle), subscriber))
}

/// Says what is wrong with a filter, without using it.
pub fn check_filter(filter: &str) -> Result<(), String> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    // The library reads an unknown word as a module name and would then log nothing at all.
    let word = filter.trim();
    let plain = word.chars().all(|c| c.is_ascii_alphabetic());
    if plain
        && !["off", "error", "warn", "info", "debug", "trace"].contains(&word.to_ascii_lowercase().as_str())
    {
        return Err(format!("\"{word}\" is not a level"));
    }
    EnvFilter::try_new(word).map_err(|error| error.to_string())
}

/// Lets through so many complaints per second and counts the rest, so that bad input cannot flood the log.
#[derive(Debug)]
pub struct Complaints {
    per_second_max: u32,
    second: Option<Instant>,
    count: u32,
    withheld: u64,
}

impl Complaints {
    /// A limiter that lets `per_second_max` complaints through.
    pub const fn new(per_second_max: u32) -> Complaints {
        Complaints { per_second_max, second: None, count: 0, withheld: 0 }
    }

    /// `Some(withheld)` when a complaint may be logged now: how many were withheld since the last one that was.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.second.is_none_or(|start| now.saturating_duration_since(start) >= Duration::from_secs(1)) {
            self.second = Some(now);
            self.count = 0;
        }
        if self.count == self.per_second_max {
            self.withheld += 1;
            return None;
        }
        self.count += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

/// When an operation passed the stages of a write; a read only has the first and the last.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    /// The whole frame was read.
    pub received: Instant,
    /// It became a command with a zxid.
    pub proposed: Option<Instant>,
    /// The log has it on the disk.
    pub durable: Option<Instant>,
    /// The tree has executed it.
    pub executed: Option<Instant>,
    /// The reply was handed to the socket.
    pub answered: Instant,
}

impl Stages {
    /// From the whole frame to the reply.
    pub fn total(&self) -> Duration {
        self.answered.saturating_duration_since(self.received)
    }
}

/// Each stage with the time it took: `proposed +0.1ms durable +812.0ms executed +0.0ms answered +0.0ms`.
impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages = [("proposed", self.proposed), ("durable", self.durable), ("executed", self.executed)];
        let mut previous = self.received;
        let passed = stages.into_iter().filter_map(|(name, at)| Some((name, at?)));
        for (index, (name, at)) in passed.chain([("answered", self.answered)]).enumerate() {
            let millis = at.saturating_duration_since(previous).as_secs_f64() * 1000.0;
            write!(f, "{}{name} +{millis:.1}ms", if index == 0 { "" } else { " " })?;
            previous = at;
        }
        Ok(())
    }
}

/// Logs an operation that took longer than `threshold`, if the limiter lets it. Returns whether it was slow.
pub fn slow_operation(
    threshold: Option<Duration>,
    complaints: &mut Complaints,
    stages: &Stages,
    session: i64,
    operation: &str,
    path: &str,
) -> bool {
    let total = stages.total();
    if threshold.is_none_or(|threshold| total < threshold) {
        return false;
    }
    if let Some(withheld) = complaints.admit(stages.answered) {
        let session = format_args!("0x{session:x}");
        tracing::warn!(operation, path, %session, total_ms = total.as_millis() as u64, %stages, withheld, "slow operation");
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn logged(format: Option<LogFormat>, terminal: bool, act: impl FnOnce(&LevelSwitch)) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let config = LogConfig { filter: "info".to_owned(), format };
        let (switch, subscriber) = subscriber(&config, move || writer.clone(), terminal).unwrap();
        tracing::subscriber::with_default(subscriber, || act(&switch));
        lines.text()
    }

    #[test]
    fn json_when_nobody_reads_along() {
        let text = logged(None, false, |_| tracing::info!(zxid = 7, "hello"));
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(
            (&line["message"], &line["zxid"], &line["level"]),
            (&"hello".into(), &7.into(), &"INFO".into())
        );
        let text = logged(Some(LogFormat::Text), false, |_| tracing::info!(zxid = 7, "hello"));
        assert!(text.contains("INFO hello zxid=7"), "{text}");
    }

    #[test]
    fn the_level_changes_at_run_time() {
        let text = logged(Some(LogFormat::Text), false, |switch| {
            tracing::debug!("before");
            switch.set("debug").unwrap();
            tracing::debug!("after");
            assert!(switch.set("loud").is_err());
            assert_eq!(switch.get(), "debug");
        });
        assert!(!text.contains("before") && text.contains("after"), "{text}");
    }

    #[test]
    fn filters_are_checked() {
        for good in ["info", "DEBUG", "coordinator::net=debug,warn", "off"] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in ["loud", "a=b=c", "coordinator=noisy"] {
            assert!(check_filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_flood_is_counted_instead_of_logged() {
        let mut complaints = Complaints::new(2);
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let admitted: Vec<_> = [start, start, start, start, later].map(|now| complaints.admit(now)).to_vec();
        assert_eq!(admitted, [Some(0), Some(0), None, None, Some(2)]);
    }

    #[test]
    fn slow_operations_tell_their_stages() {
        let received = Instant::now();
        let at = |ms| received + Duration::from_millis(ms);
        let stages = Stages {
            received,
            proposed: Some(at(1)),
            durable: Some(at(801)),
            executed: Some(at(801)),
            answered: at(802),
        };
        assert_eq!(stages.to_string(), "proposed +1.0ms durable +800.0ms executed +0.0ms answered +1.0ms");
        let mut complaints = Complaints::new(1);
        let text = logged(Some(LogFormat::Text), false, |_| {
            let mut slow = |ms| {
                slow_operation(Some(Duration::from_millis(ms)), &mut complaints, &stages, 16, "setData", "/a")
            };
            assert!(!slow(803));
            assert!(slow(802));
            assert!(slow(802));
        });
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains("session=0x10") && text.contains("operation=\"setData\""), "{text}");
    }
}
