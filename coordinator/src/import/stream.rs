//! How are a snapshot's bytes read: plain, gzip or snappy, with the running checksum that its seals are compared with?

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::ImportError;

/// The longest field that is believed. ZooKeeper's own default is 1 MiB for a whole request; some raise it.
const FIELD_BYTES_MAX: usize = 64 << 20;

/// Reads big-endian fields from a stream that may be compressed.
pub(super) struct Stream {
    path: PathBuf,
    source: Box<dyn Read>,
    /// How many bytes were read, after decompression.
    offset: u64,
    adler: Adler32,
}

impl Stream {
    /// Opens a snapshot; its name's extension says how it is compressed.
    pub(super) fn open(path: &Path) -> Result<Stream, ImportError> {
        let file =
            BufReader::with_capacity(1 << 18, File::open(path).map_err(ImportError::io("open", path))?);
        let source: Box<dyn Read> = match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file))),
            Some("snappy") => Box::new(BufReader::new(XerialDecoder::new(file))),
            _ => Box::new(file),
        };
        Ok(Stream { path: path.to_path_buf(), source, offset: 0, adler: Adler32::new() })
    }

    /// The file is damaged where the next field starts.
    pub(super) fn damaged(&self, what: impl Into<String>) -> ImportError {
        ImportError::damaged(&self.path, self.offset, what)
    }

    fn failed(&self, error: io::Error) -> ImportError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("the file ends too early"),
            // What a decompressor says of its input.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => self.damaged(error.to_string()),
            _ => ImportError::io("read", &self.path)(error),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImportError> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(|error| self.failed(error))?;
        self.adler.update(&bytes);
        self.offset += N as u64;
        Ok(bytes)
    }

    pub(super) fn int(&mut self) -> Result<i32, ImportError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn long(&mut self) -> Result<i64, ImportError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Bytes with their length before them; −1 is null.
    pub(super) fn buffer(&mut self) -> Result<Option<Vec<u8>>, ImportError> {
        let length = match self.int()? {
            -1 => return Ok(None),
            length if length < 0 || length as usize > FIELD_BYTES_MAX => {
                return Err(self.damaged(format!("a field of {length} bytes is impossible")));
            }
            length => length as usize,
        };
        // Grows with what is really there, whatever the length claims.
        let mut bytes = Vec::new();
        let read = self.source.by_ref().take(length as u64).read_to_end(&mut bytes);
        read.map_err(|error| self.failed(error))?;
        if bytes.len() < length {
            return Err(self.damaged("the file ends too early"));
        }
        self.adler.update(&bytes);
        self.offset += length as u64;
        Ok(Some(bytes))
    }

    /// Text that must be there.
    pub(super) fn string(&mut self) -> Result<String, ImportError> {
        let bytes = self.buffer()?.ok_or_else(|| self.damaged("a text is missing"))?;
        text(bytes).map_err(|what| self.damaged(what))
    }

    /// The count of a vector's elements.
    pub(super) fn count(&mut self) -> Result<usize, ImportError> {
        let count = self.int()?;
        usize::try_from(count).map_err(|_| self.damaged(format!("a count of {count} is impossible")))
    }

    /// Reads a seal: the checksum of everything before it, and "/".
    pub(super) fn seal(&mut self) -> Result<(), ImportError> {
        let expected = i64::from(self.adler.value());
        let found = self.long()?;
        if found != expected {
            return Err(self.damaged("the snapshot fails its checksum"));
        }
        if self.string()? != "/" {
            return Err(self.damaged("the snapshot's seal is broken"));
        }
        Ok(())
    }

    /// How many bytes follow, if fewer than `most`; else `most`. Nothing is consumed.
    pub(super) fn remaining(&mut self, most: u64) -> Result<usize, ImportError> {
        let mut rest = Vec::new();
        self.source.by_ref().take(most).read_to_end(&mut rest).map_err(|error| self.failed(error))?;
        let length = rest.len();
        let source = std::mem::replace(&mut self.source, Box::new(io::empty()));
        self.source = Box::new(io::Cursor::new(rest).chain(source));
        Ok(length)
    }
}

