//! What servers of an ensemble ask of their leader for their clients, and what it answers.
//!
//! The protocol between members carries letters as bytes: whole, in order, and only while the asking server is in step with
//! the leader. Several travel together.

use serde::{Deserialize, Serialize};

/// One wish or answer. A `serial` is the asking server's own number; it comes back with the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Letter {
    // ---- To the leader ----
    /// A command that wants a place in the order. The answer is its commit.
    Forward {
        serial: u64,
        #[serde(with = "serde_bytes")]
        command: Vec<u8>,
    },
    /// A client has come with a session it had elsewhere. From now on it is here.
    Revalidate {
        serial: u64,
        session: i64,
        timeout_ms: u32,
    },
    /// These sessions gave a sign of life.
    Touch {
        sessions: Vec<i64>,
    },
    /// How far must I be, so that nothing is missing that anybody was told before this?
    Sync {
        serial: u64,
    },

    // ---- From the leader ----
    /// The command gets no place: its session has moved to another server.
    Refused {
        serial: u64,
    },
    Revalidated {
        serial: u64,
        alive: bool,
    },
    /// Answers this and all earlier questions of the kind: this far.
    Synced {
        serial: u64,
        zxid: u64,
    },
}

const VERSION: u8 = 1;

/// Several, for one frame.
pub fn encode(letters: &[Letter]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.push(VERSION);
    rmp_serde::encode::write(&mut out, letters).expect("writing into memory cannot fail");
    out
}

/// Nothing, if the other server speaks otherwise.
pub fn decode(bytes: &[u8]) -> Option<Vec<Letter>> {
    let (&version, body) = bytes.split_first()?;
    (version == VERSION).then(|| rmp_serde::from_slice(body).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_survive_the_journey_and_nonsense_is_nothing() {
        let letters = vec![
            Letter::Forward { serial: 7, command: vec![1, 2, 3] },
            Letter::Touch { sessions: vec![-1, 5] },
            Letter::Synced { serial: u64::MAX, zxid: 1 },
        ];
        assert_eq!(decode(&encode(&letters)), Some(letters));
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[9, 0x90]), None);
        assert_eq!(decode(&[1, 0xc1]), None);
    }
}
