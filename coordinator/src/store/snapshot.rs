//! How is a snapshot laid out, written and read?
//!
//! A snapshot is named `snapshot.<zxid, hex>`. It is written under another name, synced, renamed and read back before
//! anybody relies on it.
//!
//! ```text
//!  0  magic   8 bytes
//!  8  u32     format version
//! 12  zeros
//! 16  u64     zxid
//! 24  zeros
//! 28  u32     CRC32C of bytes 0..28
//! 32  frames: one HEADER, any number of CHUNKs, one TRAILER, one END, then the end of the file
//! ```
//!
//! A frame:
//!
//! ```text
//!  0  u32     CRC32C of the frame before (of the file header, for the first), continued over bytes 4.. of this frame
//!  4  u32     kind
//!  8  u32     length of the content
//! 12  u32     length as stored: if less than the content's, the content is compressed (LZ4 block)
//! 16  stored content
//! ```
//!
//! END holds the number of chunks and the sum of their content's lengths, as two u64. Each checksum continues the one
//! before, so frames that were left out, repeated or swapped are noticed like flipped bits.

use std::path::PathBuf;
use std::sync::Arc;

use super::CHUNK_BYTES_MAX;
use super::disk::{Disk, DiskFile};
use super::error::StoreError;
use super::log::UNFINISHED_SUFFIX;
use super::segment::parse_hex;

const MAGIC: [u8; 8] = *b"rookSNP\n";
const VERSION: u32 = 1;
const FILE_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 16;
const PREFIX: &str = "snapshot.";
/// How much is written between syncs. Less to write at once means that the log's own syncs wait less behind it.
const SYNC_BYTES: u64 = 4 << 20;
/// LZ4 cannot expand more than this.
const LZ4_RATIO_MAX: u64 = 255;

const HEADER: u32 = 1;
const CHUNK: u32 = 2;
const TRAILER: u32 = 3;
const END: u32 = 4;

const ADVICE: &str = "Remove or restore this file";

/// The name of the snapshot at this zxid.
pub(super) fn name(zxid: u64) -> String {
    format!("{PREFIX}{zxid:x}")
}

/// The zxid that a snapshot's name tells; `None` for any other file.
pub(super) fn parse_name(name: &str) -> Option<u64> {
    parse_hex(name.strip_prefix(PREFIX)?)
}

/// What a finished snapshot amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotSummary {
    pub zxid: u64,
    pub chunks: u64,
    /// Before compression.
    pub content_bytes: u64,
    pub file_bytes: u64,
}

/// Which file a snapshot is, byte for byte: members that walked the same tree may have written different files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotId {
    pub zxid: u64,
    pub file_bytes: u64,
    /// The last frame's checksum, which covers all frames before it.
    pub crc: u32,
}

/// Writes one snapshot. Dropped before [`SnapshotWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    zxid: u64,
    file: Box<dyn DiskFile>,
    offset: u64,
    synced: u64,
    crc: u32,
    chunks: u64,
    content_bytes: u64,
    frame: Vec<u8>,
    finished: bool,
}

impl SnapshotWriter {
    /// Begins the snapshot at `zxid`. `header` is whatever the reader needs before the chunks.
    pub fn create(disk: Arc<dyn Disk>, zxid: u64, header: &[u8]) -> Result<SnapshotWriter, StoreError> {
        let file = disk.create(&unfinished(zxid)).map_err(|source| StoreError::Io {
            action: "create",
            file: disk.path().join(unfinished(zxid)),
            source,
        })?;
        let mut start = [0; FILE_HEADER_BYTES as usize];
        start[0..8].copy_from_slice(&MAGIC);
        start[8..12].copy_from_slice(&VERSION.to_le_bytes());
        start[16..24].copy_from_slice(&zxid.to_le_bytes());
        let crc = crc32c::crc32c(&start[..28]);
        start[28..32].copy_from_slice(&crc.to_le_bytes());
        let mut writer = SnapshotWriter {
            disk,
            zxid,
            file,
            offset: 0,
            synced: 0,
            crc,
            chunks: 0,
            content_bytes: 0,
            frame: Vec::new(),
            finished: false,
        };
        writer.write(&start)?;
        writer.frame(HEADER, header)?;
        Ok(writer)
    }

