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

/// All bytes, and the code of the damage at their end.
fn decode_from(reader: impl Read) -> (Vec<u8>, Option<ReasonCode>) {
    let mut decoder = Decoder::new(reader, DEFAULT_MAX_EXPANSION_RATIO, u64::MAX);
    let mut out = Vec::new();
    loop {
        match decoder.next_chunk() {
            Ok(Some(chunk)) => out.extend_from_slice(chunk.bytes),
            Ok(None) => return (out, None),
            Err(DecodeError::Bad(reason)) => return (out, Some(reason.code)),
            Err(DecodeError::Read(error)) => panic!("{error}"),
        }
    }
}

fn decode(bytes: &[u8]) -> (Vec<u8>, Option<ReasonCode>) {
    decode_from(bytes)
}

/// Text that does not repeat itself too much.
fn text(bytes: usize) -> Vec<u8> {
    let mut state = 7u64;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            b'a' + ((state >> 59) as u8 & 15)
        })
        .collect()
}

/// Hands out a few bytes at a time.
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
        assert_eq!((bytes.as_slice(), code), (b"hello".as_slice(), Some(ReasonCode::GzipTrailingGarbage)));
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
fn honest_logs_of_one_line_over_and_over_are_read_and_bombs_are_stopped() {
    let line = b"[12345.678901] usb 1-1: device descriptor read/64, error -71 and again\n";
    let flood = gzip(&line.repeat(60 << 20 >> 6));
    assert_eq!(decode(&flood).1, None);
    for bomb in [gzip(&vec![0; 100_000_000]), zstd::bulk::compress(&vec![0; 100_000_000], 3).unwrap()] {
        let (bytes, code) = decode(&bomb);
        assert_eq!(code, Some(ReasonCode::ExpansionLimit));
        assert!(bytes.len() <= (64 << 20) + 2_000_000, "{}", bytes.len());
    }
    // A bomb in a bomb is measured by the object's own bytes.
    let twice = gzip(&gzip(&vec![0; 200_000_000]));
    assert_eq!(decode(&twice).1, Some(ReasonCode::ExpansionLimit));
}

#[test]
fn layers_of_gzip_and_zstd_are_undone_up_to_three() {
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let whole = text(300_000);
    for file in [
        gzip(&gzip(&whole)),
        zstd(&gzip(&whole)),
        gzip(&zstd(&whole)),
        gzip(&zstd(&gzip(&whole))),
        [gzip(&gzip(&whole[..1000])), gzip(&gzip(&whole[1000..]))].concat(),
    ] {
        assert_eq!(decode(&file), (whole.clone(), None));
    }
    assert_eq!(decode(&gzip(&gzip(&gzip(&gzip(b"x"))))), (Vec::new(), Some(ReasonCode::NotALog)));
    // Damage of a lower layer is reported, and what was good before it is kept.
    let file = gzip(&gzip(&whole));
    let (bytes, code) = decode(&file[..file.len() / 2]);
    assert_eq!(code, Some(ReasonCode::GzipTruncated));
    assert!(bytes.len() > 10_000 && whole.starts_with(&bytes));
}

#[test]
fn utf16_comes_out_as_utf8_and_says_so_once() {
    let text = "2025-04-01 18:34:01 spid5s Grüße 😀\r\n".repeat(10_000);
    let bytes: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for file in [bytes.clone(), gzip(&bytes)] {
        let mut decoder = Decoder::new(file.as_slice(), DEFAULT_MAX_EXPANSION_RATIO, u64::MAX);
        let (mut out, mut original, mut marks) = (Vec::new(), 0, Vec::new());
        while let Some(chunk) = decoder.next_chunk().unwrap() {
            out.extend_from_slice(chunk.bytes);
            original += chunk.original_bytes;
            marks.extend(chunk.utf16_from);
        }
        assert_eq!(
            (String::from_utf8(out).unwrap() == text, original, marks),
            (true, bytes.len() as u64, vec![2])
        );
    }
}

#[test]
fn archives_and_other_files_are_no_logs_and_are_named() {
    let mut tar = vec![b'a'; 257];
    tar.extend_from_slice(b"ustar\x0000");
    for (bytes, name) in [
        (b"PK\x03\x04x".to_vec(), "zip"),
        (tar, "tar"),
        (b"BZh91AY&SY".to_vec(), "bzip2"),
        (b"\xfd7zXZ\0".to_vec(), "xz"),
        (b"PAR1\x15\x04".to_vec(), "Parquet"),
        (b"SQLite format 3\0".to_vec(), "SQLite"),
        (b"\x7fELF\x02".to_vec(), "ELF"),
        (b"%PDF-1.7".to_vec(), "PDF"),
    ] {
        for file in [bytes.clone(), gzip(&bytes)] {
            let mut decoder = Decoder::new(file.as_slice(), DEFAULT_MAX_EXPANSION_RATIO, u64::MAX);
            let Err(DecodeError::Bad(reason)) = decoder.next_chunk() else { panic!("{name}") };
            assert_eq!(reason.code, ReasonCode::NotALog);
            assert!(reason.message.contains(name), "{}", reason.message);
        }
    }
    for text in ["PAR1 of the log\n", "ORC ready\n", "BZh is no magic\n", "Object created\n"] {
        assert_eq!(decode(text.as_bytes()), (text.as_bytes().to_vec(), None));
    }
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
        let magic: &[u8] = [&[0x1f, 0x8b][..], &[0x28, 0xb5, 0x2f, 0xfd], &[]][kind];
        let _ = decode(&[magic, &bytes].concat());
    }
}
