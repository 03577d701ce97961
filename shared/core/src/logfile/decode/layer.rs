//! One layer of compression: gzip (all members), zstd (all frames) or plain, decided by the bytes and by
//! nothing else.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::{Below, Damage, DecodeError};
use crate::logfile::outcome::{Reason, ReasonCode};

/// Size of the input buffer (compressed bytes).
const INPUT_BYTES: usize = 64 * 1024;

/// Maximum size of a chunk (decompressed bytes).
pub const CHUNK_BYTES: usize = 128 * 1024;

/// Output up to here is never taken for a bomb (bytes).
pub const EXPANSION_FREE_BYTES: u64 = 64 * 1024 * 1024;

/// Maximum ratio of output to input beyond that: logs of crash loops are 300 times as long.
pub const DEFAULT_MAX_EXPANSION_RATIO: u64 = 1_000;

/// Maximum window of a zstd frame (log 2 of bytes): 8 MiB, as used by `zstd -19`.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

const GZIP_WINDOW_BITS: u8 = 15;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

enum Codec {
    Undecided,
    Plain,
    /// Before a member, or after the last one.
    Gzip {
        members: u64,
    },
    GzipMember {
        members: u64,
        inflate: Decompress,
    },
    GzipPadding,
    Zstd {
        decoder: ZstdDecoder<'static>,
        inside_frame: bool,
    },
}

/// Undoes one layer of what it reads.
pub(super) struct Layer<R> {
    input: Input<R>,
    codec: Codec,
    chunk: Vec<u8>,
    /// Bytes of `chunk` that were looked at and not yet handed out.
    peeked: Option<usize>,
    /// How much of the object was read, of which this layer may be but a part.
    object_bytes: Rc<Cell<u64>>,
    /// Whether it reads the object itself.
    lowest: bool,
    total_out: u64,
    max_expansion_ratio: u64,
    max_total_out: u64,
    ended: Option<Option<Reason>>,
}

impl<R> std::fmt::Debug for Layer<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layer").field("total_out", &self.total_out).finish_non_exhaustive()
    }
}

impl<R: Read> Layer<R> {
    /// `max_total_out`: maximum bytes of output.
    pub(super) fn new(
        reader: R,
        object_bytes: Rc<Cell<u64>>,
        max_expansion_ratio: u64,
        max_total_out: u64,
    ) -> Self {
        Self {
            input: Input::new(reader),
            codec: Codec::Undecided,
            chunk: vec![0; CHUNK_BYTES],
            peeked: None,
            object_bytes,
            lowest: true,
            total_out: 0,
            max_expansion_ratio,
            max_total_out,
            ended: None,
        }
    }

    /// The first bytes that will come out.
    pub(super) fn peek(&mut self) -> Result<&[u8], DecodeError> {
        let filled = match self.peeked {
            Some(filled) => filled,
            None => self.fill()?,
        };
        self.peeked = Some(filled);
        Ok(&self.chunk[..filled])
    }

    /// The next bytes, at most [`CHUNK_BYTES`]; `None` at the end.
    ///
    /// # Errors
    /// As [`Decoder::next_chunk`](super::Decoder::next_chunk).
    pub(super) fn next_chunk(&mut self) -> Result<Option<&[u8]>, DecodeError> {
        let filled = match self.peeked.take() {
            Some(filled) => filled,
            None => self.fill()?,
        };
        match &self.ended {
            _ if filled > 0 => Ok(Some(&self.chunk[..filled])),
            Some(Some(reason)) => Err(DecodeError::Bad(reason.clone())),
            _ => Ok(None),
        }
    }

