//! Nobody goes on before the barrier is removed; and two who begin and end together.
//!
//! `cargo run --example barriers -- localhost:2181`

use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let barrier = zk.barrier("/examples/barrier");
    barrier.set().await?;
    let (waited, removed) = tokio::join!(barrier.wait(), barrier.remove());
    removed?;
    waited?;
    println!("the barrier is gone");

    let other = zk.double_barrier("/examples/double_barrier", 2);
    let one = zk.double_barrier("/examples/double_barrier", 2);
    tokio::try_join!(one.enter(), other.enter())?;
    println!("both are inside");
    tokio::try_join!(one.leave(), other.leave())?;
    println!("both have left");
    zk.close().await
}
