//! A number that many add to, a number that many set, and any bytes.
//!
//! `cargo run --example counters -- localhost:2181`, in several windows: no addition is lost.

use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let visits = zk.atomic_long("/examples/visits");
    println!("visit number {}", visits.add(1).await?);

    let workers = zk.shared_count("/examples/workers");
    let version = workers.get().await?.map(|(_, version)| version);
    if workers.set_if(5, version).await? {
        println!("five workers");
    } else {
        println!("somebody else said how many meanwhile");
    }

    let motto = zk.shared_value("/examples/motto");
    let new = motto.update(|old| Ok([old.unwrap_or(b"go"), b"!"].concat())).await?;
    println!("the motto: {}", String::from_utf8_lossy(&new));
    zk.close().await
}