    /// Adds a chunk.
    ///
    /// # Panics
    /// If it is longer than [`CHUNK_BYTES_MAX`]: no reader would accept it.
    pub fn chunk(&mut self, content: &[u8]) -> Result<(), StoreError> {
        self.chunks += 1;
        self.content_bytes += content.len() as u64;
        self.frame(CHUNK, content)
    }

    /// Ends the snapshot, makes it durable, and reads it back.
    pub fn finish(mut self, trailer: &[u8]) -> Result<SnapshotSummary, StoreError> {
        self.frame(TRAILER, trailer)?;
        let mut end = [0; 16];
        end[..8].copy_from_slice(&self.chunks.to_le_bytes());
        end[8..].copy_from_slice(&self.content_bytes.to_le_bytes());
        self.frame(END, &end)?;
        self.file.sync().map_err(|source| self.failed("sync", source))?;
        // Read back under the old name: a snapshot that cannot be read never gets its name.
        let written = verify(self.disk.as_ref(), &unfinished(self.zxid), self.zxid)?;
        let named = self.disk.rename(&unfinished(self.zxid), &name(self.zxid));
        named.map_err(|source| self.failed("rename", source))?;
        self.finished = true;
        self.disk.sync_dir().map_err(|source| self.failed("sync the directory of", source))?;
        Ok(written)
    }

    fn frame(&mut self, kind: u32, content: &[u8]) -> Result<(), StoreError> {
        assert!(content.len() <= CHUNK_BYTES_MAX, "a chunk of {} bytes is too long", content.len());
        let mut frame = std::mem::take(&mut self.frame);
        let room = FRAME_HEADER_BYTES as usize + lz4_flex::block::get_maximum_output_size(content.len());
        frame.clear();
        frame.resize(room, 0);
        let body = &mut frame[FRAME_HEADER_BYTES as usize..];
        let stored = match lz4_flex::block::compress_into(content, body) {
            Ok(length) if length < content.len() => length,
            // Not compressible; stored as it is.
            _ => {
                body[..content.len()].copy_from_slice(content);
                content.len()
            }
        };
        frame.truncate(FRAME_HEADER_BYTES as usize + stored);
        frame[4..8].copy_from_slice(&kind.to_le_bytes());
        frame[8..12].copy_from_slice(&(content.len() as u32).to_le_bytes());
        frame[12..16].copy_from_slice(&(stored as u32).to_le_bytes());
        self.crc = crc32c::crc32c_append(self.crc, &frame[4..]);
        frame[0..4].copy_from_slice(&self.crc.to_le_bytes());
        let written = self.write(&frame);
        self.frame = frame;
        written
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_at(bytes, self.offset).map_err(|source| self.failed("write to", source))?;
        self.offset += bytes.len() as u64;
        if self.offset - self.synced >= SYNC_BYTES {
            self.file.sync().map_err(|source| self.failed("sync", source))?;
            self.synced = self.offset;
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> StoreError {
        StoreError::Io { action, file: self.disk.path().join(unfinished(self.zxid)), source }
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            // If this fails, the next start removes the file.
            let _ = self.disk.remove(&unfinished(self.zxid));
        }
    }
}

fn unfinished(zxid: u64) -> String {
    format!("{}{UNFINISHED_SUFFIX}", name(zxid))
}

/// Reads a whole snapshot and throws the content away.
pub(super) fn verify(disk: &dyn Disk, file: &str, zxid: u64) -> Result<SnapshotSummary, StoreError> {
    let mut reader = SnapshotReader::open_file(disk, file, zxid)?;
    while reader.next_chunk()?.is_some() {}
    Ok(reader.summary())
}

/// Checks a whole snapshot's checksums, without unpacking it.
pub(super) fn check(disk: &dyn Disk, zxid: u64) -> Result<SnapshotId, StoreError> {
    let mut reader = SnapshotReader::open(disk, zxid)?;
    while reader.next_frame_of_chunks()?.is_some() {}
    Ok(reader.id())
}

/// Reads a whole snapshot under whatever name, unpacks it, and tells which one it is.
pub(super) fn identify(disk: &dyn Disk, file: &str, zxid: u64) -> Result<SnapshotId, StoreError> {
    let mut reader = SnapshotReader::open_file(disk, file, zxid)?;
    while reader.next_chunk()?.is_some() {}
    Ok(reader.id())
}

/// Reads a snapshot, checking every byte.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    zxid: u64,
    size: u64,
    offset: u64,
    crc: u32,
    header: Vec<u8>,
    trailer: Option<Vec<u8>>,
    chunks: u64,
    content_bytes: u64,
}

