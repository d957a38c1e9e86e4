//! The side that dials.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_bytes::ByteArray;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::MemberId;
use super::door::{Desk, hear, say};
use super::greeting::{End, Exchange, Greeting, GreetingError, Refusal, names_host};
use super::transport::Transport;
use crate::config::Member;
use crate::limits;

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A link that stood this long was a good one: the next attempt may come soon again.
const GOOD: Duration = Duration::from_secs(1);

/// Keeps a link to one member, which may be any time away.
///
/// Members with a higher id dial us. Only if they do not, and guests are welcome, are they dialled too: they may not know of
/// us yet.
pub(super) async fn dial_for_ever(desk: Rc<Desk>, member: Member) {
    let peer = MemberId(member.id);
    let ours = peer < desk.me;
    if !ours && !desk.settings.guests {
        return;
    }
    let mut pause = if ours { PAUSE_MIN } else { PAUSE_MAX };
    let lookups = Arc::new(Semaphore::new(1));
    let mut told = String::new();
    for turn in 0.. {
        if turn > 0 || !ours {
            tokio::time::sleep(desk.with_jitter(pause)).await;
        }
        if desk.is_standing(peer) {
            // The other side has dialled, or a link is about to be replaced.
            continue;
        }
        let patience = desk.settings.links.handshake_timeout;
        let attempt = tokio::time::timeout(patience, desk.dial(&lookups, &member, turn)).await;
        match attempt.unwrap_or(Err(GreetingError::TimedOut(patience))) {
            Ok(transport) => {
                let since = Instant::now();
                told.clear();
                if let Err(error) = desk.deliver(peer, transport).await {
                    tracing::warn!(%peer, %error, "a link to a member came up and cannot be used");
                }
                if since.elapsed() >= GOOD {
                    pause = PAUSE_MIN;
                    continue;
                }
            }
            Err(GreetingError::RefusedThere(Refusal::WrongWay)) if !ours => {}
            Err(error) => {
                // Once for each thing that is wrong, not once for each attempt.
                let text = error.to_string();
                if ours && text != told {
                    tracing::warn!(%peer, %error, "no link to a member; it is tried again until there is one");
                } else {
                    tracing::debug!(%peer, %error, "no link to a member");
                }
                told = text;
            }
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

impl Desk {
    /// Somewhere between half of a pause and all of it, so that members that lost each other do not come back in step.
    fn with_jitter(&self, pause: Duration) -> Duration {
        let [byte] = self.random().unwrap_or([u8::MAX]);
        pause / 2 + pause * u32::from(byte) / 2 / u32::from(u8::MAX)
    }

    /// Connects to one of a member's ports, the next one at each turn, and finds out who is there.
    async fn dial(
        &self,
        lookups: &Arc<Semaphore>,
        member: &Member,
        turn: usize,
    ) -> Result<Transport, GreetingError> {
        let places: Vec<_> = member
            .addresses
            .iter()
            .flat_map(|address| {
                [address.quorum_port, address.election_port].map(|port| (&address.host, port))
            })
            .collect();
        let (host, port) = places[turn % places.len()];
        let addresses = self.resolve(lookups, host, port).await.map_err(GreetingError::Unresolved)?;
        let stream = self.connect(&addresses).await?;
        let session = match (&self.stores, &self.settings.links.tls) {
            (Some(stores), Some(tls)) if tls.dial => {
                let session = stores.dial(&stream, host).await?;
                if tls.verify_acceptor_host && !session.leaf().is_some_and(|leaf| names_host(leaf, member)) {
                    return Err(GreetingError::WrongHost(host.clone()));
                }
                Some(session)
            }
            _ => None,
        };
        let mut transport = Transport::new(stream, session);
        self.introduce(&mut transport, MemberId(member.id)).await?;
        Ok(transport)
    }

    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, GreetingError> {
        let patience = Duration::from_millis(limits::PEER_CONNECT_MILLIS_MAX);
        let mut failure = GreetingError::TimedOut(patience);
        for address in addresses {
            match tokio::time::timeout(patience, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error.into(),
                Err(_) => failure = GreetingError::TimedOut(patience),
            }
        }
        Err(failure)
    }

    async fn introduce(&self, transport: &mut Transport, peer: MemberId) -> Result<(), GreetingError> {
        let secret = self.settings.links.secret.as_ref();
        let dialers = self.random()?;
        let hello = Greeting::Hello {
            from: self.me,
            to: peer,
            authenticates: secret.is_some(),
            challenge: ByteArray::new(dialers),
        };
        say(transport, &hello).await?;
        let (authenticates, acceptors) = match hear(transport).await? {
            Greeting::Challenge { authenticates, challenge } => (authenticates, challenge),
            Greeting::Refused { reason } => return Err(GreetingError::RefusedThere(reason)),
            _ => return Err(GreetingError::Strange),
        };
        if secret.is_some() && !authenticates {
            return Err(GreetingError::NoSecret);
        }
        let exchange = Exchange { dialer: self.me, acceptor: peer, dialers, acceptors: *acceptors };
        let proof = secret.map(|secret| exchange.proof(End::Dialer, secret));
        say(transport, &Greeting::Proof { proof }).await?;
        match (hear(transport).await?, secret) {
            (Greeting::Welcome { .. }, None) => Ok(()),
            (Greeting::Welcome { proof: Some(proof) }, Some(secret)) => {
                if exchange.is_proof(End::Acceptor, secret, &proof) {
                    Ok(())
                } else {
                    Err(GreetingError::WrongProof)
                }
            }
            (Greeting::Welcome { proof: None }, Some(_)) => Err(GreetingError::NoSecret),
            (Greeting::Refused { reason }, _) => Err(GreetingError::RefusedThere(reason)),
            _ => Err(GreetingError::Strange),
        }
    }
}
