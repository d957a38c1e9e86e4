//! [shell] Certificates and keys from PEM files.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::error::Error;

/// Far more than any bundle of certificates has.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// How connections are encrypted: TLS 1.2 or 1.3. The server must show a certificate for the host name that was given.
#[derive(Debug, Clone)]
pub struct Tls {
    authorities: PathBuf,
    identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Trusts servers with certificates of these authorities, a PEM file.
    pub fn new(authorities: impl Into<PathBuf>) -> Tls {
        Tls { authorities: authorities.into(), identity: None }
    }

    /// Shows a certificate to the servers: PEM files with the chain and with its private key. They may be the same.
    #[must_use]
    pub fn identity(self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Tls {
        Tls { identity: Some((chain.into(), key.into())), ..self }
    }

    pub(crate) fn config(&self) -> Result<ClientConfig, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authorities)? {
            roots.add(certificate).map_err(|error| bad(&self.authorities, error))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::BadOption(format!("TLS cannot be configured: {error}")))?
            .with_root_certificates(roots);
        match &self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => {
                let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| bad(key, error))?;
                builder.with_client_auth_cert(certificates(chain)?, secret).map_err(|error| bad(chain, error))
            }
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = read(path)?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| bad(path, error))?;
    if certificates.is_empty() {
        return Err(bad(path, "there is no certificate in it"));
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| bad(path, error))?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| bad(path, error))?;
    Ok(bytes)
}

fn bad(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::BadOption(format!("{}: {reason}", path.display()))
}
