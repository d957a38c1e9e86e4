//! Many may read at once, one alone may write; who writes may go on as a reader without letting another writer in.
//!
//! `cargo run --example read_write_lock -- localhost:2181`, in several windows.

use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let lock = zk.rw_lock("/examples/rw_lock");
    let writer = lock.write().await?;
    println!("we write, with fence {}", writer.fence());
    let reader = lock.downgrade(writer).await?;
    println!("now we only read");
    let another = lock.read().await?;
    println!("and so does somebody else");
    another.release().await?;
    reader.release().await?;
    zk.close().await
}
