//! TLS for clients: handshakes on a thread of their own, so that arithmetic on big numbers delays no request.
//!
//! An accepted socket goes to [`TlsGate::accept`] and comes back as [`Established`]; from then on the connection's task
//! reads and writes through [`TlsSession`] on the same non-blocking socket.

use crate::auth::x509_name;
use crate::config::{ClientAuth, TlsConfig};
use crate::limits::{COMPLAINTS_PER_SECOND_MAX, HANDSHAKE_QUEUE_MAX, KEY_STORE_BYTES_MAX};
use crate::logging::Complaints;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Semaphore, mpsc};

/// How often key and trust stores are looked at, when they may change.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, unreadable or out of proportion.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {reason}")]
    Contents {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The settings do not go together.
    #[error("TLS cannot be configured: {0}")]
    Settings(String),
    /// The thread could not be started.
    #[error("the handshake thread cannot be started: {0}")]
    Thread(io::Error),
}

// ---- Settings ----

/// The cipher suites that can be offered, by their standard names.
pub fn cipher_suite_names() -> Vec<String> {
    ring::ALL_CIPHER_SUITES.iter().map(|suite| standard_name(*suite)).collect()
}

/// Those of `names` that cannot be offered.
pub fn unknown_cipher_suites(names: &[String]) -> Vec<&str> {
    let known = cipher_suite_names();
    names.iter().filter(|name| !known.contains(name)).map(String::as_str).collect()
}

/// The name Java and the standards use; the library marks suites of TLS 1.3 in its own way.
fn standard_name(suite: rustls::SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1)
}

