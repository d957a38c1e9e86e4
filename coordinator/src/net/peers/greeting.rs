//! Who is there? Four messages, after which each end knows the other:
//!
//! ```text
//! dialer    Hello      who I am, whom I mean, my challenge
//! acceptor  Challenge  my challenge
//! dialer    Proof      of the secret, over both challenges
//! acceptor  Welcome    the same from this side
//! ```
//!
//! The dialer proves first, so that a stranger who knocks learns nothing it could try guesses on. A proof names both ends and
//! the direction, so it cannot be sent back to its maker or used between two others. Nothing here touches a socket: see
//! [`accept`](super::accept) and [`dial`](super::dial) for who waits for what.

use hmac::{Hmac, KeyInit, Mac};
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use sha2::Sha256;
use std::io;
use subtle::ConstantTimeEq;

use super::MemberId;
use super::frame::FrameError;
use crate::config::{Member, Secret};

/// What follows this in every greeting is understood by nobody else.
const MAGIC: [u8; 7] = *b"rookery";

/// The version of greetings and frames. A later one must know how to speak this one, or refuse.
const VERSION: u8 = 1;

pub(super) type Challenge = [u8; 32];

/// One message of the greeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Greeting {
    Hello { from: MemberId, to: MemberId, authenticates: bool, challenge: ByteArray<32> },
    Challenge { authenticates: bool, challenge: ByteArray<32> },
    Proof { proof: Option<ByteArray<32>> },
    Welcome { proof: Option<ByteArray<32>> },
    Refused { reason: Refusal },
}

/// Why an acceptor does not want a link. A closed set: what a stranger sends must not get into our messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Refusal {
    /// The dialer means somebody else; this is who is here.
    SomebodyElse(MemberId),
    /// The dialer is not among the members that the acceptor knows, or claims the acceptor's own id.
    Unknown,
    /// The acceptor dials this member itself.
    WrongWay,
    /// The acceptor wants a proof, the dialer has no secret.
    SecretWanted,
    /// The proof is wrong: the secrets differ.
    WrongProof,
    /// The certificate does not name the host of the id that was claimed.
    WrongHost,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::SomebodyElse(id) => write!(f, "it is member {id}"),
            Refusal::Unknown => f.write_str("it does not know this member, or has the same id"),
            Refusal::WrongWay => f.write_str("it dials this member itself"),
            Refusal::SecretWanted => f.write_str("it wants a secret, and none is configured here"),
            Refusal::WrongProof => f.write_str("the secrets differ"),
            Refusal::WrongHost => f.write_str(
                "the certificate shown to it does not name this member's host in its server.N line",
            ),
        }
    }
}

/// Why a link did not come up.
#[derive(Debug, thiserror::Error)]
pub(super) enum GreetingError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the host has no address: {0}")]
    Unresolved(io::Error),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("the connection ended before it was known who is there")]
    Ended,
    #[error("it took longer than {0:?}")]
    TimedOut(std::time::Duration),
    #[error("what came is no greeting of a member")]
    Strange,
    #[error("it speaks version {0} of the greeting; this server knows {VERSION}")]
    Version(u8),
    #[error("refused there: {0}")]
    RefusedThere(Refusal),
    #[error("refused here: {claimed} {why}")]
    RefusedHere { claimed: String, why: &'static str },
    #[error("it proves no secret, and one is configured here")]
    NoSecret,
    #[error("its proof is wrong: the secrets differ")]
    WrongProof,
    #[error("its certificate does not name {0}, the host of its server.N line")]
    WrongHost(String),
}

impl Greeting {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = MAGIC.to_vec();
        body.push(VERSION);
        rmp_serde::encode::write_named(&mut body, self).expect("a greeting can be written to memory");
        body
    }

    pub(super) fn decode(body: &[u8]) -> Result<Greeting, GreetingError> {
        match body.strip_prefix(&MAGIC) {
            Some([VERSION, rest @ ..]) => rmp_serde::from_slice(rest).map_err(|_| GreetingError::Strange),
            Some([other, ..]) => Err(GreetingError::Version(*other)),
            Some([]) | None => Err(GreetingError::Strange),
        }
    }
}

/// Which end a proof is from.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Dialer,
    Acceptor,
}

/// What both ends of a link have agreed on before they prove anything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    pub(super) dialer: MemberId,
    pub(super) acceptor: MemberId,
    pub(super) dialers: Challenge,
    pub(super) acceptors: Challenge,
}

