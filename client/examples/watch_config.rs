//! A program's settings, always as they are now.
//!
//! `cargo run --example watch_config -- localhost:2181`, and change something below `/config` meanwhile.

use client::zk::recipes::{CacheEvent, CacheScope};
use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let mut config = zk.cache("/config", CacheScope::Tree);
    config.ready().await?;
    println!("{} settings", config.snapshot().len());
    while let Some(event) = config.next().await {
        match event {
            CacheEvent::Created(path, node) | CacheEvent::Changed(path, node) => {
                println!("{path} = {:?}", String::from_utf8_lossy(&node.data));
            }
            CacheEvent::Deleted(path, _) => println!("{path} is gone"),
            CacheEvent::Suspended => println!("no connection: what we have may be old"),
            CacheEvent::Resumed => println!("connected again, and up to date"),
            other => println!("{other:?}"),
        }
    }
    Ok(())
}
