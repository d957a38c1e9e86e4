//! A znode that is created again whenever somebody deletes it, and one that outlives its session by ten seconds.
//!
//! `cargo run --example persistent_node -- localhost:2181`

use std::time::Duration;

use client::zk::{Coordinator, CreateMode, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let node = zk.persistent_node("/examples/here", b"we are here", CreateMode::Ephemeral);
    node.created().await?;
    let before = zk.exists("/examples/here").await?.map(|stat| stat.czxid);
    zk.delete("/examples/here", None).await?;
    while zk.exists("/examples/here").await?.map(|stat| stat.czxid).is_none_or(|now| Some(now) == before) {
        tokio::task::yield_now().await;
    }
    println!("it is back");
    node.close().await?;

    let lasting = zk.persistent_ttl_node("/examples/for-a-while", b"we were here", Duration::from_secs(10));
    lasting.created().await?;
    println!("it will be there for a while");
    zk.close().await
}
