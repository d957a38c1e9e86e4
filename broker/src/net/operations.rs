//! What operators ask over HTTP: is it alive, is it ready, and what does it count?

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::watch;

use super::prometheus;
use crate::server::{Broker, StartError};

/// Serves the operations port, and says where it is.
pub async fn serve(
    broker: Arc<Broker>,
    address: SocketAddr,
    mut stop: watch::Receiver<bool>,
) -> Result<SocketAddr, StartError> {
    let failed = |error| StartError::Listen {
        name: "operations".into(),
        host: address.ip().to_string(),
        port: address.port(),
        error,
    };
    let socket = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(|| async { concat!(env!("CARGO_PKG_VERSION"), "\n") }))
        .route("/metrics", get(metrics))
        .with_state(broker);
    tokio::spawn(async move {
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        if let Err(error) = axum::serve(socket, router).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "the operations port is closed");
        }
    });
    Ok(bound)
}

async fn ready(State(broker): State<Arc<Broker>>) -> (StatusCode, &'static str) {
    match broker.session() {
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "no session with the coordinator\n"),
        Ok(_) if !broker.image().brokers.contains_key(&broker.id) => {
            (StatusCode::SERVICE_UNAVAILABLE, "not known to the controller yet\n")
        }
        Ok(_) => (StatusCode::OK, "ok\n"),
    }
}

async fn metrics(State(broker): State<Arc<Broker>>) -> String {
    prometheus::metrics(&broker)
}
