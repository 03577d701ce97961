//! Decompresses an object's bytes as they arrive: gzip (all members), zstd (all frames) or plain, detected
//! from the bytes only. Data before damage is delivered before the damage is reported. Chunks depend on the
//! bytes only, not on how the reader splits them.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use crate::logfile::outcome::{Reason, ReasonCode};

/// Size of the input buffer (compressed bytes).
const INPUT_BYTES: usize = 64 * 1024;

/// Maximum size of a chunk (decompressed bytes).
pub const CHUNK_BYTES: usize = 128 * 1024;

/// Output below this size is never treated as a decompression bomb (bytes).
pub const EXPANSION_FREE_BYTES: u64 = 1024 * 1024;

/// Maximum ratio of output to input.
pub const DEFAULT_MAX_EXPANSION_RATIO: u64 = 200;

/// Maximum window of a zstd frame (log 2 of bytes): 8 MiB, as used by `zstd -19`.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

const GZIP_WINDOW_BITS: u8 = 15;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Why decompression stopped.
#[derive(Debug)]
pub enum DecodeError {
    /// The reader failed; the bytes themselves may be valid.
    Read(io::Error),
    /// The bytes are damaged, or there are too many.
    Bad(Reason),
}

impl From<io::Error> for DecodeError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

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

/// Decompresses a reader.
pub struct Decoder<R> {
    input: Input<R>,
    codec: Codec,
    chunk: Vec<u8>,
    total_out: u64,
    max_expansion_ratio: u64,
    max_total_out: u64,
    ended: Option<Option<Reason>>,
}

impl<R> std::fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("total_out", &self.total_out).finish_non_exhaustive()
    }
}

impl<R: Read> Decoder<R> {
    /// `max_total_out` is the maximum number of decompressed bytes.
    pub fn new(reader: R, max_expansion_ratio: u64, max_total_out: u64) -> Self {
        Self {
            input: Input { reader, buffer: vec![0; INPUT_BYTES], begin: 0, end: 0, total: 0, eof: false },
            codec: Codec::Undecided,
            chunk: vec![0; CHUNK_BYTES],
            total_out: 0,
            max_expansion_ratio,
            max_total_out,
            ended: None,
        }
    }

    /// Returns the next bytes, at most [`CHUNK_BYTES`]; `None` at the end.
    ///
    /// # Errors
    /// If the reader failed, or the following bytes are damaged. All valid bytes before them have been
    /// returned. Every later call returns the same error.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, DecodeError> {
        let mut filled = 0;
        while filled < CHUNK_BYTES && self.ended.is_none() {
            let (produced, ended) = self.step(filled)?;
            filled += produced;
            self.ended = ended;
        }
        let room = self.max_total_out - self.total_out;
        if filled as u64 > room {
            filled = room as usize;
            self.ended = Some(Some(Reason {
                code: ReasonCode::ExpansionLimit,
                message: format!(
                    "the file exceeds the limit of {} decompressed bytes (reached at byte {})",
                    self.max_total_out,
                    self.input.consumed()
                ),
            }));
        }
        self.total_out += filled as u64;
        if !matches!(self.codec, Codec::Plain) && self.ended.is_none() {
            let allowed = self.input.consumed().saturating_mul(self.max_expansion_ratio);
            if self.total_out > allowed.max(EXPANSION_FREE_BYTES) {
                self.ended = Some(Some(Reason {
                    code: ReasonCode::ExpansionLimit,
                    message: format!(
                        "{} compressed bytes expand to more than {} times their size",
                        self.input.consumed(),
                        self.max_expansion_ratio
                    ),
                }));
            }
        }
        match &self.ended {
            _ if filled > 0 => Ok(Some(&self.chunk[..filled])),
            Some(Some(reason)) => Err(DecodeError::Bad(reason.clone())),
            _ => Ok(None),
        }
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
                let bad = |code, what: &str| {
                    Some(Some(Reason {
                        code,
                        message: format!("{what} at byte {} (decompressed {at})", input.consumed()),
                    }))
                };
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
                let bad = |code, what: &str| {
                    Some(Some(Reason {
                        code,
                        message: format!("{what} at byte {} (decompressed {at})", input.consumed()),
                    }))
                };
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

/// Detects the codec from the first bytes: all of a short object, else [`INPUT_BYTES`].
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
}

