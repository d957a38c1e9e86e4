//! The first steps: create a znode, read it, change it, watch it.
//!
//! `cargo run --example hello_znode -- localhost:2181`

use client::zk::{Coordinator, CreateMode, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;

    let created = zk.create("/hello-", b"first words", CreateMode::EphemeralSequential).await?;
    println!("created {} at zxid {:#x}", created.path, created.stat.czxid);

    let (data, stat, mut watch) = zk.get_and_watch(&created.path).await?;
    println!("{:?}, version {}", String::from_utf8_lossy(&data), stat.version);

    // Only if nobody else has changed it since.
    zk.set(&created.path, b"more words", stat.version).await?;
    println!("{:?}", watch.next().await);

    // The znode goes with the session.
    zk.close().await
}
