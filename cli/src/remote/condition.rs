//! Conditions on records, as they are written on the command line: `res.statusCode>=500`.

/// Returns the parameter of a condition.
///
/// `err` is about its existence, `!err` about its absence. `level`, `request_id` and `search` are the record's own.
pub(crate) fn parameter(text: &str) -> Result<(String, String), String> {
    let (negated, rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let Some(at) = rest.find(['=', '!', '<', '>', '~']) else {
        return match rest {
            "" => Err("a condition needs a path, such as userId=u-42".to_owned()),
            path if path.contains(|c: char| c.is_whitespace() || c == ':') => Err(format!(
                "{text:?} is no condition: for a part of the message write --search {path:?}, for a member path=value"
            )),
            path => Ok((name_of(path), if negated { "!*".to_owned() } else { "*".to_owned() })),
        };
    };
    let (path, comparison) = rest.split_at(at);
    if path.ends_with(char::is_whitespace) {
        return Err(format!("{text:?} has a space before its operator; write path=value without spaces"));
    }
    if comparison.starts_with("<>") {
        return Err(format!("{text:?} has no operator; write path!=value"));
    }
    if negated || path.is_empty() {
        return Err(format!(
            "{text:?} is no condition; write path=value, path!=value, path>=500, path~text or path"
        ));
    }
    // `=` alone stands between name and value; the other operators are part of the value.
    let value = match comparison.strip_prefix('=') {
        Some(value) => value.to_owned(),
        None => match comparison.strip_prefix("~=") {
            Some(value) => format!("~{value}"),
            None => comparison.to_owned(),
        },
    };
    if matches!(path, "level" | "request_id" | "search") && comparison.starts_with('=') {
        return Ok((path.to_owned(), value));
    }
    Ok((name_of(path), value))
}

fn name_of(path: &str) -> String {
    match path.starts_with("field.") || path.starts_with("context.") {
        true => path.to_owned(),
        false => format!("field.{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_become_parameters() {
        for (text, name, value) in [
            ("userId=u-42", "field.userId", "u-42"),
            ("userId==!x", "field.userId", "=!x"),
            ("userId=", "field.userId", ""),
            ("userId!=x", "field.userId", "!=x"),
            ("res.statusCode>=500", "field.res.statusCode", ">=500"),
            ("res.statusCode<500", "field.res.statusCode", "<500"),
            ("err.type~card", "field.err.type", "~card"),
            ("err.type~=card", "field.err.type", "~card"),
            ("err.type!~card", "field.err.type", "!~card"),
            ("err", "field.err", "*"),
            ("!err", "field.err", "!*"),
            ("context.user=7", "context.user", "7"),
            ("field.a=7", "field.a", "7"),
            ("level=ERROR", "level", "ERROR"),
            ("url=/a?b=c", "field.url", "/a?b=c"),
        ] {
            assert_eq!(parameter(text), Ok((name.to_owned(), value.to_owned())), "{text}");
        }
        for bad in [
            "",
            "!",
            "=",
            "=x",
            ">5",
            "!a=b",
            "card declined",
            "res.statusCode:500",
            "userId = u-4",
            "userId<>u-4",
        ] {
            assert!(parameter(bad).is_err(), "{bad}");
        }
    }
}