    fn fill(&mut self) -> Result<usize, DecodeError> {
        let mut filled = 0;
        while filled < CHUNK_BYTES && self.ended.is_none() {
            let (produced, ended) = self.step(filled)?;
            filled += produced;
            self.ended = ended;
        }
        // What ends here ends because the layer below does.
        if self.ended.is_some()
            && let Some(reason) = self.input.damage.take()
        {
            self.ended = Some(Some(reason));
        }
        let room = self.max_total_out - self.total_out;
        if filled as u64 > room {
            filled = room as usize;
            self.ended = Some(Some(Reason {
                code: ReasonCode::ExpansionLimit,
                message: format!(
                    "the file exceeds the limit of {} decompressed bytes (reached at byte {})",
                    self.max_total_out,
                    self.consumed()
                ),
            }));
        }
        self.total_out += filled as u64;
        let plain = self.lowest && matches!(self.codec, Codec::Plain);
        if !plain && self.ended.is_none() {
            let allowed = self.consumed().saturating_mul(self.max_expansion_ratio);
            if self.total_out > allowed.max(EXPANSION_FREE_BYTES) {
                self.ended = Some(Some(Reason {
                    code: ReasonCode::ExpansionLimit,
                    message: format!(
                        "{} compressed bytes expand to more than {} times as many",
                        self.consumed(),
                        self.max_expansion_ratio
                    ),
                }));
            }
        }
        Ok(filled)
    }

    /// How many bytes of the object became what came out.
    fn consumed(&self) -> u64 {
        if self.lowest { self.input.consumed() } else { self.object_bytes.get() }
    }

    /// Writes bytes to `chunk[filled..]`. Returns how many, and whether the end was reached.
    fn step(&mut self, filled: usize) -> Result<(usize, Option<Option<Reason>>), DecodeError> {
        const END: Option<Option<Reason>> = Some(None);
        self.input.fill()?;
        let input = &mut self.input;
        match &mut self.codec {
            Codec::Undecided => {
                self.codec = sniff(input.bytes())?;
                Ok((0, None))
            }
            Codec::Plain => {
                let count = input.bytes().len().min(CHUNK_BYTES - filled);
                self.chunk[filled..filled + count].copy_from_slice(&input.bytes()[..count]);
                input.take(count);
                Ok((count, if count == 0 { END } else { None }))
            }
            Codec::Gzip { members } => {
                let members = *members;
                match input.bytes() {
                    [] => return Ok((0, END)),
                    [0, ..] if members > 0 => self.codec = Codec::GzipPadding,
                    bytes if bytes.starts_with(&GZIP_MAGIC[..bytes.len().min(2)]) => {
                        let inflate = Decompress::new_gzip(GZIP_WINDOW_BITS);
                        self.codec = Codec::GzipMember { members, inflate };
                    }
                    _ => return Ok((0, Some(Some(input.garbage(self.total_out + filled as u64))))),
                }
                Ok((0, None))
            }
            Codec::GzipPadding => {
                let zeros = input.bytes().iter().take_while(|&&b| b == 0).count();
                input.take(zeros);
                Ok(match input.bytes() {
                    [] if input.eof => (0, END),
                    [] => (0, None),
                    _ => (0, Some(Some(input.garbage(self.total_out + filled as u64)))),
                })
            }
            Codec::GzipMember { members, inflate } => {
                let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
                let result =
                    inflate.decompress(input.bytes(), &mut self.chunk[filled..], FlushDecompress::None);
                let taken = (inflate.total_in() - before_in) as usize;
                let produced = (inflate.total_out() - before_out) as usize;
                input.take(taken);
                let at = self.total_out + (filled + produced) as u64;
                let bad = |code, what: &str| Some(Some(input.damage(code, what, at)));
                let ended = match result {
                    Ok(Status::StreamEnd) => {
                        self.codec = Codec::Gzip { members: *members + 1 };
                        None
                    }
                    Ok(_) if produced > 0 || taken > 0 => None,
                    Ok(_) => bad(ReasonCode::GzipTruncated, "the gzip stream is cut off"),
                    Err(_) => bad(ReasonCode::GzipCorrupt, "the gzip stream is damaged"),
                };
                Ok((produced, ended))
            }
            Codec::Zstd { decoder, inside_frame } => {
                if input.bytes().is_empty() && !*inside_frame {
                    return Ok((0, END));
                }
                let mut from = InBuffer::around(input.bytes());
                let mut to = OutBuffer::around(&mut self.chunk[filled..]);
                let result = decoder.run(&mut from, &mut to);
                let (taken, produced) = (from.pos(), to.pos());
                input.take(taken);
                let at = self.total_out + (filled + produced) as u64;
                let bad = |code, what: &str| Some(Some(input.damage(code, what, at)));
                let ended = match result {
                    Ok(hint) => {
                        *inside_frame = hint != 0;
                        let stuck = taken == 0 && produced == 0;
                        if stuck {
                            bad(ReasonCode::ZstdTruncated, "the zstd stream is cut off")
                        } else {
                            None
                        }
                    }
                    Err(error) => {
                        bad(ReasonCode::ZstdCorrupt, &format!("the zstd stream is damaged: {error}"))
                    }
                };
                Ok((produced, ended))
            }
        }
    }
}