/// Text as Java's ZooKeeper writes it: UTF-8, but with surrogates one by one, which no znode's path may contain.
fn text(bytes: Vec<u8>) -> Result<String, &'static str> {
    let mut field = Vec::with_capacity(bytes.len() + 4);
    field.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    field.extend_from_slice(&bytes);
    match client::wire::codec::Reader::new(&field).required_string() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err("a text cannot be read"),
    }
}

/// The checksum that ZooKeeper puts on snapshots and transactions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adler32 {
    a: u32,
    b: u32,
}

impl Adler32 {
    const MODULUS: u32 = 65_521;
    /// So many bytes can be summed up before a u32 overflows.
    const RUN: usize = 5_552;

    pub(super) fn new() -> Adler32 {
        Adler32 { a: 1, b: 0 }
    }

    pub(super) fn of(bytes: &[u8]) -> u32 {
        let mut adler = Adler32::new();
        adler.update(bytes);
        adler.value()
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        for run in bytes.chunks(Self::RUN) {
            for &byte in run {
                self.a += u32::from(byte);
                self.b += self.a;
            }
            self.a %= Self::MODULUS;
            self.b %= Self::MODULUS;
        }
    }

    pub(super) fn value(self) -> u32 {
        self.b << 16 | self.a
    }
}

/// Decodes the framing that Java's snappy streams use: a 16-byte header, then blocks with their length before them.
struct XerialDecoder<R> {
    source: R,
    started: bool,
    block: Vec<u8>,
    position: usize,
}

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Java writes blocks of 32 KiB before compression; this leaves room for others.
const XERIAL_BLOCK_BYTES_MAX: usize = 16 << 20;

impl<R: Read> XerialDecoder<R> {
    fn new(source: R) -> XerialDecoder<R> {
        XerialDecoder { source, started: false, block: Vec::new(), position: 0 }
    }

    /// Reads the next block; false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        if !self.started {
            let mut header = [0; 16];
            self.source.read_exact(&mut header)?;
            if header[..8] != XERIAL_MAGIC {
                return Err(invalid("this is no snappy stream"));
            }
            self.started = true;
        }
        let mut length = [0; 4];
        match self.source.read(&mut length)? {
            0 => return Ok(false),
            read => self.source.read_exact(&mut length[read..])?,
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > XERIAL_BLOCK_BYTES_MAX {
            return Err(invalid("a snappy block is too long"));
        }
        let mut packed = Vec::new();
        self.source.by_ref().take(length as u64).read_to_end(&mut packed)?;
        if packed.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let broken = |_| invalid("a snappy block cannot be unpacked");
        if snap::raw::decompress_len(&packed).map_err(broken)? > XERIAL_BLOCK_BYTES_MAX {
            return Err(invalid("a snappy block is too long"));
        }
        self.block = snap::raw::Decoder::new().decompress_vec(&packed).map_err(broken)?;
        self.position = 0;
        Ok(true)
    }
}

impl<R: Read> Read for XerialDecoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // An empty block is not the end.
        while self.position == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let length = buf.len().min(self.block.len() - self.position);
        buf[..length].copy_from_slice(&self.block[self.position..self.position + length]);
        self.position += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_adler_32() {
        assert_eq!(Adler32::of(b""), 1);
        assert_eq!(Adler32::of(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(Adler32::of(&[0xff; 100_000]), {
            let (a, b) = (0..100_000u64).fold((1u64, 0u64), |(a, b), _| {
                let a = (a + 255) % 65_521;
                (a, (b + a) % 65_521)
            });
            (b << 16 | a) as u32
        });
    }

    #[test]
    fn snappy_blocks_are_joined() {
        let mut framed = XERIAL_MAGIC.to_vec();
        framed.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        let mut expected = Vec::new();
        for block in [&[7u8; 50_000][..], b"", b"end"] {
            let packed = snap::raw::Encoder::new().compress_vec(block).expect("compresses");
            framed.extend_from_slice(&(packed.len() as u32).to_be_bytes());
            framed.extend_from_slice(&packed);
            expected.extend_from_slice(block);
        }
        let mut decoded = Vec::new();
        XerialDecoder::new(&framed[..]).read_to_end(&mut decoded).expect("sound");
        assert_eq!(decoded, expected);
        framed.pop();
        XerialDecoder::new(&framed[..]).read_to_end(&mut decoded).expect_err("cut");
    }
}
