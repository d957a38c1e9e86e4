//! Shards divided among whoever is there, and again when somebody comes or goes.
//!
//! `cargo run --example set_partitioner -- localhost:2181 NAME`, in several windows.

use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let name = std::env::args().nth(2).unwrap_or_else(|| format!("process {}", std::process::id()));
    let shards = ["shard-0", "shard-1", "shard-2", "shard-3"];
    let mut partitioner = zk.set_partitioner("/examples/shards", shards, &name).await?;
    let share = partitioner.acquire().await?;
    for (shard, guard) in share.parts() {
        println!("{shard} is ours, with fence {}", guard.fence());
    }
    share.release().await?;
    zk.close().await
}
