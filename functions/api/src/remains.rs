//! What a deletion does not reach, and until when it stays.

use std::collections::BTreeSet;

use logferry_core::model::app::App;
use logferry_core::model::time::{MS_PER_DAY, rfc3339_ms};
use serde::Serialize;
use utoipa::ToSchema;

/// Days that the failure bucket keeps its files, as in template.yaml.
const FAILURE_BUCKET_DAYS: i64 = 90;
/// Days that a table can be restored to.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Point-in-time-recovery.html>
const RECOVERY_DAYS: i64 = 35;

/// How long copies of records are kept.
#[derive(Debug, Clone, Default)]
pub struct Retentions {
    pub log_group_prefix: String,
    /// Of the log groups of apps without a retention; `None`: forever.
    pub log_retention_days: Option<u32>,
    /// Of uploaded files; `None`: forever.
    pub object_retention_days: Option<u32>,
    /// Whether the table of records can be restored to an earlier time.
    pub recover_logs: bool,
}

/// A place that still has copies of deleted records.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Remaining {
    /// `cloudwatch_logs`, `uploaded_files`, `failure_bucket` or `table_backups`.
    #[schema(example = "cloudwatch_logs")]
    place: &'static str,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Nothing of it is there after this time. Null: it stays until it is deleted.
    #[schema(required, format = DateTime)]
    until: Option<String>,
    note: &'static str,
}

/// Returns the files that an erasure did not reach, by the names of
/// [`Erasure::not_reached`](logferry_core::ports::erasures::Erasure).
pub(crate) fn not_reached(names: BTreeSet<String>) -> impl Iterator<Item = Remaining> {
    names.into_iter().map(|name| Remaining {
        place: "uploaded_files",
        until: None,
        note: match name.contains('/') {
            true => "this file could not be removed: delete it where it is stored",
            false => "more files of this bucket could not be removed: delete them there",
        },
        name: Some(name),
    })
}

impl Retentions {
    /// Returns the places that keep records of an app that were deleted at this time.
    pub(crate) fn remaining(&self, app: &App, deleted_ms: i64, erases_files: bool) -> Vec<Remaining> {
        let after = |days: i64| Some(rfc3339_ms(deleted_ms.saturating_add(days * MS_PER_DAY)));
        let log_days = app.retention_days.or(self.log_retention_days);
        let mut places = vec![
            Remaining {
                place: "cloudwatch_logs",
                name: Some(format!("{}/{}", self.log_group_prefix, app.app_id)),
                until: log_days.and_then(|days| after(days.into())),
                note: "records that were forwarded stay until they expire, or until the log group is deleted",
            },
            Remaining {
                place: "uploaded_files",
                name: None,
                until: self.object_retention_days.and_then(|days| after(days.into())),
                note: match erases_files {
                    true => "files whose records are not stored any more were not searched",
                    false => "the files that the records came from stay",
                },
            },
            Remaining {
                place: "failure_bucket",
                name: None,
                until: after(FAILURE_BUCKET_DAYS),
                note: "records that could not be forwarded, if any",
            },
        ];
        if self.recover_logs {
            places.push(Remaining {
                place: "table_backups",
                name: None,
                until: after(RECOVERY_DAYS),
                note: "the table of records can be restored to an earlier time",
            });
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(retention_days: Option<u32>) -> App {
        App {
            app_id: "shop".parse().unwrap(),
            name: "Shop".to_owned(),
            registered_ms: 0,
            retention_days,
            pruned_before_ms: None,
            flush: logferry_core::model::app::FlushSetting::default(),
            health_checks: serde_json::Value::Null,
            alerts: Vec::new(),
        }
    }

    #[test]
    fn each_place_has_the_date_of_its_own_retention() {
        let retentions = Retentions {
            log_group_prefix: "/logs".to_owned(),
            log_retention_days: Some(30),
            object_retention_days: None,
            recover_logs: true,
        };
        let places = |app: &App| -> Vec<(&str, Option<String>)> {
            let places = retentions.remaining(app, 0, false);
            places.into_iter().map(|place| (place.place, place.until)).collect()
        };
        let day = |text: &str| Some(format!("1970-{text}T00:00:00.000Z"));
        let expected = [
            ("cloudwatch_logs", day("01-31")),
            ("uploaded_files", None),
            ("failure_bucket", day("04-01")),
            ("table_backups", day("02-05")),
        ];
        assert_eq!(places(&app(None)), expected);
        assert_eq!(places(&app(Some(7)))[0].1, day("01-08"));
    }
}
