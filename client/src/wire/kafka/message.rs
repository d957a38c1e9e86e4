//! What every message can do.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::api::ApiKey;
use super::field::Field;
use super::reader::{DecodeError, Problem, Reader};
use super::writer::{EncodeError, Writer, join};

/// Something with versions of its own: a request, a response, a record.
pub trait Message: Field + Default {
    const NAME: &'static str;
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields, if any has them.
    const FLEXIBLE_FROM: Option<i16>;

    /// Reads the message and leaves what follows it to the caller; [`Reader::finish`] tells whether anything does.
    /// Fields that `version` lacks have their default.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(DecodeError { field: Self::NAME, problem: Problem::UnknownVersion(version) });
        }
        reader.set_flexible(is_flexible::<Self>(version));
        Self::read(reader, version)
    }

    /// Reads a message that takes all of `bytes`.
    fn decode_all(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = Self::decode(&mut reader, version)?;
        reader.finish().map_err(|error| error.within(Self::NAME))?;
        Ok(message)
    }

    /// Writes the message as `version` has it. Fields which that version lacks are left out, and null becomes empty
    /// where it has no null: whoever picks the version knows what it cannot say.
    fn encode(&self, writer: &mut Writer, version: i16) {
        if !Self::VERSIONS.contains(&version) {
            return writer.fail(EncodeError::UnknownVersion { name: Self::NAME, version });
        }
        writer.set_flexible(is_flexible::<Self>(version));
        self.write(writer, version);
    }

    /// Reads a message with its version before it, as records and the blobs of consumers have it.
    fn decode_versioned(bytes: Bytes) -> Result<(i16, Self), DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.int16().map_err(|problem| DecodeError { field: Self::NAME, problem })?;
        let message = Self::decode(&mut reader, version)?;
        reader.finish().map_err(|error| error.within(Self::NAME))?;
        Ok((version, message))
    }

    /// Writes the version, then the message.
    fn encode_versioned(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut writer = Writer::new();
        writer.int16(version);
        self.encode(&mut writer, version);
        Ok(join(&writer.finish()?))
    }
}

fn is_flexible<M: Message>(version: i16) -> bool {
    M::FLEXIBLE_FROM.is_some_and(|from| version >= from)
}

/// A message that asks, and what answers it.
pub trait Request: Message {
    const KEY: ApiKey;
    type Response: Message;
}