impl<R: Read> Layer<Below<R>> {
    /// A layer that reads what comes out of the one `below`.
    pub(super) fn above(below: Layer<R>) -> Self {
        let (object_bytes, ratio) = (Rc::clone(&below.object_bytes), below.max_expansion_ratio);
        let max_total_out = below.max_total_out;
        let reader = Below { layer: Box::new(below), chunk: Vec::new(), at: 0 };
        Self { lowest: false, ..Self::new(reader, object_bytes, ratio, max_total_out) }
    }
}

/// Whether bytes that came out of one layer begin another.
pub(super) fn is_compressed(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b, 0x08]) || bytes.starts_with(&ZSTD_MAGIC)
}

/// What the bytes are, by their beginning: all of a short object, else [`INPUT_BYTES`] of it.
fn sniff(bytes: &[u8]) -> io::Result<Codec> {
    let begins =
        |magic: &[u8]| !bytes.is_empty() && bytes.starts_with(&magic[..magic.len().min(bytes.len())]);
    let skippable = |b: &[u8]| matches!(b, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
    if begins(&GZIP_MAGIC) {
        Ok(Codec::Gzip { members: 0 })
    } else if (bytes.len() > 1 && begins(&ZSTD_MAGIC)) || skippable(bytes) {
        let mut decoder = ZstdDecoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Codec::Zstd { decoder, inside_frame: false })
    } else {
        Ok(Codec::Plain)
    }
}

/// Compressed bytes. The buffer is always filled completely, so the result does not depend on the pieces in
/// which they arrive.
struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    total: u64,
    eof: bool,
    /// What is wrong with the bytes that do not come any more.
    damage: Option<Reason>,
}

impl<R: Read> Input<R> {
    fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; INPUT_BYTES], begin: 0, end: 0, total: 0, eof: false, damage: None }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.begin..self.end]
    }

    fn take(&mut self, count: usize) {
        self.begin += count;
    }

    fn consumed(&self) -> u64 {
        self.total - (self.end - self.begin) as u64
    }

    /// Fills the buffer if it has fewer than two bytes.
    fn fill(&mut self) -> io::Result<()> {
        if self.eof || self.end - self.begin >= 2 {
            return Ok(());
        }
        self.buffer.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        while self.end < self.buffer.len() {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.eof = true;
                    break;
                }
                Ok(count) => {
                    self.end += count;
                    self.total += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let Some(Damage(reason)) = error.get_ref().and_then(|error| error.downcast_ref()) else {
                        return Err(error);
                    };
                    self.damage = Some(reason.clone());
                    self.eof = true;
                    break;
                }
            }
        }
        Ok(())
    }

    fn garbage(&self, at: u64) -> Reason {
        self.damage(ReasonCode::GzipTrailingGarbage, "data that is not gzip follows", at)
    }

    /// What is wrong here; `at` is the place in what came out.
    fn damage(&self, code: ReasonCode, what: &str, at: u64) -> Reason {
        Reason { code, message: format!("{what} at byte {} (decompressed {at})", self.consumed()) }
    }
}
