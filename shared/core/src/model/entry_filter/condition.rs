//! A condition on the values at a path of an entry.

use serde_json::value::RawValue;

use super::needle::Needle;
use super::operator::{self, Operator};
use crate::model::json;
use crate::model::record::{Entry, EntryKind};
use crate::model::record_view::{Field, LogRecord};

/// A path, and what is asked of the values there. A path starts at the entry as it was written, and at the fields
/// of the record that is made of it; either may have the value.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    path: String,
    /// The member of the record that the path starts with, if any.
    named: Option<Named>,
    operator: Operator,
    negated: bool,
    /// Texts that occur in the bytes of every JSON entry that has such a value.
    needles: Vec<Needle>,
}

/// A member of a record.
#[derive(Debug, Clone, Copy)]
enum Member {
    Message,
    Field(Field),
}

#[derive(Debug, Clone, Copy)]
struct Named {
    member: Member,
    /// Where the rest of the path begins; `None` if it ends with the member.
    rest: Option<usize>,
}

impl Named {
    fn of(path: &str) -> Option<Self> {
        let fields = Field::ALL.into_iter().map(|field| (field.as_str(), Member::Field(field)));
        std::iter::once(("message", Member::Message)).chain(fields).find_map(|(name, member)| {
            let rest = match path.strip_prefix(name)? {
                "" => None,
                rest if rest.starts_with('.') => Some(name.len() + 1),
                _ => return None,
            };
            Some(Self { member, rest })
        })
    }
}

impl Condition {
    /// `value` begins with its operator. `Err` says what is wrong with it.
    pub(super) fn new(path: &str, value: &str) -> Result<Self, String> {
        let operator::Asked { operator, negated } = operator::parse(value)?;
        let named = Named::of(path);
        let written = match named {
            // A record may have the member under a name that the entry does not have.
            Some(named) => named.rest.and_then(|rest| path.get(rest..)),
            None => Some(path),
        };
        // Each step is a key or a part of one, except steps that may be indexes of arrays.
        let keys = written.into_iter().flat_map(|path| path.split('.'));
        let keys = keys.filter(|step| !step.is_empty() && step.parse::<usize>().is_err());
        let key = keys.max_by_key(|step| step.len()).map(Needle::exact);
        let value = match &operator {
            Operator::Equal(operand) => operand.as_written().map(Needle::exact),
            Operator::Contains(needle) => Some(Needle::clone(needle)),
            Operator::Order { .. } | Operator::Exists => None,
        };
        let needles = key.into_iter().chain(value).collect();
        Ok(Self { path: path.to_owned(), named, operator, negated, needles })
    }

    /// `false` only if the entry certainly does not match. `hidden`: escapes of the entry may hide text.
    pub(super) fn may_match(&self, entry: &Entry<'_>, hidden: bool) -> bool {
        self.negated
            || match entry.kind {
                EntryKind::Json => hidden || self.needles.iter().all(|needle| needle.may_be_in(entry.raw)),
                // The names of what is read from a line of text do not stand in it.
                EntryKind::WorkerText | EntryKind::PlainText | EntryKind::LogText => self.named.is_some(),
            }
    }

    /// `false` only if certainly no entry of this text matches. The text has no escapes that hide text.
    pub(super) fn may_match_in(&self, entries: &str) -> bool {
        self.negated || self.named.is_some() || self.needles.iter().all(|needle| needle.may_be_in(entries))
    }

    /// Whether the entry matches. `record` returns it as a record, which is only made where the path needs it.
    pub(super) fn matches<'v, 'r: 'v>(
        &self,
        entry: &Entry<'_>,
        record: impl Fn() -> &'v LogRecord<'r>,
    ) -> bool {
        let (_, raw) = entry.parts();
        let as_written = entry.kind == EntryKind::Json
            && any_at(raw.trim_start(), Some(&self.path), &mut |value| self.operator.accepts(value));
        let found = as_written || self.named.is_some_and(|named| self.is_in(named, record()));
        found != self.negated
    }

    fn is_in(&self, named: Named, record: &LogRecord<'_>) -> bool {
        let rest = named.rest.and_then(|rest| self.path.get(rest..));
        let text = match named.member {
            Member::Message => &record.message,
            Member::Field(Field::RequestId) => match &record.request_id {
                Some(request_id) => request_id,
                None => return false,
            },
            Member::Field(field) => {
                let value = record.field(field);
                return value.is_some_and(|value| {
                    any_at(value.trim_start(), rest, &mut |value| self.operator.accepts(value))
                });
            }
        };
        let mut quoted = Vec::with_capacity(text.len() + 2);
        json::push_string(&mut quoted, text);
        rest.is_none() && String::from_utf8(quoted).is_ok_and(|text| self.operator.accepts(&text))
    }
}

/// Whether one of the values at `path` (`None`: this value) passes a test. Keys that contain dots are found as well. Of a
/// key that occurs twice the last counts. The time is linear in the length of the value, for each step of the path.
fn any_at(value: &str, path: Option<&str>, test: &mut dyn FnMut(&str) -> bool) -> bool {
    let Some(path) = path else { return test(value) };
    match value.as_bytes().first() {
        Some(b'{') => {
            // Keys that the path begins with: equal ones have the same length.
            let mut found: Vec<(usize, &RawValue)> = Vec::new();
            let whole = json::members(value, |name, raw| {
                let rest = path.as_bytes().strip_prefix(&*name);
                if rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'.'))) {
                    match found.iter_mut().find(|(length, _)| *length == name.len()) {
                        Some(earlier) => earlier.1 = raw,
                        None => found.push((name.len(), raw)),
                    }
                }
            });
            whole.is_some()
                && found.into_iter().any(|(length, raw)| {
                    let rest = path.get(length..).filter(|rest| !rest.is_empty());
                    any_at(raw.get(), rest.map(|rest| &rest[1..]), test)
                })
        }
        Some(b'[') => {
            let (index, rest) =
                path.split_once('.').map_or((path, None), |(index, rest)| (index, Some(rest)));
            let Ok(index) = index.parse::<usize>() else { return false };
            let items = serde_json::from_str::<Vec<&RawValue>>(value).unwrap_or_default();
            items.get(index).is_some_and(|item| any_at(item.get(), rest, test))
        }
        _ => false,
    }
}
