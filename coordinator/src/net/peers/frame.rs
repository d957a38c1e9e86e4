//! Frames on the wire: length and checksum (CRC32C of the body), four bytes each with the highest first, then the body.

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::PEER_READ_CHUNK_BYTES;

pub(super) const HEADER_BYTES: usize = 8;

/// Room below this is not worth a read of its own.
const ROOM_BYTES_MIN: usize = 4096;

/// Why bytes are no frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {length} bytes was announced; at most {max} are allowed")]
    Length { length: usize, max: usize },
    #[error("the checksum of a frame is wrong")]
    Checksum,
}

/// What stands before a body.
pub(super) fn header(body: &[u8]) -> [u8; HEADER_BYTES] {
    let length = u32::try_from(body.len()).expect("a frame is far below 4 GiB");
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&length.to_be_bytes());
    header[4..].copy_from_slice(&crc32c::crc32c(body).to_be_bytes());
    header
}

/// Bytes that came, and the frames among them. It grows with what has come, never with what was announced.
#[derive(Debug, Default)]
pub(super) struct FrameBuffer {
    bytes: BytesMut,
}

impl FrameBuffer {
    /// Where the next bytes go, and how many of them are wanted at most.
    pub(super) fn room(&mut self) -> (&mut BytesMut, usize) {
        if self.bytes.capacity() - self.bytes.len() < ROOM_BYTES_MIN {
            // A long frame doubles what it has, so that it is not copied for every chunk of it.
            self.bytes.reserve(self.bytes.len().max(PEER_READ_CHUNK_BYTES));
        }
        let room = self.bytes.capacity() - self.bytes.len();
        (&mut self.bytes, room)
    }

    /// Takes the next whole frame.
    pub(super) fn next(&mut self, max: usize) -> Result<Option<Bytes>, FrameError> {
        let Some(header) = self.bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let mut header = header.as_slice();
        let (length, checksum) = (header.get_u32() as usize, header.get_u32());
        if length > max {
            return Err(FrameError::Length { length, max });
        }
        if self.bytes.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        self.bytes.advance(HEADER_BYTES);
        let body = self.bytes.split_to(length).freeze();
        if crc32c::crc32c(&body) != checksum {
            return Err(FrameError::Checksum);
        }
        Ok(Some(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(body: &[u8]) -> Vec<u8> {
        [&header(body)[..], body].concat()
    }

    fn buffer(bytes: &[u8]) -> FrameBuffer {
        FrameBuffer { bytes: BytesMut::from(bytes) }
    }

    #[test]
    fn damage_and_excess_are_errors() {
        let mut bytes = encode(b"hello");
        bytes[10] ^= 1;
        assert_eq!(buffer(&bytes).next(5), Err(FrameError::Checksum));
        assert_eq!(buffer(&encode(b"hello")).next(4), Err(FrameError::Length { length: 5, max: 4 }));
        // Eight bytes are enough to refuse; nothing is reserved for what they announce.
        let mut announced = buffer(&[0xff; 8]);
        assert!(matches!(announced.next(64 << 20), Err(FrameError::Length { .. })));
        assert!(announced.room().0.capacity() <= 2 * PEER_READ_CHUNK_BYTES);
    }

    proptest! {
        #[test]
        fn frames_come_out_however_they_are_cut(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
            step in 1usize..40,
        ) {
            let wire: Vec<u8> = bodies.iter().flat_map(|body| encode(body)).collect();
            let mut buffer = FrameBuffer::default();
            let mut seen = Vec::new();
            for piece in wire.chunks(step) {
                buffer.room().0.extend_from_slice(piece);
                while let Some(body) = buffer.next(300).unwrap() {
                    seen.push(body.to_vec());
                }
            }
            prop_assert_eq!(seen, bodies);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let mut buffer = buffer(&bytes);
            while let Ok(Some(_)) = buffer.next(100) {}
        }
    }
}
