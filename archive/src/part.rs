//! One file of an archive in memory: JSON lines under zstd.

use crate::{error::ArchiveError, line::Line, manifest::PartFile};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Cursor, Write};

/// zstd's own default: larger ones cost more time than they save bytes.
const LEVEL: i32 = 3;

/// A part that takes lines.
pub(crate) struct PartEncoder {
    encoder: zstd::Encoder<'static, Vec<u8>>,
    line: Vec<u8>,
    pub rows: u64,
    pub first_id: String,
    pub last_id: String,
}

impl PartEncoder {
    pub fn new() -> io::Result<Self> {
        let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
        encoder.include_checksum(true)?;
        let (first_id, last_id) = (String::new(), String::new());
        Ok(Self { encoder, line: Vec::new(), rows: 0, first_id, last_id })
    }

    pub fn push(&mut self, line: &Line) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.encoder.write_all(&self.line)?;
        self.rows += 1;
        self.last_id.clone_from(&line.id);
        if self.rows == 1 {
            self.first_id.clone_from(&line.id);
        }
        Ok(())
    }

    /// Compressed so far, but for what the encoder still holds.
    pub fn bytes(&self) -> u64 {
        self.encoder.get_ref().len() as u64
    }

    pub fn finish(self, name: String) -> io::Result<(PartFile, Bytes)> {
        let bytes = self.encoder.finish()?;
        let file = PartFile {
            name,
            rows: self.rows,
            bytes: bytes.len() as u64,
            sha256: sha256(&bytes),
            first_id: self.first_id,
            last_id: self.last_id,
        };
        Ok((file, bytes.into()))
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A part that gives its lines.
pub(crate) struct PartDecoder {
    lines: BufReader<zstd::Decoder<'static, BufReader<Cursor<Bytes>>>>,
    location: String,
}

impl PartDecoder {
    /// Checks size and hash against the manifest's entry.
    pub fn new(bytes: Bytes, file: &PartFile, location: String) -> Result<Self, ArchiveError> {
        if bytes.len() as u64 != file.bytes {
            let what = format!("it has {} bytes instead of {}", bytes.len(), file.bytes);
            return Err(ArchiveError::damaged(&location, what));
        }
        if sha256(&bytes) != file.sha256 {
            return Err(ArchiveError::damaged(&location, "its SHA-256 is not the manifest's"));
        }
        let decoder = zstd::Decoder::new(Cursor::new(bytes))
            .map_err(|error| ArchiveError::damaged(&location, error.to_string()))?;
        Ok(Self { lines: BufReader::new(decoder), location })
    }

    /// The next line without its end; `None` behind the last one.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, ArchiveError> {
        let mut line = Vec::new();
        let read = self.lines.read_until(b'\n', &mut line);
        read.map_err(|error| ArchiveError::damaged(&self.location, error.to_string()))?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            return Err(ArchiveError::damaged(&self.location, "its last line has no end"));
        }
        Ok(Some(line))
    }

    pub fn location(&self) -> &str {
        &self.location
    }
}
