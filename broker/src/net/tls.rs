//! How SSL listeners prove who they are.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::{ClientAuth, TlsConfig};

/// Accepts TLS connections; `None` if no listener speaks it. The error names the file.
pub fn acceptor(config: Option<&TlsConfig>) -> Result<Option<TlsAcceptor>, String> {
    let Some(config) = config else { return Ok(None) };
    let pem = read(&config.key_store)?;
    let at = |what: String| format!("{}: {what}", config.key_store.display());
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| at(format!("no certificates can be read: {error}")))?;
    if certificates.is_empty() {
        return Err(at("there is no certificate in it".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| at(format!("no private key can be read: {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match (config.client_auth, &config.trust_store) {
        (ClientAuth::None, _) | (_, None) => builder.with_no_client_auth(),
        (wanted, Some(trust_store)) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&read(trust_store)?) {
                let certificate =
                    certificate.map_err(|error| format!("{}: {error}", trust_store.display()))?;
                roots.add(certificate).map_err(|error| format!("{}: {error}", trust_store.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier =
                if wanted == ClientAuth::Requested { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier.build().map_err(|error| format!("{}: {error}", trust_store.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(certificates, key).map_err(|error| at(error.to_string()))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
