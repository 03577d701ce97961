//! The colours of terminals in a line: `ESC [`, numbers, `m`.

/// Returns the length of the colour at the beginning of a text (bytes); `None` if there is none.
pub(crate) fn colour_len(text: &[u8]) -> Option<usize> {
    let more = text.strip_prefix(b"\x1b[")?;
    let code = more.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    (more.get(code) == Some(&b'm')).then_some(2 + code + 1)
}

/// Returns a word without what follows its first escape: a level is followed by the end of its colour.
pub(super) fn before_colour(word: &str) -> &str {
    word.split('\u{1b}').next().unwrap_or(word)
}
