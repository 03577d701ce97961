//! Kinds of files that are known and are no logs, by the bytes at their beginning.

/// Where a tar archive has its magic, and what it is (bytes).
const TAR_AT: usize = 257;

/// What a file is that is no log; `None` for everything else.
pub(super) fn not_a_log(bytes: &[u8]) -> Option<&'static str> {
    let binary_after =
        |at: usize| bytes.get(at).is_some_and(|byte| *byte < 9 || *byte >= 0x80 || *byte == 0x15);
    let kinds: [(&[u8], &str); 19] = [
        (b"PK\x03\x04", "a zip archive"),
        (b"PK\x05\x06", "an empty zip archive"),
        (b"\xfd7zXZ\0", "an xz file"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"\x04\x22\x4d\x18", "an lz4 file"),
        (b"\xff\x06\0\0sNaPpY", "a snappy file"),
        (b"Obj\x01", "an Avro file"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"%PDF-", "a PDF document"),
        (b"\x89PNG\r\n", "a PNG image"),
        (b"\xff\xd8\xff", "a JPEG image"),
        (b"GIF87a", "a GIF image"),
        (b"GIF89a", "a GIF image"),
        (b"II*\0", "a TIFF image"),
        (b"\x7fELF", "an ELF executable"),
        (b"Rar!\x1a\x07", "a RAR archive"),
        (b"\xca\xfe\xba\xbe", "a Java class"),
        (b"\0asm", "a WebAssembly module"),
        (b"\x1f\x9d", "a compress (.Z) file"),
    ];
    if let Some((_, what)) = kinds.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(what);
    }
    if bytes.starts_with(b"PAR1") && binary_after(4) {
        return Some("a Parquet file");
    }
    if bytes.starts_with(b"ORC") && binary_after(3) {
        return Some("an ORC file");
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some("a WebP image");
    }
    if bytes.starts_with(b"BZh")
        && bytes.get(3).is_some_and(u8::is_ascii_digit)
        && bytes.get(4..6) == Some(b"1A")
    {
        return Some("a bzip2 file");
    }
    (bytes.get(TAR_AT..TAR_AT + 5) == Some(b"ustar")).then_some("a tar archive")
}
