//! Queues of every kind: in order, by priority, not before their time, by name, and held until they are done.
//!
//! `cargo run --example queues -- localhost:2181`

use std::time::Duration;

use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let queue = zk.queue("/examples/queue");
    queue.put(b"first").await?;
    queue.put(b"second").await?;
    println!("in order: {:?}, {:?}", queue.take().await?, queue.take().await?);

    let urgent = zk.priority_queue("/examples/priority_queue");
    urgent.put(b"sometime", 100).await?;
    urgent.put(b"now", 1).await?;
    println!("by priority: {:?}, {:?}", urgent.take().await?, urgent.take().await?);

    // An element that is held comes back if its holder dies before it is done.
    let safe = zk.locking_queue("/examples/locking_queue");
    safe.put(b"a payment", 100).await?;
    let held = safe.take().await?;
    println!("held: {:?}", held.data());
    held.consume().await?;

    let later = zk.delay_queue("/examples/delay_queue");
    later.put_after(b"a reminder", Duration::from_millis(200)).await?;
    println!("after its delay: {:?}", later.take().await?);

    let jobs = zk.id_queue("/examples/id_queue");
    jobs.put(b"a report", "job-7").await?;
    jobs.put(b"a summary", "job-8").await?;
    println!("taken back: {}", jobs.remove("job-7").await?);
    println!("by name: {:?}", jobs.take().await?);
    zk.close().await
}
