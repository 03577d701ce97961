//! A structured entry as one JSON line.

use serde::Serialize;
use serde_json::{Map, Value};

/// The entry of [`crate::BatchBuffer::add_structured`]: `level`, `message`, and if present `traceId`,
/// `requestId` and `fields`, in this order.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Structured {
    pub level: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

impl Structured {
    pub fn new(level: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: level.into(), message: message.into(), ..Self::default() }
    }

    /// Formats the entry as one line of JSON: line breaks inside the message are escaped.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_json_line_without_what_is_absent() {
        let mut entry = Structured::new("info", "User\nlogin");
        assert_eq!(entry.to_line(), r#"{"level":"info","message":"User\nlogin"}"#);
        entry.trace_id = Some("abc-123".into());
        entry.request_id = Some("req-456".into());
        entry.fields.insert("userId".into(), "user-789".into());
        entry.fields.insert("retries".into(), 0.into());
        assert_eq!(
            entry.to_line(),
            r#"{"level":"info","message":"User\nlogin","traceId":"abc-123","requestId":"req-456","fields":{"userId":"user-789","retries":0}}"#
        );
    }
}
