//! The `uploads` table. Per app (`pk`): a row per session (`s#{upload_id}`), counters of open sessions
//! (`open#{epoch}`, and `open#{epoch}#{subject}`), and counters of requests per minute (`rate#{what}#{minute}`). The sparse
//! index `by_due` has the open sessions, for `sweep`. The index `by_subject` has all sessions, for lists by
//! subject.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{Put as PutAction, TransactWriteItem, Update};
use logferry_core::model::app::AppId;
use logferry_core::model::fault::Fault;
use logferry_core::model::object_key::Subject;
use logferry_core::uploads::session::{Session, SessionStatus};
use logferry_core::uploads::table::{OpenLimits, Opened, OverduePage, Rate, SessionPage, Sessions};

use crate::faults::fault;
use crate::item::{Get, Item, Put, key, malformed, n, s};
use crate::table::{Table, applied};
use crate::transact::{self, End, transact};

/// How long a row is kept after its session ended (s): 30 days.
const KEEP_SECS: i64 = 30 * 86_400;
/// How long a counter of open sessions is kept after the end of the session that changed it last (s).
const KEEP_OPEN_SECS: i64 = KEEP_SECS + 86_400;
/// How long the counter of a minute is kept (s).
const KEEP_RATE_SECS: i64 = 600;
/// All open sessions are in one partition of the index: few are ever due at once.
const DUE_SHARD: &str = "0";

const SESSION_PREFIX: &str = "s#";

/// Sessions in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoSessions {
    table: Table,
}

fn session_key(app_id: &AppId, upload_id: &str) -> Item {
    key(app_id.as_str(), format!("{SESSION_PREFIX}{upload_id}"))
}

/// Returns the partition of the index `by_subject`.
fn subject_key(app_id: &AppId, subject: &Subject) -> String {
    format!("{app_id}#{subject}")
}

fn rate_key(app_id: &AppId, rate: &Rate, now_ms: i64) -> Item {
    let minute = now_ms.div_euclid(60_000);
    let what = match rate {
        Rate::Uploads => "uploads".to_owned(),
        Rate::LogUrls => "urls".to_owned(),
        Rate::LogUrlsOf(holder) => format!("urls#{holder}"),
        Rate::Joins => "joins".to_owned(),
        Rate::JoinsOf(meeting) => format!("joins#{meeting}"),
    };
    key(app_id.as_str(), format!("rate#{what}#{minute}"))
}

fn to_item(session: &Session) -> Item {
    let mut item = session_key(&session.app_id, &session.upload_id);
    item.put("epoch", n(session.registered_ms));
    item.put("subject", s(session.subject.as_str()));
    item.put("subject_key", s(subject_key(&session.app_id, &session.subject)));
    item.put("bucket", s(&session.bucket));
    item.put("key", s(&session.key));
    item.put("filename", s(&session.filename));
    item.put("content_type", s(&session.content_type));
    item.put_some("size", session.size_bytes.map(n));
    item.put("max_bytes", n(session.max_bytes));
    item.put("status", s(session.status.as_str()));
    item.put("created_ms", n(session.created_ms));
    item.put("session_expires_ms", n(session.expires_ms));
    item.put("due_shard", s(DUE_SHARD));
    item.put("due_at", n(session.expires_ms));
    item.put("expires_at", n(session.expires_ms / 1000 + KEEP_SECS));
    item
}

fn from_item(item: &Item) -> Result<Session, Fault> {
    let upload_id = item.text("sk")?.strip_prefix(SESSION_PREFIX).ok_or_else(|| malformed("sk"))?;
    Ok(Session {
        upload_id: upload_id.to_owned(),
        app_id: item.text("pk")?.parse().map_err(|_| malformed("pk"))?,
        registered_ms: item.number_opt("epoch").unwrap_or(0),
        subject: item.text("subject")?.parse().map_err(|_| malformed("subject"))?,
        bucket: item.text("bucket")?.to_owned(),
        key: item.text("key")?.to_owned(),
        filename: item.text("filename")?.to_owned(),
        content_type: item.text("content_type")?.to_owned(),
        size_bytes: item.number_opt("size"),
        max_bytes: item.number("max_bytes")?,
        status: SessionStatus::parse(item.text("status")?).ok_or_else(|| malformed("status"))?,
        created_ms: item.number("created_ms")?,
        expires_ms: item.number("session_expires_ms")?,
    })
}

impl DynamoSessions {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { table: Table::new(client, table) }
    }

    /// Changes a counter of open sessions.
    fn counted(&self, session: &Session, of: Option<&Subject>, more: i32) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(open_key(session, of)))
            .update_expression("ADD open_count :more SET expires_at = :expires")
            .expression_attribute_values(":more", n(more))
            .expression_attribute_values(":expires", n(session.expires_ms / 1000 + KEEP_OPEN_SECS))
    }

    /// Counts one more open session, below a limit.
    fn one_more(
        &self,
        session: &Session,
        of: Option<&Subject>,
        limit: u32,
    ) -> Result<TransactWriteItem, Fault> {
        transact::update(
            self.counted(session, of, 1)
                .condition_expression("attribute_not_exists(open_count) OR open_count < :limit")
                .expression_attribute_values(":limit", n(limit)),
        )
    }

    async fn complete_aborted(&self, session: &Session) -> Result<(), Fault> {
        let updated = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(session_key(&session.app_id, &session.upload_id)))
            .update_expression("SET #status = :completed")
            .condition_expression("#status = :aborted")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":completed", s(SessionStatus::Completed.as_str()))
            .expression_attribute_values(":aborted", s(SessionStatus::Aborted.as_str()))
            .send()
            .await
            .map_err(|error| fault("UpdateItem", error));
        applied(updated).map(drop)
    }
}

