//! TLS between members: both ends show a certificate of an authority that both trust.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;

use super::super::tls::{self, Fingerprint, NonBlocking, TlsError, TlsSession};
use super::greeting::GreetingError;
use crate::config::TlsConfig;

/// What handshakes use, read anew when the stores have changed.
#[derive(Debug)]
pub(super) struct Stores {
    config: TlsConfig,
    current: RefCell<(Fingerprint, Contexts)>,
}

#[derive(Debug, Clone)]
struct Contexts {
    acceptor: Arc<ServerConfig>,
    dialer: Arc<ClientConfig>,
}

impl Stores {
    pub(super) fn open(config: &TlsConfig) -> Result<Stores, TlsError> {
        let current = RefCell::new((tls::fingerprint(config), Contexts::build(config)?));
        Ok(Stores { config: config.clone(), current })
    }

    fn contexts(&self) -> Contexts {
        let mut current = self.current.borrow_mut();
        let now = if self.config.reload { tls::fingerprint(&self.config) } else { current.0.clone() };
        if now != current.0 {
            match Contexts::build(&self.config) {
                Ok(contexts) => {
                    current.1 = contexts;
                    tracing::info!(key_store = %self.config.key_store.display(), "certificates for members loaded again");
                }
                Err(error) => {
                    tracing::error!(%error, "changed certificates for members cannot be used; the ones before stay in use");
                }
            }
            current.0 = now;
        }
        current.1.clone()
    }

    /// The handshake of whoever dialled; `host` is only told to the other side.
    pub(super) async fn dial(&self, stream: &TcpStream, host: &str) -> Result<TlsSession, GreetingError> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|error| GreetingError::Tls(error.to_string()))?;
        let tls = ClientConnection::new(self.contexts().dialer, name);
        shake_hands(stream, tls.map_err(|error| GreetingError::Tls(error.to_string()))?.into()).await
    }

    /// The handshake of whoever was dialled.
    pub(super) async fn accept(&self, stream: &TcpStream) -> Result<TlsSession, GreetingError> {
        let tls = ServerConnection::new(self.contexts().acceptor);
        shake_hands(stream, tls.map_err(|error| GreetingError::Tls(error.to_string()))?.into()).await
    }
}

impl Contexts {
    fn build(config: &TlsConfig) -> Result<Contexts, TlsError> {
        let acceptor = Arc::new(tls::server_config(config)?);
        let (provider, versions) = tls::provider_and_versions(config);
        let store = config.trust_store.as_deref();
        let roots =
            tls::roots(store.ok_or_else(|| TlsError::Settings("members need a trust store".to_owned()))?)?;
        let verifier = ChainVerifier { roots, algorithms: provider.signature_verification_algorithms };
        let (chain, key) = tls::identity(&config.key_store)?;
        let dialer = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| TlsError::Settings(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(chain, key)
            .map_err(|error| tls::wrong(&config.key_store, error.to_string()))?;
        Ok(Contexts { acceptor, dialer: Arc::new(dialer) })
    }
}

/// Checks that a certificate is of our authority. Whether it names the right host is asked after the handshake, in the same
/// way for both directions, because that can be switched off.
#[derive(Debug)]
struct ChainVerifier {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

async fn shake_hands(stream: &TcpStream, mut tls: Connection) -> Result<TlsSession, GreetingError> {
    let would_block = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    while tls.is_handshaking() || tls.wants_write() {
        if tls.wants_write() {
            stream.writable().await?;
            match tls.write_tls(&mut NonBlocking(stream)) {
                Err(error) if would_block(&error) => {}
                other => drop(other?),
            }
            continue;
        }
        stream.readable().await?;
        match tls.read_tls(&mut NonBlocking(stream)) {
            Ok(0) => return Err(GreetingError::Ended),
            Ok(_) => {}
            Err(error) if would_block(&error) => continue,
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = tls.process_new_packets() {
            // The alert tells the other side why; whether it still arrives does not matter.
            let _ = tls.write_tls(&mut NonBlocking(stream));
            return Err(GreetingError::Tls(error.to_string()));
        }
    }
    Ok(TlsSession::new(tls))
}