struct Frame {
    kind: u32,
    content_length: usize,
    stored: Vec<u8>,
}

impl SnapshotReader {
    /// Opens the snapshot at `zxid` and reads its header.
    pub fn open(disk: &dyn Disk, zxid: u64) -> Result<SnapshotReader, StoreError> {
        SnapshotReader::open_file(disk, &name(zxid), zxid)
    }

    pub(super) fn open_file(disk: &dyn Disk, name: &str, zxid: u64) -> Result<SnapshotReader, StoreError> {
        let path = disk.path().join(name);
        let failed = |action| {
            let file = path.clone();
            move |source| StoreError::Io { action, file, source }
        };
        let file = disk.open(name).map_err(failed("open"))?;
        let size = file.size().map_err(failed("read the size of"))?;
        let mut reader = SnapshotReader {
            file,
            path: path.clone(),
            zxid,
            size,
            offset: FILE_HEADER_BYTES,
            crc: 0,
            header: Vec::new(),
            trailer: None,
            chunks: 0,
            content_bytes: 0,
        };
        if size < FILE_HEADER_BYTES {
            return Err(reader.damaged(0, format!("the file has only {size} bytes, less than its header")));
        }
        let mut start = [0; FILE_HEADER_BYTES as usize];
        reader.file.read_exact_at(&mut start, 0).map_err(failed("read"))?;
        let u32_at = |at: usize| u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
        if start[..8] != MAGIC {
            return Err(reader.damaged(0, "this is no snapshot of this server"));
        }
        reader.crc = u32_at(28);
        if reader.crc != crc32c::crc32c(&start[..28]) {
            return Err(reader.damaged(0, "the file's header fails its checksum"));
        }
        if u32_at(8) != VERSION {
            return Err(
                reader.damaged(8, format!("snapshot format {} is not known to this release", u32_at(8)))
            );
        }
        let written_at = u64::from(u32_at(16)) | u64::from(u32_at(20)) << 32;
        if written_at != zxid {
            return Err(reader.damaged(16, format!("this is the snapshot at zxid 0x{written_at:x}")));
        }
        let frame = reader.next_frame()?;
        if frame.kind != HEADER {
            return Err(reader.damaged(FILE_HEADER_BYTES, "the first frame is no header"));
        }
        reader.header = reader.unpack(frame, FILE_HEADER_BYTES)?;
        Ok(reader)
    }

    /// The zxid whose effects, and those of all before it, the snapshot holds.
    pub fn zxid(&self) -> u64 {
        self.zxid
    }

    /// The header, as given to [`SnapshotWriter::create`].
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The trailer, as given to [`SnapshotWriter::finish`]; known after the last chunk.
    pub fn trailer(&self) -> Option<&[u8]> {
        self.trailer.as_deref()
    }