/// Reads the stores and builds what every handshake uses.
pub fn server_config(config: &TlsConfig) -> Result<ServerConfig, TlsError> {
    let (provider, versions) = provider_and_versions(config);
    let settings = |error: rustls::Error| TlsError::Settings(error.to_string());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(settings)?;
    let builder = match (config.client_auth, &config.trust_store) {
        (ClientAuth::None, _) => builder.with_no_client_auth(),
        (auth, Some(path)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider);
            let verifier = if auth == ClientAuth::Want { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier.build().map_err(|error| TlsError::Settings(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
        (_, None) => {
            return Err(TlsError::Settings("client certificates need ssl.trustStore.location".to_owned()));
        }
    };
    let (chain, key) = identity(&config.key_store)?;
    builder.with_single_cert(chain, key).map_err(|error| wrong(&config.key_store, error.to_string()))
}

/// The arithmetic and the versions that were configured.
pub(super) fn provider_and_versions(
    config: &TlsConfig,
) -> (Arc<CryptoProvider>, Vec<&'static rustls::SupportedProtocolVersion>) {
    let mut provider: CryptoProvider = ring::default_provider();
    if !config.cipher_suites.is_empty() {
        provider.cipher_suites.retain(|suite| config.cipher_suites.contains(&standard_name(*suite)));
    }
    let mut versions = Vec::new();
    if config.tls13 {
        versions.push(&rustls::version::TLS13);
    }
    if config.tls12 {
        versions.push(&rustls::version::TLS12);
    }
    (Arc::new(provider), versions)
}

pub(super) fn identity(
    path: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let pem = read_store(path)?;
    let chain = certificates(path, &pem)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let encrypted = pem.windows(9).any(|window| window == b"ENCRYPTED");
        wrong(
            path,
            if encrypted {
                "its private key is encrypted; decrypt it with: openssl pkey -in OLD.pem -out key.pem"
                    .to_owned()
            } else {
                "there is no private key in it".to_owned()
            },
        )
    })?;
    Ok((chain, key))
}

pub(super) fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, &read_store(path)?)? {
        roots.add(certificate).map_err(|error| wrong(path, error.to_string()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(wrong(path, "there is no PEM certificate in it".to_owned()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(path, error.to_string())),
    }
}

fn read_store(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::Read { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(KEY_STORE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > KEY_STORE_BYTES_MAX {
        return Err(wrong(path, format!("it is bigger than {KEY_STORE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

pub(super) fn wrong(path: &Path, reason: String) -> TlsError {
    TlsError::Contents { path: path.to_owned(), reason }
}

// ---- Detection ----

/// On a port for both, do these first bytes begin a TLS handshake? `None` when there are too few to say.
///
/// A handshake record begins with 22, 3. A frame of the client protocol begins with a length far below 22 · 2²⁴, and a
/// four-letter word with a letter.
pub fn begins_tls(first: &[u8]) -> Option<bool> {
    match first {
        [] | [22] => None,
        [22, 3, ..] => Some(true),
        _ => Some(false),
    }
}

// ---- Handshakes ----

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Established {
    /// The socket, non-blocking.
    pub stream: TcpStream,
    /// The TLS side of it; what the client sent behind its handshake waits inside, decrypted.
    pub tls: TlsSession,
    /// The client's end.
    pub peer: SocketAddr,
    /// `("x509", subject)` when the client showed a certificate.
    pub identities: Vec<(String, String)>,
}

/// What became of handshakes.
#[derive(Debug, Default)]
pub struct HandshakeCounts {
    /// Failed ones.
    pub failed: AtomicU64,
    /// Connections that had to wait for their turn, or were closed because too many waited.
    pub exceeded: AtomicU64,
    /// Those under way.
    pub under_way: AtomicU64,
}

/// Where accepted sockets become encrypted connections.
#[derive(Debug, Clone)]
pub struct TlsGate {
    sockets: mpsc::Sender<Arrival>,
    counts: Arc<HandshakeCounts>,
}

#[derive(Debug)]
struct Arrival {
    stream: TcpStream,
    peer: SocketAddr,
    first_bytes: Vec<u8>,
}

impl TlsGate {
    /// Starts the handshake thread; `deliver` is called there with every connection that is ready. The thread ends when
    /// the last gate is dropped.
    pub fn spawn(
        config: TlsConfig,
        deliver: impl Fn(Established) + Send + 'static,
    ) -> Result<TlsGate, TlsError> {
        let server_config = Arc::new(server_config(&config)?);
        let counts = Arc::new(HandshakeCounts::default());
        let (sender, receiver) = mpsc::channel(HANDSHAKE_QUEUE_MAX);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TlsError::Thread)?;
        let desk = Desk {
            config,
            server_config: RefCell::new(server_config),
            counts: counts.clone(),
            complaints: RefCell::new(Complaints::new(COMPLAINTS_PER_SECOND_MAX)),
        };
        std::thread::Builder::new()
            .name("tls-handshakes".to_owned())
            .spawn(move || {
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, serve(desk, receiver, Rc::new(deliver)));
            })
            .map_err(TlsError::Thread)?;
        Ok(TlsGate { sockets: sender, counts })
    }

    /// Hands over a socket, with the bytes that were already read from it. When too many wait, it is closed.
    pub fn accept(&self, stream: TcpStream, peer: SocketAddr, first_bytes: &[u8]) {
        let arrival = Arrival { stream, peer, first_bytes: first_bytes.to_vec() };
        if self.sockets.try_send(arrival).is_err() {
            self.counts.exceeded.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of handshakes so far.
    pub fn counts(&self) -> &HandshakeCounts {
        &self.counts
    }
}

struct Desk {
    config: TlsConfig,
    server_config: RefCell<Arc<ServerConfig>>,
    counts: Arc<HandshakeCounts>,
    complaints: RefCell<Complaints>,
}

async fn serve(desk: Desk, mut sockets: mpsc::Receiver<Arrival>, deliver: Rc<dyn Fn(Established)>) {
    let desk = Rc::new(desk);
    if desk.config.reload {
        tokio::task::spawn_local(reload(desk.clone()));
    }
    let turns = Arc::new(Semaphore::new(desk.config.handshakes_max as usize));
    while let Some(arrival) = sockets.recv().await {
        if turns.available_permits() == 0 {
            desk.counts.exceeded.fetch_add(1, Ordering::Relaxed);
        }
        let Ok(turn) = turns.clone().acquire_owned().await else { return };
        let (desk, deliver) = (desk.clone(), deliver.clone());
        tokio::task::spawn_local(async move {
            let peer = arrival.peer;
            desk.counts.under_way.fetch_add(1, Ordering::Relaxed);
            let outcome = tokio::time::timeout(desk.config.handshake_timeout, desk.handshake(arrival)).await;
            desk.counts.under_way.fetch_sub(1, Ordering::Relaxed);
            drop(turn);
            match outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(established) => deliver(established),
                Err(error) => desk.complain(peer, &error),
            }
        });
    }
}

impl Desk {
    async fn handshake(&self, arrival: Arrival) -> io::Result<Established> {
        let Arrival { stream, peer, first_bytes } = arrival;
        stream.set_nonblocking(true)?;
        let stream = tokio::net::TcpStream::from_std(stream)?;
        let server_config = self.server_config.borrow().clone();
        let mut tls = ServerConnection::new(server_config).map_err(io::Error::other)?;
        let mut early = first_bytes.as_slice();
        while tls.is_handshaking() || tls.wants_write() {
            if tls.wants_write() {
                stream.writable().await?;
                match tls.write_tls(&mut NonBlocking(&stream)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    other => drop(other?),
                }
                continue;
            }
            if early.is_empty() {
                stream.readable().await?;
                match tls.read_tls(&mut NonBlocking(&stream)) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                }
            } else {
                tls.read_tls(&mut early)?;
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert tells the client why; whether it still arrives does not matter.
                let _ = tls.write_tls(&mut NonBlocking(&stream));
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        // What came behind the handshake in the bytes we were given belongs to the connection.
        while !early.is_empty() {
            tls.read_tls(&mut early)?;
            tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        let leaf = tls.peer_certificates().and_then(|chain| chain.first());
        let identities = match leaf.map(|certificate| x509_name::subject(certificate)) {
            None => Vec::new(),
            Some(Ok(subject)) => vec![("x509".to_owned(), subject)],
            Some(Err(error)) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        Ok(Established { stream: stream.into_std()?, tls: TlsSession::new(tls), peer, identities })
    }

    fn complain(&self, peer: SocketAddr, error: &io::Error) {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        if let Some(withheld) = self.complaints.borrow_mut().admit(Instant::now()) {
            tracing::warn!(%peer, %error, withheld, "TLS handshake failed");
        }
    }
}

// ---- Reload ----

/// When the stores were changed, and how long they are.
pub(super) type Fingerprint = Vec<Option<(SystemTime, u64)>>;

/// What tells one version of the stores from the next.
pub(super) fn fingerprint(config: &TlsConfig) -> Fingerprint {
    let stores = [Some(&config.key_store), config.trust_store.as_ref()];
    let state = |path: &PathBuf| {
        let metadata = path.metadata().ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    stores.into_iter().flatten().map(state).collect()
}

async fn reload(desk: Rc<Desk>) {
    let mut known = fingerprint(&desk.config);
    let mut looks = tokio::time::interval(RELOAD_INTERVAL);
    loop {
        looks.tick().await;
        let now = fingerprint(&desk.config);
        if now == known {
            continue;
        }
        known = now;
        match server_config(&desk.config) {
            Ok(fresh) => {
                *desk.server_config.borrow_mut() = Arc::new(fresh);
                tracing::info!(key_store = %desk.config.key_store.display(), "certificates loaded again");
            }
            Err(error) => {
                tracing::error!(%error, "changed certificates cannot be used; the ones before stay in use")
            }
        }
    }
}

// ---- Established connections ----

/// The TLS side of a connection, apart from its socket, which the caller owns and waits for.
#[derive(Debug)]
pub struct TlsSession(Box<rustls::Connection>);

impl TlsSession {
    /// Goes on where a handshake ended.
    pub(super) fn new(tls: impl Into<rustls::Connection>) -> TlsSession {
        TlsSession(Box::new(tls.into()))
    }

    /// The certificate that the other side has shown.
    pub(super) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.0.peer_certificates().and_then(|chain| chain.first())
    }

    /// Reads decrypted bytes: `Ok(0)` when the client said goodbye, `WouldBlock` when the socket has no more.
    pub fn try_read(&mut self, socket: &mut (impl Read + Write), buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            // Zero bytes are the end of the socket; the reader above then tells a goodbye from a cut.
            self.0.read_tls(socket)?;
            if let Err(error) = self.0.process_new_packets() {
                let _ = self.0.write_tls(socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    /// Encrypts as much as fits and sends as much as the socket takes: how many bytes were taken over, or `WouldBlock`
    /// when none. What was taken over may still wait here: see [`wants_write`](Self::wants_write).
    pub fn try_write(&mut self, socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.0.writer().write(bytes)?;
        match self.try_flush(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ if taken > 0 || bytes.is_empty() => Ok(taken),
            // The buffer was full; there may be room now that something was sent.
            _ => match self.0.writer().write(bytes)? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                taken => Ok(taken),
            },
        }
    }

    /// Sends what waits, `WouldBlock` when the socket does not take all of it.
    pub fn try_flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.0.wants_write() {
            if self.0.write_tls(socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Does anything wait to be sent?
    pub fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    /// Says goodbye; [`try_flush`](Self::try_flush) sends it.
    pub fn close(&mut self) {
        self.0.send_close_notify();
    }

    /// The protocol and cipher suite that were agreed on, for the log.
    pub fn description(&self) -> String {
        let version = self.0.protocol_version().map_or_else(String::new, |version| format!("{version:?}"));
        let suite = self.0.negotiated_cipher_suite().map_or_else(String::new, standard_name);
        format!("{version} {suite}")
    }
}

/// A tokio socket as blocking-style reader and writer that never blocks.
#[derive(Debug)]
pub struct NonBlocking<'a>(pub &'a tokio::net::TcpStream);

impl Read for NonBlocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for NonBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