/// Returns the key of the counter of an app's open sessions, or of those of a subject.
fn open_key(session: &Session, of: Option<&Subject>) -> Item {
    let registered_ms = session.registered_ms;
    let sk = match of {
        None => format!("open#{registered_ms:013}"),
        Some(subject) => format!("open#{registered_ms:013}#{subject}"),
    };
    key(session.app_id.as_str(), sk)
}

impl Sessions for DynamoSessions {
    async fn open(&self, session: &Session, limits: OpenLimits) -> Result<Opened, Fault> {
        let put = PutAction::builder()
            .table_name(&self.table.name)
            .set_item(Some(to_item(session)))
            .condition_expression("attribute_not_exists(pk)");
        let actions = [
            transact::put(put)?,
            self.one_more(session, None, limits.per_app)?,
            self.one_more(session, Some(&session.subject), limits.per_subject)?,
        ];
        Ok(match transact(&self.table.client, &actions).await? {
            // Upload ids are issued by S3 and unique: the row is our own, of an attempt whose response was
            // lost.
            End::Done | End::Condition(0) => Opened::Yes,
            End::Condition(1) => Opened::TooManyOfApp,
            End::Condition(_) => Opened::TooManyOfSubject,
        })
    }

    async fn find(&self, app_id: &AppId, upload_id: &str) -> Result<Option<Session>, Fault> {
        self.table.get(session_key(app_id, upload_id)).await?.as_ref().map(from_item).transpose()
    }

    async fn end(&self, session: &Session, status: SessionStatus, now_ms: i64) -> Result<bool, Fault> {
        let update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(session_key(&session.app_id, &session.upload_id)))
            .update_expression("SET #status = :status, ended_ms = :now REMOVE due_shard, due_at")
            .condition_expression("#status = :open")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", s(status.as_str()))
            .expression_attribute_values(":open", s(SessionStatus::Open.as_str()))
            .expression_attribute_values(":now", n(now_ms));
        let actions = [
            transact::update(update)?,
            transact::update(self.counted(session, None, -1))?,
            transact::update(self.counted(session, Some(&session.subject), -1))?,
        ];
        if transact(&self.table.client, &actions).await? == End::Done {
            return Ok(true);
        }
        if status == SessionStatus::Completed {
            self.complete_aborted(session).await?;
        }
        Ok(false)
    }

    async fn list(
        &self,
        app_id: &AppId,
        subject: Option<&Subject>,
        limit: u32,
        after: Option<&str>,
    ) -> Result<SessionPage, Fault> {
        let mut page = SessionPage::default();
        let partition = subject.map(|subject| subject_key(app_id, subject));
        let mut start = after.map(|upload_id| {
            let mut start = session_key(app_id, upload_id);
            start.put_some("subject_key", partition.as_deref().map(s));
            start
        });
        loop {
            let query = self
                .table
                .client
                .query()
                .table_name(&self.table.name)
                .expression_attribute_values(":prefix", s(SESSION_PREFIX))
                .limit(i32::try_from(limit).unwrap_or(i32::MAX).saturating_add(1))
                .set_exclusive_start_key(start);
            let query = match &partition {
                Some(partition) => query
                    .index_name("by_subject")
                    .key_condition_expression("subject_key = :partition AND begins_with(sk, :prefix)")
                    .expression_attribute_values(":partition", s(partition)),
                None => query
                    .key_condition_expression("pk = :partition AND begins_with(sk, :prefix)")
                    .expression_attribute_values(":partition", s(app_id.as_str()))
                    .consistent_read(true),
            };
            let answer = query.send().await.map_err(|error| fault("Query", error))?;
            for item in answer.items() {
                page.sessions.push(from_item(item)?);
            }
            start = answer.last_evaluated_key;
            // One more than requested shows whether there is a next page.
            if page.sessions.len() > limit as usize {
                page.sessions.truncate(limit as usize);
                page.next = page.sessions.last().map(|session| session.upload_id.clone());
                return Ok(page);
            }
            if start.is_none() {
                return Ok(page);
            }
        }
    }

    async fn overdue(&self, now_ms: i64, limit: u32, after: Option<&Session>) -> Result<OverduePage, Fault> {
        let start = after.map(|after| {
            let mut start = session_key(&after.app_id, &after.upload_id);
            start.put("due_shard", s(DUE_SHARD));
            start.put("due_at", n(after.expires_ms));
            start
        });
        let answer = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name("by_due")
            .key_condition_expression("due_shard = :shard AND due_at <= :now")
            .expression_attribute_values(":shard", s(DUE_SHARD))
            .expression_attribute_values(":now", n(now_ms))
            .set_exclusive_start_key(start)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| fault("Query", error))?;
        Ok(OverduePage {
            sessions: answer.items().iter().map(from_item).collect::<Result<_, _>>()?,
            more: answer.last_evaluated_key.is_some(),
        })
    }

    async fn count(
        &self,
        app_id: &AppId,
        rate: &Rate,
        requests: u32,
        limit: u32,
        now_ms: i64,
    ) -> Result<bool, Fault> {
        let Some(most) = limit.checked_sub(requests) else { return Ok(false) };
        let counted = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(rate_key(app_id, rate, now_ms)))
            .update_expression("ADD requests :requests SET expires_at = :expires")
            .condition_expression("attribute_not_exists(requests) OR requests <= :most")
            .expression_attribute_values(":requests", n(requests))
            .expression_attribute_values(":most", n(most))
            .expression_attribute_values(":expires", n(now_ms.div_euclid(1000) + KEEP_RATE_SECS))
            .send()
            .await
            .map_err(|error| fault("UpdateItem", error));
        applied(counted)
    }
}