    /// Reads the next chunk; `None` after the last.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let start = self.offset;
        match self.next_frame_of_chunks()? {
            Some(frame) => self.unpack(frame, start).map(Some),
            None => Ok(None),
        }
    }

    fn summary(&self) -> SnapshotSummary {
        SnapshotSummary {
            zxid: self.zxid,
            chunks: self.chunks,
            content_bytes: self.content_bytes,
            file_bytes: self.size,
        }
    }

    /// Known after the last chunk.
    fn id(&self) -> SnapshotId {
        SnapshotId { zxid: self.zxid, file_bytes: self.size, crc: self.crc }
    }

    fn next_frame_of_chunks(&mut self) -> Result<Option<Frame>, StoreError> {
        if self.trailer.is_some() {
            return Ok(None);
        }
        let start = self.offset;
        let frame = self.next_frame()?;
        match frame.kind {
            CHUNK => {
                self.chunks += 1;
                self.content_bytes += frame.content_length as u64;
                Ok(Some(frame))
            }
            TRAILER => {
                self.trailer = Some(self.unpack(frame, start)?);
                self.end()?;
                Ok(None)
            }
            _ => Err(self.damaged(start, "the frame is neither chunk nor trailer")),
        }
    }

    fn end(&mut self) -> Result<(), StoreError> {
        let start = self.offset;
        let frame = self.next_frame()?;
        if frame.kind != END {
            return Err(self.damaged(start, "the frame after the trailer does not end the file"));
        }
        let mut totals = [0; 16];
        totals[..8].copy_from_slice(&self.chunks.to_le_bytes());
        totals[8..].copy_from_slice(&self.content_bytes.to_le_bytes());
        if self.unpack(frame, start)? != totals {
            return Err(self.damaged(start, "the totals do not agree with the chunks"));
        }
        if self.offset != self.size {
            return Err(self.damaged(self.offset, "the file goes on after its end"));
        }
        Ok(())
    }

    fn next_frame(&mut self) -> Result<Frame, StoreError> {
        let start = self.offset;
        let mut header = [0; FRAME_HEADER_BYTES as usize];
        if self.size - start < FRAME_HEADER_BYTES {
            return Err(self.damaged(start, "the file ends where a frame should start"));
        }
        self.read(&mut header, start)?;
        let u32_at =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (content, stored) = (u32_at(8), u32_at(12));
        let content_most = u64::from(stored) * LZ4_RATIO_MAX + 64;
        let sane =
            content as usize <= CHUNK_BYTES_MAX && stored <= content && u64::from(content) <= content_most;
        if !sane || u64::from(stored) > self.size - start - FRAME_HEADER_BYTES {
            return Err(self.damaged(start, "the frame's lengths are impossible or the file ends inside it"));
        }
        let mut bytes = vec![0; stored as usize];
        self.read(&mut bytes, start + FRAME_HEADER_BYTES)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(self.crc, &header[4..]), &bytes);
        if crc != u32_at(0) {
            return Err(self.damaged(start, "the frame fails its checksum"));
        }
        self.crc = crc;
        self.offset = start + FRAME_HEADER_BYTES + u64::from(stored);
        Ok(Frame { kind: u32_at(4), content_length: content as usize, stored: bytes })
    }

    fn unpack(&self, frame: Frame, start: u64) -> Result<Vec<u8>, StoreError> {
        if frame.stored.len() == frame.content_length {
            return Ok(frame.stored);
        }
        match lz4_flex::block::decompress(&frame.stored, frame.content_length) {
            Ok(content) if content.len() == frame.content_length => Ok(content),
            Ok(_) => Err(self.damaged(start, "the frame unpacks to another length than it says")),
            Err(error) => Err(self.damaged(start, format!("the frame cannot be unpacked: {error}"))),
        }
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let read = self.file.read_exact_at(bytes, offset);
        read.map_err(|source| StoreError::Io { action: "read", file: self.path.clone(), source })
    }

    fn damaged(&self, offset: u64, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { file: self.path.clone(), offset, what: what.into(), advice: ADVICE }
    }
}