impl Exchange {
    fn mac(&self, end: End, secret: &Secret) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).expect("HMAC takes keys of any size");
        mac.update(&MAGIC);
        let end = match end {
            End::Dialer => b'd',
            End::Acceptor => b'a',
        };
        mac.update(&[VERSION, end, self.dialer.0, self.acceptor.0]);
        mac.update(&self.dialers);
        mac.update(&self.acceptors);
        mac
    }

    /// The proof of one end that it knows the secret.
    pub(super) fn proof(&self, end: End, secret: &Secret) -> ByteArray<32> {
        ByteArray::new(self.mac(end, secret).finalize().into_bytes().into())
    }

    /// Is this that proof? Compared without telling by its duration where the difference is.
    pub(super) fn is_proof(&self, end: End, secret: &Secret, proof: &[u8; 32]) -> bool {
        self.proof(end, secret).ct_eq(proof.as_slice()).into()
    }
}

/// Does the certificate name one of the member's hosts?
pub(super) fn names_host(certificate: &CertificateDer<'_>, member: &Member) -> bool {
    let Ok(certificate) = ParsedCertificate::try_from(certificate) else { return false };
    member.addresses.iter().any(|address| {
        ServerName::try_from(address.host.as_str())
            .is_ok_and(|host| verify_server_name(&certificate, &host).is_ok())
    })
}

/// What an acceptor says to a dialer before anything is proven.
pub(super) fn judge(
    me: MemberId,
    members: &[Member],
    guests: bool,
    from: MemberId,
    to: MemberId,
) -> Result<(), Refusal> {
    let known = members.iter().any(|member| member.id == from.0);
    if to != me {
        Err(Refusal::SomebodyElse(me))
    } else if from == me || !(known || guests) {
        Err(Refusal::Unknown)
    } else if known && from < me {
        Err(Refusal::WrongWay)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXCHANGE: Exchange =
        Exchange { dialer: MemberId(3), acceptor: MemberId(1), dialers: [7; 32], acceptors: [9; 32] };

    #[test]
    fn a_proof_is_good_for_one_end_of_one_exchange() {
        let secret = Secret::new("a secret of some length");
        let proof = *EXCHANGE.proof(End::Dialer, &secret);
        let holds = |exchange: Exchange, end, secret: &Secret| exchange.is_proof(end, secret, &proof);
        assert!(holds(EXCHANGE, End::Dialer, &secret));
        assert!(!holds(EXCHANGE, End::Acceptor, &secret), "it cannot be sent back");
        assert!(!holds(EXCHANGE, End::Dialer, &Secret::new("another secret")));
        for other in [
            Exchange { dialer: MemberId(2), ..EXCHANGE },
            Exchange { acceptor: MemberId(2), ..EXCHANGE },
            Exchange { dialers: [8; 32], ..EXCHANGE },
            Exchange { acceptors: [8; 32], ..EXCHANGE },
            Exchange { dialers: [9; 32], acceptors: [7; 32], ..EXCHANGE },
        ] {
            assert!(!holds(other, End::Dialer, &secret), "{other:?}");
        }
    }

    #[test]
    fn who_is_let_in() {
        let members: Vec<_> = ["1", "2", "3"].map(|id| Member::parse(id, "h:1:2").unwrap()).into();
        let check = |guests, from, to, expected| {
            assert_eq!(judge(MemberId(2), &members, guests, MemberId(from), MemberId(to)), expected);
        };
        check(false, 3, 2, Ok(()));
        check(false, 3, 1, Err(Refusal::SomebodyElse(MemberId(2))));
        check(false, 1, 2, Err(Refusal::WrongWay));
        check(false, 2, 2, Err(Refusal::Unknown));
        check(true, 2, 2, Err(Refusal::Unknown));
        check(false, 9, 2, Err(Refusal::Unknown));
        check(true, 9, 2, Ok(()));
        check(true, 0, 2, Ok(()));
    }

    #[test]
    fn greetings_are_read_back_and_others_are_told_apart() {
        let hello = Greeting::Hello {
            from: MemberId(3),
            to: MemberId(1),
            authenticates: true,
            challenge: ByteArray::new([5; 32]),
        };
        assert_eq!(Greeting::decode(&hello.encode()).unwrap(), hello);
        let mut later = hello.encode();
        later[MAGIC.len()] = 2;
        assert!(matches!(Greeting::decode(&later), Err(GreetingError::Version(2))));
        assert!(matches!(Greeting::decode(b"GET / HTTP/1.1"), Err(GreetingError::Strange)));
        assert!(matches!(Greeting::decode(b"rookery"), Err(GreetingError::Strange)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Greeting::decode(&bytes);
            let _ = Greeting::decode(&[&MAGIC[..], &[VERSION], &bytes].concat());
        }
    }
}
