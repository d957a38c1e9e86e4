//! A lock, and the number that makes it safe.
//!
//! `cargo run --example lock -- localhost:2181`, in several windows.

use std::time::Duration;

use client::zk::{Coordinator, Error, Zxid};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let guard = zk.lock("/examples/lock").acquire().await?;
    tokio::select! {
        () = work(guard.fence()) => println!("done"),
        () = guard.lost() => println!("somebody else may have the lock by now: we stop"),
    }
    guard.release().await?;
    zk.close().await
}

/// Whoever stores what we write should remember the largest fence, and refuse a smaller one.
async fn work(fence: Zxid) {
    println!("we have the lock, with fence {fence}");
    tokio::time::sleep(Duration::from_secs(1)).await;
}