impl<R: Read> Input<R> {
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
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn garbage(&self, at: u64) -> Reason {
        Reason {
            code: ReasonCode::GzipTrailingGarbage,
            message: format!("data that is not gzip follows at byte {} (decompressed {at})", self.consumed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Returns all bytes, and the code of the damage at their end.
    fn decode_from(reader: impl Read) -> (Vec<u8>, Option<ReasonCode>) {
        let mut decoder = Decoder::new(reader, DEFAULT_MAX_EXPANSION_RATIO, u64::MAX);
        let mut out = Vec::new();
        loop {
            match decoder.next_chunk() {
                Ok(Some(chunk)) => out.extend_from_slice(chunk),
                Ok(None) => return (out, None),
                Err(DecodeError::Bad(reason)) => return (out, Some(reason.code)),
                Err(DecodeError::Read(error)) => panic!("{error}"),
            }
        }
    }

    fn decode(bytes: &[u8]) -> (Vec<u8>, Option<ReasonCode>) {
        decode_from(bytes)
    }

    /// Text with little repetition.
    fn text(bytes: usize) -> Vec<u8> {
        let mut state = 7u64;
        (0..bytes)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                b'a' + ((state >> 59) as u8 & 15)
            })
            .collect()
    }

    /// A reader that returns a few bytes at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(self.1).min(out.len());
            let (now, later) = self.0.split_at(count);
            out[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    #[test]
    fn all_members_of_a_gzip_file_are_read() {
        for members in [1, 2, 50] {
            let parts: Vec<_> = (0..members).map(|i| text(1000 + i * 7)).collect();
            let file: Vec<u8> = parts.iter().flat_map(|part| gzip(part)).collect();
            assert_eq!(decode(&file), (parts.concat(), None));
        }
        let file = [gzip(b""), gzip(b"a"), gzip(b"")].concat();
        assert_eq!(decode(&file), (b"a".to_vec(), None));
    }

    #[test]
    fn zeros_after_the_last_member_are_padding_and_anything_else_is_garbage() {
        let good = gzip(b"hello");
        assert_eq!(decode(&[&good[..], &[0; 100_000]].concat()), (b"hello".to_vec(), None));
        for garbage in [b"x".as_slice(), b"\0\0x", b"\x1fx", b"hello again"] {
            let (bytes, code) = decode(&[&good[..], garbage].concat());
            assert_eq!(
                (bytes.as_slice(), code),
                (b"hello".as_slice(), Some(ReasonCode::GzipTrailingGarbage))
            );
        }
    }

    #[test]
    fn a_gzip_file_cut_anywhere_is_truncated_and_what_was_before_is_delivered() {
        let whole = text(6000);
        let file = gzip(&whole);
        let mut longest = 0;
        for end in 1..file.len() {
            let (bytes, code) = decode(&file[..end]);
            assert_eq!(code, Some(ReasonCode::GzipTruncated), "cut at {end}");
            assert!(whole.starts_with(&bytes));
            assert!(bytes.len() >= longest, "cut at {end}");
            longest = bytes.len();
        }
        assert_eq!(longest, whole.len());
        assert_eq!(decode(&[]), (vec![], None));
    }

    #[test]
    fn a_flipped_bit_never_passes_for_other_content() {
        let whole = text(600);
        let file = gzip(&whole);
        for bit in 16..file.len() * 8 {
            let mut bad = file.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let (bytes, code) = decode(&bad);
            assert!(code.is_some() || bytes == whole, "bit {bit}");
        }
    }

    #[test]
    fn wrong_checksum_and_wrong_length_are_corrupt_and_the_content_is_kept() {
        let file = gzip(b"hello");
        for at in [file.len() - 8, file.len() - 4] {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad), (b"hello".to_vec(), Some(ReasonCode::GzipCorrupt)));
        }
    }

    #[test]
    fn zstd_frames_and_skippable_frames_are_read() {
        let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let (a, b) = (text(300_000), text(10));
        let frame = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap();
        let file = [skippable.clone(), frame(&a), skippable, frame(&b)].concat();
        assert_eq!(decode(&file), ([a, b].concat(), None));
    }

    #[test]
    fn damaged_zstd_is_reported_and_what_was_before_is_delivered() {
        let whole = text(500_000);
        let file = zstd::bulk::compress(&whole, 3).unwrap();
        for end in [2, 5, 1000, file.len() - 1] {
            let (bytes, code) = decode(&file[..end]);
            assert_eq!(code, Some(ReasonCode::ZstdTruncated), "cut at {end}");
            assert!(whole.starts_with(&bytes));
        }
        let (bytes, code) = decode(&[&file[..], b"garbage"].concat());
        assert_eq!((bytes == whole, code), (true, Some(ReasonCode::ZstdCorrupt)));
    }

    #[test]
    fn plain_bytes_pass_whatever_they_are_called() {
        for plain in [b"hello".as_slice(), b"(", b"\x28", b"\0", &text(400_000)] {
            assert_eq!(decode(plain), (plain.to_vec(), None));
        }
    }

    #[test]
    fn a_bomb_is_stopped_after_the_first_mebibyte() {
        let bomb = gzip(&vec![0; 50_000_000]);
        let (bytes, code) = decode(&bomb);
        assert_eq!(code, Some(ReasonCode::ExpansionLimit));
        assert!(bytes.len() <= bomb.len() * 200 + 2_000_000, "{}", bytes.len());
        assert_eq!(decode(&gzip(&vec![0; 1_000_000])).1, None);
        let bomb = zstd::bulk::compress(&vec![0; 50_000_000], 3).unwrap();
        assert_eq!(decode(&bomb).1, Some(ReasonCode::ExpansionLimit));
    }

    proptest! {
        #[test]
        fn how_the_bytes_arrive_makes_no_difference(size in 0usize..300_000, step in 1usize..5000, cut in 0usize..1000) {
            let file = gzip(&text(size));
            let file = &file[..file.len() - cut.min(file.len())];
            prop_assert_eq!(decode_from(Dribble(file, step)), decode(file));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0usize..3) {
            let magic: &[u8] = [&GZIP_MAGIC[..], &ZSTD_MAGIC, &[]][kind];
            let _ = decode(&[magic, &bytes].concat());
        }
    }
}
