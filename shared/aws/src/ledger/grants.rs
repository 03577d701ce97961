//! Rows of keys that were handed out.

use logferry_core::ledger::claim::Grants;
use logferry_core::ledger::row::{Grant, UsedBy};
use logferry_core::model::fault::Fault;
use logferry_core::model::object::ObjectVersion;

use super::keys::grant_key;
use super::row::{expires_at, row_to_item};
use super::DynamoLedger;
use crate::faults::fault;
use crate::item::{Get, Put, malformed, n, s};

impl Grants for DynamoLedger {
    async fn grant(&self, grant: &Grant) -> Result<(), Fault> {
        let mut item = row_to_item(&grant.waiting_row());
        item.put("epoch", n(grant.epoch_ms));
        item.put("expires_at", expires_at(grant.created_ms));
        if let Some((meeting, attendee)) = &grant.meeting {
            item.put("meeting_id", s(meeting));
            item.put("attendee_id", s(attendee));
        }
        self.files
            .client
            .put_item()
            .table_name(&self.files.name)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await
            .map_err(|error| fault("PutItem", error))?;
        Ok(())
    }

    async fn find_grant(&self, bucket: &str, object_key: &str) -> Result<Option<Grant>, Fault> {
        let Some(item) = self.files.get(grant_key(bucket, object_key)).await? else {
            return Ok(None);
        };
        let meeting = match (item.text_opt("meeting_id"), item.text_opt("attendee_id")) {
            (Some(meeting), Some(attendee)) => Some((meeting.to_owned(), attendee.to_owned())),
            _ => None,
        };
        let used = item.text_opt("used_by").map(|sk| {
            let version = ObjectVersion::from_stored(sk).ok_or_else(|| malformed("used_by"))?;
            let etag = item.text_opt("used_etag").map(str::to_owned);
            Ok(UsedBy { version, etag, size_bytes: item.number_opt("used_size") })
        });
        Ok(Some(Grant {
            bucket: bucket.to_owned(),
            key: object_key.to_owned(),
            app_id: item.text("app_id")?.parse().map_err(|_| malformed("app_id"))?,
            meeting,
            size_bytes: item.number_opt("size"),
            epoch_ms: item.number("epoch")?,
            used: used.transpose()?,
            created_ms: item.number("created_ms")?,
            expires_ms: item.number("url_expires_ms")?,
        }))
    }
}
