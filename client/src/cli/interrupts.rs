//! [shell] What ends us from outside.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What ends us: an interrupt, a request to end, the end of the terminal. Whoever has started us may have made us deaf to
/// some of them, as `nohup` does.
pub(super) struct Endings {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
}

impl Endings {
    pub(super) fn listen() -> io::Result<Endings> {
        let ignored = ignored();
        let listen = |kind: SignalKind| {
            let is_ignored = ignored >> (kind.as_raw_value() - 1) & 1 == 1;
            if is_ignored { Ok(None) } else { signal(kind).map(Some) }
        };
        Ok(Endings {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next of them.
    pub(super) async fn next(&mut self) -> SignalKind {
        async fn next(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = next(&mut self.interrupt) => SignalKind::interrupt(),
            () = next(&mut self.terminate) => SignalKind::terminate(),
            () = next(&mut self.hangup) => SignalKind::hangup(),
        }
    }
}

/// The signals that are ignored, the first in the lowest bit. Where nobody says, that is none.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Waits until something ends us. Returns the exit code that shells have for it.
pub(super) async fn interrupted() -> io::Result<u8> {
    let kind = Endings::listen()?.next().await;
    Ok(u8::try_from(128 + kind.as_raw_value()).unwrap_or(u8::MAX))
}
