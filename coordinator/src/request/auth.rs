//! Who somebody is: session passwords, the digest scheme, and randomness that nobody can guess.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::wire::zk::SessionId;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use crate::config::DigestAlgorithm;

fn keyed_hash(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any size");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The password of a session: every server that knows the secret can check it, and nobody else can make it.
pub fn session_password(secret: &[u8], session: SessionId) -> [u8; 16] {
    let hash = keyed_hash(secret, &session.0.to_be_bytes());
    *hash.first_chunk().expect("a hash has 32 bytes")
}

/// Compares without telling by its duration where the difference is.
pub fn is_session_password(secret: &[u8], session: SessionId, password: &[u8]) -> bool {
    session_password(secret, session).ct_eq(password).into()
}

/// The id that the digest scheme makes of `name:password`.
pub fn digest_id(algorithm: DigestAlgorithm, name_and_password: &[u8]) -> String {
    let hash = match algorithm {
        DigestAlgorithm::Sha1 => STANDARD.encode(sha1::Sha1::digest(name_and_password)),
        DigestAlgorithm::Sha256 => STANDARD.encode(Sha256::digest(name_and_password)),
        DigestAlgorithm::Sha512 => STANDARD.encode(Sha512::digest(name_and_password)),
    };
    let name = name_and_password.split(|byte| *byte == b':').next().unwrap_or_default();
    format!("{}:{hash}", String::from_utf8_lossy(name))
}

/// Random bytes from a seed that the shell drew: unpredictable in production, repeatable in simulation.
#[derive(Clone)]
pub struct Randomness {
    key: [u8; 32],
    drawn: u64,
}

impl std::fmt::Debug for Randomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Randomness").field("drawn", &self.drawn).finish_non_exhaustive()
    }
}

impl Randomness {
    pub fn new(seed: [u8; 32]) -> Randomness {
        Randomness { key: seed, drawn: 0 }
    }

    pub fn draw(&mut self) -> [u8; 32] {
        self.drawn += 1;
        keyed_hash(&self.key, &self.drawn.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_what_clients_compute() {
        assert_eq!(digest_id(DigestAlgorithm::Sha1, b"u:p"), "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=");
        assert!(digest_id(DigestAlgorithm::Sha1, b"nocolon").starts_with("nocolon:"));
    }

    #[test]
    fn passwords_depend_on_secret_and_session() {
        let password = session_password(b"secret", SessionId(1));
        assert!(is_session_password(b"secret", SessionId(1), &password));
        assert!(!is_session_password(b"secret", SessionId(2), &password));
        assert!(!is_session_password(b"other", SessionId(1), &password));
        assert!(!is_session_password(b"secret", SessionId(1), &password[..15]));
        assert!(!is_session_password(b"secret", SessionId(1), b""));
    }
}
