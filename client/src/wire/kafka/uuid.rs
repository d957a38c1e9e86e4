//! Topic ids and other 16-byte identifiers.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Sixteen bytes, written for people as 22 characters of URL-safe base64. All zero stands for "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    pub const ZERO: Uuid = Uuid([0; 16]);

    pub fn is_zero(self) -> bool {
        self == Uuid::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// The text is not an identifier in Kafka's notation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 22 characters of URL-safe base64")]
pub struct UuidError;

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Uuid, UuidError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| UuidError)?;
        bytes.try_into().map(Uuid).map_err(|_| UuidError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation_is_kafkas() {
        let id: Uuid = "pdMkkJcgS_CM27Vo2rXdGg".parse().unwrap();
        assert_eq!(id.0[..4], [0xa5, 0xd3, 0x24, 0x90]);
        assert_eq!(id.to_string(), "pdMkkJcgS_CM27Vo2rXdGg");
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        for bad in ["", "pdMkkJcgS_CM27Vo2rXdG", "pdMkkJcgS/CM27Vo2rXdGg", "pdMkkJcgS_CM27Vo2rXdGg=="] {
            assert_eq!(bad.parse::<Uuid>(), Err(UuidError), "{bad}");
        }
    }
}
