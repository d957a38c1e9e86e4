//! So many at once, and no more.
//!
//! `cargo run --example semaphore -- localhost:2181`, in several windows: two of them work, the others wait.

use std::time::Duration;

use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let semaphore = zk.semaphore("/examples/semaphore", 2).data(format!("process {}", std::process::id()));
    match semaphore.acquire_within(Duration::from_secs(30)).await? {
        None => println!("no lease within half a minute"),
        Some(lease) => {
            for holder in semaphore.holders().await? {
                println!("holds a lease: {}", String::from_utf8_lossy(&holder));
            }
            lease.release().await?;
        }
    }
    zk.close().await
}
