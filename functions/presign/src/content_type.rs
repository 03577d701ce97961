//! Content types: `type/subtype; name=value`. Values that could be parsed as two types are refused.
//! <https://www.rfc-editor.org/rfc/rfc9110#section-8.3.1>

/// Maximum length (bytes).
const MAX_BYTES: usize = 256;

/// Returns a valid content type without parameters, in lower case. Commas are refused even in quotes: of
/// several types in one header, parsers use the first or the last.
pub(crate) fn essence(text: &str) -> Option<String> {
    if text.len() > MAX_BYTES || text.contains(',') {
        return None;
    }
    let (essence, parameters) = match text.split_once(';') {
        Some((essence, parameters)) => (trimmed(essence), Some(parameters)),
        None => (text, None),
    };
    let (kind, subtype) = essence.split_once('/')?;
    let whole = is_token(kind) && is_token(subtype) && parameters.is_none_or(are_parameters);
    whole.then(|| essence.to_ascii_lowercase())
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn is_token(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(legal)
}

/// Whether this text, after the first semicolon, is a list of names with values.
fn are_parameters(mut rest: &str) -> bool {
    loop {
        let Some((name, after)) = rest.split_once('=') else { return false };
        if !is_token(name.trim_start_matches([' ', '\t'])) {
            return false;
        }
        let Some(after) = after_value(after) else { return false };
        match trimmed(after) {
            "" => return true,
            more => match more.strip_prefix(';') {
                Some(more) => rest = more,
                None => return false,
            },
        }
    }
}

/// Returns the text after a parameter's value: a token, or a quoted text.
fn after_value(text: &str) -> Option<&str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        return is_token(&text[..end]).then(|| &text[end..]);
    };
    let mut bytes = quoted.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(&quoted[at + 1..]),
            b'\\' => {
                bytes.next().filter(|(_, escaped)| (b' '..=b'~').contains(escaped))?;
            }
            b' '..=b'~' => {}
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_is_one_type_with_parameters_and_nothing_else() {
        for (text, is) in [
            ("video/mp4", Some("video/mp4")),
            ("Application/PDF", Some("application/pdf")),
            ("text/html; charset=utf-8", Some("text/html")),
            ("text/html ;charset=utf-8;\tx=\"a; \\\" b\"", Some("text/html")),
            ("image/svg+xml", Some("image/svg+xml")),
            ("", None),
            ("video", None),
            ("video/", None),
            ("/mp4", None),
            ("video/mp4/x", None),
            (" video/mp4", None),
            ("video/mp4 ", None),
            ("video/mp4, text/html", None),
            ("application/pdf;,text/html", None),
            ("application/pdf; x=\",text/html\"", None),
            ("application/pdf;", None),
            ("application/pdf; x", None),
            ("application/pdf; =x", None),
            ("application/pdf; x=", None),
            ("application/pdf; x=a b", None),
            ("application/pdf; x=\"a", None),
            ("application/pdf; x=\"a\\", None),
            ("application/pdf; x=\"ä\"", None),
            ("video /mp4", None),
            ("video/mp4\r\nx: y", None),
            ("vidéo/mp4", None),
        ] {
            assert_eq!(essence(text).as_deref(), is, "{text}");
        }
        assert_eq!(essence(&format!("video/{}", "x".repeat(MAX_BYTES))), None);
    }
}
