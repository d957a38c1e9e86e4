//! How the records of a batch are packed, and how they are unpacked without trusting what they say about themselves.
//!
//! Unpacking is a stream: whoever reads decides how much is ever held. The codecs' own windows are the only memory
//! besides: 32 KiB for gzip, two blocks of at most 8 MiB for lz4, at most 128 MiB for zstd (what its highest level
//! needs; the default level needs 2 MiB), and for snappy one block, which cannot grow to more than 32 times the bytes
//! that came.

use std::io::{self, Read, Write};

use bytes::buf::Reader;
use bytes::{Buf, Bytes};

/// The codecs that a batch can name in its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Why bytes could not be packed or unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// The attributes name a codec that does not exist.
    #[error("compression codec {0} is unknown")]
    UnknownCodec(u8),
    /// The bytes are not what the codec writes.
    #[error("{} data is damaged: {reason}", codec.name())]
    Malformed { codec: Codec, reason: String },
}

impl Codec {
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec with this number.
    pub fn from_wire(number: u8) -> Result<Codec, CompressionError> {
        Codec::ALL.get(usize::from(number)).copied().ok_or(CompressionError::UnknownCodec(number))
    }

    pub fn to_wire(self) -> u8 {
        self as u8
    }

    /// As settings and tools call it.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The codec that settings call so.
    pub fn from_name(name: &str) -> Option<Codec> {
        match name {
            "uncompressed" => Some(Codec::None),
            _ => Codec::ALL.into_iter().find(|codec| codec.name() == name),
        }
    }

    /// Appends `input`, packed, to `out`. Without a level the codec's own default is taken.
    pub fn compress(
        self,
        level: Option<i32>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let result = match self {
            Codec::None => {
                out.extend_from_slice(input);
                Ok(())
            }
            Codec::Gzip => compress_gzip(level, input, out),
            Codec::Snappy => compress_snappy(input, out),
            Codec::Lz4 => compress_lz4(input, out),
            Codec::Zstd => compress_zstd(level, input, out),
        };
        result.map_err(|error| CompressionError::malformed(self, error))
    }
}

impl CompressionError {
    fn malformed(codec: Codec, reason: impl ToString) -> CompressionError {
        CompressionError::Malformed { codec, reason: reason.to_string() }
    }
}

fn compress_gzip(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let level = level.map_or(flate2::Compression::default(), |level| {
        flate2::Compression::new(level.clamp(0, 9).unsigned_abs())
    });
    let mut encoder = flate2::write::GzEncoder::new(out, level);
    encoder.write_all(input)?;
    encoder.finish().map(drop)
}

fn compress_lz4(input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    // Blocks that stand alone are all that Kafka's Java decoder understands.
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(input)?;
    encoder.finish().map(drop).map_err(io::Error::other)
}

fn compress_zstd(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(out, level.unwrap_or(0))?;
    encoder.write_all(input)?;
    encoder.finish().map(drop)
}

/// What stands before the blocks of a snappy stream as Java writes it: a magic word and two version numbers.
const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// The part of the header that tells it from a bare block.
const XERIAL_MAGIC_BYTES: usize = 8;
/// The piece that Java packs at once.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// Snappy's densest element makes 64 bytes out of three; whoever claims more lies.
const SNAPPY_GROWTH_MAX: usize = 32;

fn compress_snappy(input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = snap::raw::Encoder::new();
    out.extend_from_slice(&XERIAL_HEADER);
    for piece in input.chunks(XERIAL_BLOCK_BYTES) {
        let start = out.len();
        out.resize(start + 4 + snap::raw::max_compress_len(piece.len()), 0);
        let length = encoder.compress(piece, &mut out[start + 4..])?;
        out[start..start + 4].copy_from_slice(&(length as u32).to_be_bytes());
        out.truncate(start + 4 + length);
    }
    Ok(())
}

/// A stream of unpacked bytes.
pub struct Decompressor {
    codec: Codec,
    stream: Box<dyn Read + Send>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("codec", &self.codec).finish_non_exhaustive()
    }
}

/// The largest window that a zstd stream may ask for: that of its highest level.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

impl Decompressor {
    pub fn new(codec: Codec, packed: Bytes) -> Result<Decompressor, CompressionError> {
        let packed = packed.reader();
        let stream: Box<dyn Read + Send> = match codec {
            Codec::None => Box::new(packed),
            Codec::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Codec::Snappy => Box::new(SnappyReader::new(packed)),
            Codec::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
            Codec::Zstd => Box::new(zstd_reader(packed).map_err(|e| CompressionError::malformed(codec, e))?),
        };
        Ok(Decompressor { codec, stream })
    }

    /// Fills the buffer from the front as far as one step of the codec does; zero is the end of the stream.
    pub fn fill(&mut self, buf: &mut [u8]) -> Result<usize, CompressionError> {
        self.stream.read(buf).map_err(|error| CompressionError::malformed(self.codec, error))
    }
}

