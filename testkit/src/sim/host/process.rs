//! A process: tasks, a clock of their own, and nothing that outlives it.

use std::cell::Cell;
use std::future::Future;
use std::sync::Once;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{advance, sleep};

use crate::check::service::{Violation, violation};

const TICK: Duration = Duration::from_millis(1);

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Panics of tasks are swallowed by the runtime; here they are counted.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
}

/// One process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    runtime: Runtime,
    /// What its clock shows, by the world's time.
    now_ms: u64,
}

impl Process {
    /// Starts a process that does this.
    pub(super) fn start(now_ms: u64, main: impl Future<Output = ()> + Send + 'static) -> Process {
        count_panics();
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without sockets needs nothing of the system");
        runtime.spawn(main);
        Process { runtime, now_ms }
    }

    /// Lets it run until this moment of the world's time. If that is long after it ran last, its clock jumps.
    pub(super) fn run(&mut self, now_ms: u64) -> Result<(), Violation> {
        let Some(gap_ms) = now_ms.checked_sub(self.now_ms).filter(|gap| *gap > 0) else { return Ok(()) };
        self.now_ms = now_ms;
        let panics = PANICS.get();
        self.runtime.block_on(async {
            if gap_ms > 1 {
                advance(Duration::from_millis(gap_ms) - TICK).await;
            }
            // Time only passes when nobody has anything to do.
            sleep(TICK).await;
        });
        if PANICS.get() > panics {
            return violation("assertion", "a task of a process has panicked");
        }
        Ok(())
    }
}
