//! Which records a command is about.

use std::error::Error;

use serde_json::{Map, Value};

use super::Pairs;
use super::apps::text;
use super::condition::parameter;

/// What to check if no record meets a condition.
pub(super) const SPELLING: &str = "is each path spelt as in the records?";

/// Which records.
#[derive(Debug, clap::Args)]
pub(super) struct Matching {
    /// Conditions, all of which must hold: userId=u-42, userId!=u-42, res.statusCode>=500, err.type~card (contains),
    /// err (exists), !err (is missing). Quote those with > or <.
    #[arg(value_name = "CONDITION", value_parser = parameter)]
    conditions: Vec<(String, String)>,
    /// Levels, such as WARN,ERROR.
    #[arg(long, short)]
    level: Option<String>,
    /// A part of the message, in any case.
    #[arg(long, short, value_name = "TEXT")]
    search: Option<String>,
    /// Search the whole entry instead of its message.
    #[arg(long, requires = "search")]
    anywhere: bool,
}

/// The conditions of a filter, as the service names them.
pub(super) fn shown_filter(filter: &Value) -> String {
    let filter = filter.as_object().into_iter().flatten();
    filter.map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(" ")
}

impl Matching {
    /// Returns what may be wrong with conditions that no record meets.
    pub(super) fn hint(&self) -> Option<String> {
        let exists = self.conditions.iter().find(|(_, value)| value == "*");
        if let Some((name, _)) = exists {
            let path = name.strip_prefix("field.").unwrap_or(name);
            return Some(format!(
                "{path} alone asks for records with such a member; for text write --search {path}"
            ));
        }
        (!self.conditions.is_empty()).then(|| SPELLING.to_owned())
    }

    /// Returns the parameters of a query.
    pub(super) fn pairs(&self) -> Pairs {
        let options = [
            ("level", self.level.as_deref()),
            ("search", self.search.as_deref()),
            ("search_in", self.anywhere.then_some("all")),
        ];
        let options =
            options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        self.conditions.iter().cloned().chain(options).collect()
    }

    /// Returns the `filter` of a request's body.
    ///
    /// # Errors
    /// Two conditions on one path: a body takes one.
    pub(super) fn filter(&self) -> Result<Value, Box<dyn Error>> {
        let mut filter = Map::new();
        for (name, value) in self.pairs() {
            if filter.contains_key(&name) {
                return Err(format!("{name} is given twice").into());
            }
            filter.insert(name, value.into());
        }
        Ok(Value::Object(filter))
    }
}