fn zstd_reader(packed: Reader<Bytes>) -> io::Result<impl Read + Send> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// Blocks with their length before them, as Java writes them, or one bare block.
struct SnappyReader {
    packed: Bytes,
    framed: bool,
    block: Vec<u8>,
    read: usize,
}

impl SnappyReader {
    fn new(packed: Reader<Bytes>) -> SnappyReader {
        let mut packed = packed.into_inner();
        let framed =
            packed.len() >= XERIAL_HEADER.len() && packed.starts_with(&XERIAL_HEADER[..XERIAL_MAGIC_BYTES]);
        if framed {
            packed.advance(XERIAL_HEADER.len());
        }
        SnappyReader { packed, framed, block: Vec::new(), read: 0 }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let length = if self.framed {
            let length = self.packed.try_get_u32().map_err(|_| malformed("a block's length is cut off"))?;
            usize::try_from(length).map_err(io::Error::other)?
        } else {
            self.packed.len()
        };
        if length > self.packed.len() {
            return Err(malformed("a block reaches past the end"));
        }
        let packed = self.packed.split_to(length);
        let unpacked = snap::raw::decompress_len(&packed)?;
        if unpacked > packed.len().saturating_mul(SNAPPY_GROWTH_MAX) {
            return Err(malformed("a block claims to be larger than it can be"));
        }
        self.block.resize(unpacked, 0);
        self.read = 0;
        snap::raw::Decoder::new().decompress(&packed, &mut self.block)?;
        Ok(())
    }
}

fn malformed(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

impl Read for SnappyReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() && !self.packed.is_empty() {
            self.next_block()?;
        }
        let rest = &self.block[self.read..];
        let length = rest.len().min(buf.len());
        buf[..length].copy_from_slice(&rest[..length]);
        self.read += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpack(codec: Codec, packed: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let mut stream = Decompressor::new(codec, Bytes::copy_from_slice(packed))?;
        let (mut all, mut piece) = (Vec::new(), [0; 1000]);
        loop {
            match stream.fill(&mut piece)? {
                0 => return Ok(all),
                length => all.extend_from_slice(&piece[..length]),
            }
            assert!(all.len() < 64 << 20, "tests unpack nothing large");
        }
    }

    fn pack(codec: Codec, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        codec.compress(None, input, &mut out).expect("memory takes everything");
        out
    }

    #[test]
    fn names_and_numbers_are_kafkas() {
        let known: Vec<_> = Codec::ALL.iter().map(|codec| (codec.to_wire(), codec.name())).collect();
        assert_eq!(known, [(0, "none"), (1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")]);
        assert_eq!(Codec::from_wire(5), Err(CompressionError::UnknownCodec(5)));
        assert_eq!(Codec::from_name("uncompressed"), Some(Codec::None));
        assert_eq!(Codec::from_name("brotli"), None);
    }

    #[test]
    fn snappy_is_read_framed_and_bare() {
        let input = b"to and fro and ".repeat(5000);
        let framed = pack(Codec::Snappy, &input);
        assert!(framed.starts_with(b"\x82SNAPPY\0"));
        assert_eq!(unpack(Codec::Snappy, &framed), Ok(input.clone()));
        let bare = snap::raw::Encoder::new().compress_vec(&input).expect("fits");
        assert_eq!(unpack(Codec::Snappy, &bare), Ok(input));
    }

    #[test]
    fn a_declared_size_is_not_believed() {
        // A bare block that claims 4 GiB - 1 and holds one byte.
        let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, b'a'];
        assert!(
            unpack(Codec::Snappy, &lie).expect_err("a lie").to_string().contains("larger than it can be")
        );
        let mut framed = XERIAL_HEADER.to_vec();
        framed.extend_from_slice(&u32::MAX.to_be_bytes());
        assert!(unpack(Codec::Snappy, &framed).expect_err("a lie").to_string().contains("past the end"));
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(input in prop::collection::vec(any::<u8>(), 0..3000), times in 1_usize..100) {
            let input = input.repeat(times);
            for codec in Codec::ALL {
                prop_assert_eq!(unpack(codec, &pack(codec, &input)), Ok(input.clone()));
            }
        }

        #[test]
        fn noise_ends_in_an_error_or_in_bytes(
            noise in prop::collection::vec(any::<u8>(), 0..300),
            input in prop::collection::vec(any::<u8>(), 1..300),
            at in any::<prop::sample::Index>(),
            bit in 0_u32..8,
        ) {
            for codec in Codec::ALL {
                let _ = unpack(codec, &noise);
                let mut packed = pack(codec, &input);
                let at = at.index(packed.len());
                packed[at] ^= 1 << bit;
                let _ = unpack(codec, &packed);
                let _ = unpack(codec, &packed[..at]);
            }
        }
    }
}
