//! One of several leads, and another one when it has gone.
//!
//! `cargo run --example leader_latch -- localhost:2181 NAME`, in several windows; then end the one that leads.

use std::time::Duration;

use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let hosts = arguments.next().unwrap_or_else(|| "localhost:2181".to_owned());
    let name = arguments.next().unwrap_or_else(|| format!("process {}", std::process::id()));
    let zk = Coordinator::connect(hosts).await?;
    let latch = zk.leader_latch("/examples/leader", &name);
    let leadership = latch.leadership().await?;
    println!(
        "{name} leads, with fence {}; participants: {:?}",
        leadership.fence(),
        latch.participants().await?
    );
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(5)) => println!("{name} has had enough"),
        () = leadership.lost() => println!("{name} does not lead any more"),
    }
    latch.close().await?;
    zk.close().await
}
