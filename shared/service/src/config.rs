//! Configuration from a lookup; all problems are reported at once.
//!
//! A function's config is a struct with `from_lookup(lookup)`, which names each variable as a string
//! literal. A test compares those names with `template.yaml`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::redaction::RedactionRules;

/// All problems of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadConfig(Vec<String>);

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration: {}", self.0.join("; "))
    }
}

impl std::error::Error for BadConfig {}

/// Reads variables and collects problems.
///
/// ```
/// use logferry_service::config::Reader;
/// let mut read = Reader::new(|name| (name == "TABLE_LOGS").then(|| "logs".to_owned()));
/// let table = read.required("TABLE_LOGS");
/// let days: u32 = read.parsed_or("RETENTION_DAYS_DEFAULT", 30);
/// assert_eq!(read.finish((table, days)), Ok(("logs".to_owned(), 30)));
/// ```
#[derive(Debug)]
pub struct Reader<L> {
    lookup: L,
    problems: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    pub fn new(lookup: L) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// Reads a required, non-empty variable.
    pub fn required(&mut self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| {
            self.problems.push(format!("{name} is not set"));
            String::new()
        })
    }

    /// Reads an optional variable; empty counts as missing.
    pub fn optional(&mut self, name: &str) -> Option<String> {
        self.get(name)
    }

    /// Parses a variable, with a default if it is missing.
    pub fn parsed_or<T: FromStr>(&mut self, name: &str, default: T) -> T {
        match self.get(name) {
            None => default,
            Some(text) => text.parse().unwrap_or_else(|_| {
                self.problems.push(format!("{name} is not a {}", short_type_name::<T>()));
                default
            }),
        }
    }

    /// Parses a required variable. The value returned after a problem is never used.
    pub fn parsed<T: FromStr + Default>(&mut self, name: &str) -> T {
        let text = self.required(name);
        if text.is_empty() {
            return T::default();
        }
        text.parse().unwrap_or_else(|_| {
            self.problems.push(format!("{name} is not a {}", short_type_name::<T>()));
            T::default()
        })
    }

    /// Parses a required variable of a type without default. `None` after a problem.
    pub fn typed<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Option<T> {
        let Some(text) = self.get(name) else {
            self.problems.push(format!("{name} is not set"));
            return None;
        };
        text.parse().map_err(|error| self.problems.push(format!("{name}: {error}"))).ok()
    }

    /// Reads a comma-separated list; empty if missing.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let text = self.get(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// Reads the redaction rules from their variables.
    pub fn redactor(
        &mut self,
        names: Option<String>,
        query: Option<String>,
        patterns: Option<String>,
    ) -> Arc<RedactionRules> {
        let made = RedactionRules::configured(names.as_deref(), query.as_deref(), patterns.as_deref());
        Arc::new(made.unwrap_or_else(|bad| {
            self.problems.push(format!("REDACT_PATTERNS: {bad}"));
            RedactionRules::default()
        }))
    }

    /// Records a problem that the type does not express.
    pub fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// Returns the config, or all problems.
    ///
    /// # Errors
    /// [`BadConfig`] with one line per problem.
    pub fn finish<T>(self, config: T) -> Result<T, BadConfig> {
        if self.problems.is_empty() { Ok(config) } else { Err(BadConfig(self.problems)) }
    }
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    /// Like [`Reader::finish`], for a config with parts from [`Reader::typed`].
    ///
    /// # Errors
    /// [`BadConfig`] with one line per problem.
    pub fn finish_typed<T>(self, config: Option<T>) -> Result<T, BadConfig> {
        match config {
            Some(config) => self.finish(config),
            None => Err(BadConfig(self.problems)),
        }
    }
}

fn short_type_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}

/// Looks up a variable in the process's environment.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_reported_at_once() {
        let mut read = Reader::new(|name| (name == "SIZE").then(|| "big".to_owned()));
        let _ = read.required("TABLE");
        let _: u64 = read.parsed_or("SIZE", 1);
        let _: u64 = read.parsed("OTHER");
        assert_eq!(
            read.finish(()).unwrap_err().to_string(),
            "configuration: TABLE is not set; SIZE is not a u64; OTHER is not set"
        );
    }
}
