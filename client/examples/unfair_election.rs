//! Whoever is first leads; nobody stands in line, and all that wait are woken together.
//!
//! `cargo run --example unfair_election -- localhost:2181`, in several windows.

use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let election = zk.unfair_election("/examples/controller");
    let us = format!("process {}", std::process::id());
    match election.try_lead(us.as_bytes()).await? {
        Some(leadership) => {
            println!("{us} leads, with fence {}", leadership.fence());
            leadership.release().await?;
        }
        None => {
            let leader = election.leader().await?.unwrap_or_default();
            println!("{} leads", String::from_utf8_lossy(&leader));
        }
    }
    zk.close().await
}
