//! Several locks, all of them or none, without a deadlock: they are taken in the order of their paths.
//!
//! `cargo run --example multi_lock -- localhost:2181`, in several windows.

use client::zk::recipes::MultiLock;
use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let accounts =
        MultiLock::new(["alice", "bob"].map(|name| zk.lock(&format!("/examples/accounts/{name}"))));
    let guards = accounts.acquire().await?;
    for guard in guards.guards() {
        println!("{} with fence {}", guard.path(), guard.fence());
    }
    guards.release().await?;
    zk.close().await
}
