//! How SSL listeners prove who they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::{ClientAuth, TlsConfig};

/// The certificates of all SSL listeners, as they are now.
#[derive(Debug)]
pub struct Certificates {
    by_listener: BTreeMap<String, Mutex<Loaded>>,
}

#[derive(Debug)]
struct Loaded {
    config: TlsConfig,
    stamps: Stamps,
    server: Arc<ServerConfig>,
}

/// By what a changed file is told from the one before: when it was written, and how long it is.
type Stamps = Vec<Option<(SystemTime, u64)>>;

impl Certificates {
    /// Reads all of them. The error names the file.
    pub fn open(configs: &BTreeMap<String, TlsConfig>) -> Result<Certificates, String> {
        let load = |(name, config): (&String, &TlsConfig)| {
            let (stamps, server) = (stamps(config), server_config(config)?);
            Ok((name.clone(), Mutex::new(Loaded { config: config.clone(), stamps, server })))
        };
        Ok(Certificates { by_listener: configs.iter().map(load).collect::<Result<_, String>>()? })
    }

    /// Accepts connections of one listener; `None` if it does not speak TLS.
    pub fn acceptor(&self, listener: &str) -> Option<TlsAcceptor> {
        let loaded = lock(self.by_listener.get(listener)?);
        Some(TlsAcceptor::from(Arc::clone(&loaded.server)))
    }

    /// Reads again what was changed, and what is configured otherwise now. What cannot be used is said, and the old
    /// certificates stay.
    pub fn refresh(&self, configs: &BTreeMap<String, TlsConfig>) {
        for (listener, loaded) in &self.by_listener {
            let Some(config) = configs.get(listener) else { continue };
            let stamps = stamps(config);
            let mut loaded = lock(loaded);
            if loaded.config == *config && loaded.stamps == stamps {
                continue;
            }
            // Said once for every change.
            (loaded.config, loaded.stamps) = (config.clone(), stamps);
            match server_config(config) {
                Ok(server) => {
                    loaded.server = server;
                    tracing::info!(listener, file = %config.key_store.display(), "certificates were read again");
                }
                Err(error) => tracing::error!(listener, error, "certificates stay as they were"),
            }
        }
    }
}

fn lock(loaded: &Mutex<Loaded>) -> MutexGuard<'_, Loaded> {
    loaded.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stamps(config: &TlsConfig) -> Stamps {
    let files = [Some(&config.key_store), config.trust_store.as_ref()];
    let stamp = |file: &PathBuf| {
        let file = fs::metadata(file).ok()?;
        Some((file.modified().ok()?, file.len()))
    };
    files.into_iter().flatten().map(stamp).collect()
}

/// How TLS connections are accepted with what the files hold now. The error names the file.
pub fn server_config(config: &TlsConfig) -> Result<Arc<ServerConfig>, String> {
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
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
