//! Claims: the first one creates the row, a later one takes it over.

use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{Put, ReturnValue, Update};
use logferry_core::ledger::claim::Claim;
use logferry_core::ledger::row::FileRow;
use logferry_core::model::fault::{Fault, FaultClass};

use super::DynamoLedger;
use super::keys::{file_key, grant_key};
use super::row::{row_from_item, row_to_item};
use crate::faults::fault;
use crate::item::{n, s};
use crate::transact::{self, End, transact};

impl DynamoLedger {
    /// `None` if there already is a row.
    pub(super) async fn first_claim(&self, claim: &Claim) -> Result<Option<FileRow>, Fault> {
        let row = claim.first_row();
        let put = Put::builder()
            .table_name(&self.files.name)
            .set_item(Some(row_to_item(&row)))
            .condition_expression("attribute_not_exists(pk)");
        let mut actions = vec![transact::put(put)?];
        if claim.granted {
            actions.push(transact::update(self.use_grant(claim))?);
        }
        let client = &self.files.client;
        let done = match transact(client, &actions).await? {
            End::Done => true,
            End::Condition(0) => false,
            // The grant has expired meanwhile (its owner was already read), or it has another object: the
            // row is written alone.
            End::Condition(_) => transact(client, &actions[..1]).await? == End::Done,
        };
        Ok(done.then_some(row))
    }

    /// Records the object in its grant, which then accepts no other.
    fn use_grant(&self, claim: &Claim) -> UpdateBuilder {
        let used = claim.used();
        let mut set = "SET used_by = :v".to_owned();
        let mut update = Update::builder()
            .table_name(&self.files.name)
            .set_key(Some(grant_key(&claim.object.bucket, &claim.object.key)))
            .condition_expression("attribute_exists(pk) AND (attribute_not_exists(used_by) OR used_by = :v)")
            .expression_attribute_values(":v", s(used.version.to_stored()));
        if let Some(etag) = &used.etag {
            set.push_str(", used_etag = :etag");
            update = update.expression_attribute_values(":etag", s(etag));
        }
        if let Some(size_bytes) = used.size_bytes {
            set.push_str(", used_size = :size");
            update = update.expression_attribute_values(":size", n(size_bytes));
        }
        update.update_expression(format!("{set} REMOVE listed_at, due_shard, due_at, failed_on, failed_at"))
    }

    /// Takes over a row if it is still as `seen`; otherwise `None`.
    pub(super) async fn take_over(&self, claim: &Claim, seen: &FileRow) -> Result<Option<FileRow>, Fault> {
        let row = claim.taken_over(seen);
        let answer = self
            .files
            .client
            .update_item()
            .table_name(&self.files.name)
            .set_key(Some(file_key(&claim.object)))
            .condition_expression("fence = :seen AND #status = :status")
            .update_expression(
                "SET #status = :processing, fence = :fence, attempt = :attempt, claim_id = :claim, \
                 lease_until = :lease, due_at = :lease, updated_ms = :now",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":seen", n(seen.fence))
            .expression_attribute_values(":status", s(seen.status.as_str()))
            .expression_attribute_values(":processing", s(row.status.as_str()))
            .expression_attribute_values(":fence", n(row.fence))
            .expression_attribute_values(":attempt", n(row.attempt))
            .expression_attribute_values(":claim", s(&row.claim_id))
            .expression_attribute_values(":lease", n(claim.lease_until_ms))
            .expression_attribute_values(":now", n(row.updated_ms))
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .map_err(|error| fault("UpdateItem", error));
        match answer {
            Ok(answer) => row_from_item(&answer.attributes.unwrap_or_default()).map(Some),
            Err(fault) if fault.class == FaultClass::Conflict => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}
