//! What others wrote, on its way to a terminal: control characters are shown and not obeyed.

use std::borrow::Cow;

/// Whether a terminal may do something else than show it: C0, DEL, C1, and what turns the direction of text.
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with its control characters as escapes, such as `\u{1b}`.
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

/// A JSON text, the same to whoever parses it, in which no control character stands by itself. JSON
/// itself escapes those below U+0020 only.
pub(crate) fn json_shown(json: &str) -> Cow<'_, str> {
    if !json.contains(acts) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        match c {
            // White space between the parts.
            '\n' | '\r' | '\t' => out.push(c),
            c if acts(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
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
