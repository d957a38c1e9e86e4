//! Registers an instance of a service and finds it again, as Java programs with Curator would.
//!
//! `cargo run --example service_discovery -- localhost:2181`

use client::zk::recipes::{ServiceInstance, Strategy};
use client::zk::{Coordinator, Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let hosts = std::env::args().nth(1).unwrap_or_else(|| "localhost:2181".to_owned());
    let zk = Coordinator::connect(hosts).await?;
    let services = zk.service_discovery("/examples/services");
    let registration = services.register(&ServiceInstance::new("billing", "10.0.0.1", 8080)).await?;
    let billing = services.provider("billing", Strategy::RoundRobin).await?;
    match billing.get() {
        Some(instance) => println!("billing is at {:?}, port {:?}", instance.address, instance.port),
        None => println!("there is no billing"),
    }
    registration.unregister().await?;
    zk.close().await
}
