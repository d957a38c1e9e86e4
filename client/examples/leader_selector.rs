//! Work that only the leader does, in turns; it is dropped where it waits as soon as leadership is lost.
//!
//! `cargo run --example leader_selector -- localhost:2181 NAME`, in several windows.

use std::time::Duration;

use client::zk::recipes::Led;
use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let name = std::env::args().nth(2).unwrap_or_else(|| format!("process {}", std::process::id()));
    let selector = zk.leader_selector("/examples/selector", &name);
    for turn in 1..=3 {
        let led = selector.lead(async |fence| {
            println!("{name} leads, turn {turn}, with fence {fence}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        });
        match led.await? {
            Led::Finished(()) => println!("{name} has done its part"),
            Led::Interrupted => println!("{name} lost leadership on the way"),
        }
    }
    zk.close().await
}
