//! Who is there, and with what address; a member that dies is gone with its session.
//!
//! `cargo run --example group -- localhost:2181 NAME`, in several windows.

use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let name = std::env::args().nth(2).unwrap_or_else(|| format!("process {}", std::process::id()));
    let member = zk.join_group("/examples/group", &name, b"10.0.0.1:7000").await?;
    for (id, address) in member.members() {
        println!("{id} at {}", String::from_utf8_lossy(&address));
    }
    member.leave().await?;
    zk.close().await
}
