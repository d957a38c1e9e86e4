//! [shell] Sockets: plain or TLS, and the question whether a server is read-only.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

/// How long a server may take to say whether it is read-only.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// How to reach servers.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    pub(crate) hosts: Vec<(String, u16)>,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) dialer: Option<Arc<dyn Dialer>>,
}

/// Reaches servers by something else than TCP: a tunnel, a local socket, a simulated network.
pub trait Dialer: fmt::Debug + Send + Sync {
    /// Connects to one of the hosts that the builder was given.
    fn dial(&self, host: &str, port: u16) -> Pin<Box<dyn Future<Output = io::Result<Streams>> + Send + '_>>;
}

/// Both directions of a connection.
pub struct Streams {
    /// What the server says.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What it is told.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

impl Transport {
    /// Names are looked up each time: servers move.
    async fn tcp(&self, host: usize) -> io::Result<TcpStream> {
        let (name, port) = &self.hosts[host];
        let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("{name} has no address"));
        for address in lookup_host((name.as_str(), *port)).await? {
            match self.tcp_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn tcp_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(local) = self.local
            && local.is_ipv4() == address.is_ipv4()
        {
            socket.bind(local)?;
        }
        socket.connect(address).await
    }

    async fn secure(
        &self,
        host: usize,
        stream: TcpStream,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Streams> {
        let name = ServerName::try_from(self.hosts[host].0.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(Streams { reader: Box::new(reader), writer: Box::new(writer) })
    }

    pub(crate) async fn connect(&self, host: usize) -> io::Result<Streams> {
        if let Some(dialer) = &self.dialer {
            let (name, port) = &self.hosts[host];
            return dialer.dial(name, *port).await;
        }
        let stream = self.tcp(host).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some(config) => self.secure(host, stream, config).await,
            None => {
                let (reader, writer) = stream.into_split();
                Ok(Streams { reader: Box::new(reader), writer: Box::new(writer) })
            }
        }
    }

    /// Whether this server answers writes.
    pub(crate) async fn is_read_write(&self, host: usize) -> bool {
        let ask = async {
            let Streams { reader, mut writer } = self.connect(host).await?;
            writer.write_all(b"isro").await?;
            writer.flush().await?;
            let mut answer = Vec::new();
            reader.take(16).read_to_end(&mut answer).await?;
            io::Result::Ok(answer.starts_with(b"rw"))
        };
        matches!(tokio::time::timeout(PROBE_PATIENCE, ask).await, Ok(Ok(true)))
    }
}
