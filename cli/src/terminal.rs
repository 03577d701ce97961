//! Sanitizes text for a terminal: control characters are shown as escapes.

use std::borrow::Cow;
use std::io::{self, Write};

/// Whether a terminal would interpret the character: C0, DEL, C1, and changes of text direction.
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the text with its control characters as escapes, such as `\u{1b}`.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if acts(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// Returns equivalent JSON without literal control characters. JSON itself only requires escapes below
/// U+0020.
pub(crate) fn json_shown(json: &str) -> Cow<'_, str> {
    if !json.contains(acts) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        match c {
            // White space between tokens.
            '\n' | '\r' | '\t' => out.push(c),
            c if acts(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Prints what a command has done as a line of JSON. Without a reader it goes to standard error: the work is
/// done, and more may follow.
pub(crate) fn print_json(json: &str) {
    let line = json_shown(json);
    if writeln!(io::stdout(), "{line}").is_err() {
        eprintln!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_everything_else_is_as_it_was() {
        assert_eq!(shown("Zeile ü 日本 \u{1f980}"), "Zeile ü 日本 \u{1f980}");
        assert_eq!(shown("a\u{1b}]0;x\u{7}\u{9b}31m\r\n"), "a\\u{1b}]0;x\\u{7}\\u{9b}31m\\r\\n");
        assert_eq!(shown("gpj\u{202e}.exe"), "gpj\\u{202e}.exe");
    }

    #[test]
    fn json_means_the_same_and_has_no_control_character() {
        let value = serde_json::json!({"a": "\u{7f}\u{85}\u{9b}\u{1b}ü", "\u{9d}": [1, "\u{2066}"]});
        for json in [value.to_string(), format!("{value:#}")] {
            let safe = json_shown(&json);
            assert!(!safe.replace('\n', "").contains(acts), "{safe:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        }
    }
}
