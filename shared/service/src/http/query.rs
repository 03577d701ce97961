//! The parameters of a query string: taken by name, and refused by name.

use logferry_core::model::time_bound::TimeBound;
use serde_json::Value;

use super::fields::number;
use super::{ApiError, required};

/// The parameters of a query string, decoded, in order.
#[derive(Debug, Clone, Default)]
pub struct QueryParams {
    pairs: Vec<(String, String)>,
    taken: Vec<&'static str>,
}

impl QueryParams {
    /// Reads a query string.
    ///
    /// # Errors
    /// 400 if it is not UTF-8.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        if percent_encoding::percent_decode_str(text).decode_utf8().is_err() {
            return Err(ApiError::bad_request("query", "the query string must be UTF-8"));
        }
        Ok(Self { pairs: form_urlencoded(text), taken: Vec::new() })
    }

    /// All parameters that were not taken.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first value of a parameter.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The value of a parameter that occurs once.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.iter().filter(|(key, _)| *key == name).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }

    /// Takes the first value of a parameter.
    pub fn take(&mut self, name: &'static str) -> Option<String> {
        self.taken.push(name);
        let at = self.pairs.iter().position(|(key, _)| key == name)?;
        Some(self.pairs.remove(at).1)
    }

    /// Takes all parameters with such names.
    pub fn take_all(&mut self, named: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let (taken, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(name, _)| named(name));
        self.pairs = rest;
        taken
    }

    /// Takes a parameter that must be there.
    ///
    /// # Errors
    /// 400, naming it.
    pub fn require(&mut self, name: &'static str) -> Result<String, ApiError> {
        self.take(name).ok_or_else(|| required(name))
    }

    /// Takes a whole number between `least` and `most`.
    ///
    /// # Errors
    /// 400, naming it.
    pub fn take_number(
        &mut self,
        name: &'static str,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let value = text.parse::<u64>().map_or(Value::Null, Value::from);
        number(name, &value, least, most).map(Some)
    }

    /// Takes `true` or `false`; without the parameter it is `false`.
    ///
    /// # Errors
    /// 400, naming it.
    pub fn take_flag(&mut self, name: &'static str) -> Result<bool, ApiError> {
        match self.take(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::bad_request(name, format!("{name} must be true or false"))),
        }
    }

    /// Takes a bound of a range of time.
    ///
    /// # Errors
    /// 400, naming it.
    pub fn take_time(&mut self, name: &'static str) -> Result<Option<TimeBound>, ApiError> {
        let bound = self.take(name).map(|text| TimeBound::parse(&text)).transpose();
        bound.map_err(|bad| ApiError::bad_request(name, format!("{name} {bad}")))
    }

    /// Returns the first parameter that the request does not have.
    #[must_use]
    pub fn unknown(&self) -> Option<&str> {
        let (name, _) = self.pairs.first()?;
        (!self.taken.contains(&name.as_str())).then_some(name)
    }

    /// Refuses what was not taken: a misspelt filter must not look like an answer.
    ///
    /// # Errors
    /// 400, naming a parameter that the request does not have, or that occurs twice.
    pub fn finish(self) -> Result<(), ApiError> {
        let Some((name, _)) = self.pairs.first() else { return Ok(()) };
        let why = match self.unknown() {
            None => "must not be repeated",
            Some(_) => "is not a parameter of this request",
        };
        Err(ApiError::bad_request(name, format!("{name} {why}")))
    }
}

/// The pairs of a query string, decoded, in order.
fn form_urlencoded(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn query_strings_are_decoded_once_and_repeats_are_kept() {
        let query = QueryParams::parse("a=1%2B1+x&a=%25&b&=c").unwrap();
        let expected = [("a", "1+1 x"), ("a", "%"), ("b", ""), ("", "c")];
        assert_eq!(query.iter().collect::<Vec<_>>(), expected);
        assert_eq!((query.first("a"), query.only("a"), query.only("b")), (Some("1+1 x"), None, Some("")));
    }

    #[test]
    fn a_query_string_that_is_not_utf8_is_refused() {
        assert_eq!(QueryParams::parse("search=%C3%BC").unwrap().first("search"), Some("ü"));
        assert_eq!(QueryParams::parse("search=%FF").unwrap_err().details, Some(json!({"field": "query"})));
    }

    #[test]
    fn what_is_unknown_repeated_or_no_number_is_refused_by_name() {
        let refusal = |text: &str| {
            let mut query = QueryParams::parse(text).unwrap();
            let taken = query.take_number("limit", 1, 10).and_then(|_| query.take_flag("raw"));
            query.take_all(|name| name.starts_with("context."));
            taken.and_then(|_| query.finish()).err().map(|error| error.message)
        };
        assert_eq!(refusal("limit=3&raw=true&context.a=1&context.a=2"), None);
        for (text, message) in [
            ("limit=11", "limit must be a whole number from 1 to 10"),
            ("limit=-1", "limit must be a whole number from 1 to 10"),
            ("raw=yes", "raw must be true or false"),
            ("limit=3&limit=4", "limit must not be repeated"),
            ("colour=3", "colour is not a parameter of this request"),
        ] {
            assert_eq!(refusal(text).as_deref(), Some(message), "{text}");
        }
    }
}
