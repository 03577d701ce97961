//! Writes records. All entries of a request are checked before anything is stored, and redacted. Blocks,
//! their counts and the memo of the idempotency key are stored in one transaction, so a request is stored
//! whole or not at all.

use std::borrow::Cow;

use crate::logbook::records::{Memo, MemoChange, MemoExpected, Records, Written};
use crate::model::app::App;
use crate::model::fault::{Fault, FaultClass};
use crate::model::ids::Seed;
use crate::model::quota::{Exceeded, Quota, Used};
use crate::model::record::EntryKind;
use crate::model::redact::Redactor;
use crate::model::time::Day;
use crate::ports::usage::{Usage, UsageDay};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use sha2::{Digest, Sha256};

use crate::logbook::carried::{Carried, Identity};
use crate::logbook::new_entry::{Entries, Invalid, NewEntry};
use crate::logbook::write_plan::{Origin, Plan, parts};
use crate::logbook::{carried, new_entry};

/// Lifetime of an idempotency key (s).
pub const MEMO_SECS: i64 = 24 * 3600;
/// Maximum length of an idempotency key (bytes).
pub const MAX_KEY_BYTES: usize = 255;

/// Parts of a carried batch that are written concurrently. A batch whose entries each have an hour of their own
/// has more than a thousand.
const PARTS_AT_ONCE: usize = 8;

/// Maximum attempts of a write that conflicts with another one with the same key.
const ATTEMPTS: u32 = 4;

/// A write request.
#[derive(Debug, Clone, Copy)]
pub struct WriteRequest<'a> {
    pub app: &'a App,
    /// For entries without a request id.
    pub request_id: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
    /// What the entries are taken for, as blocks say it: `api`, or a protocol.
    pub format: &'static str,
    /// The body as received: a retry must send the same.
    pub body: &'a [u8],
    pub now_ms: i64,
    /// 16 random or otherwise unique bytes, for ids of requests without a key.
    pub unique: [u8; 16],
    pub default_retention_days: u32,
    /// Redaction rules.
    pub redactor: &'a Redactor,
    /// Daily quota of the app.
    pub quota: &'a Quota,
}

impl<'a> WriteRequest<'a> {
    /// A write of the API, without what its client says.
    #[must_use]
    pub fn new(
        app: &'a App,
        now_ms: i64,
        unique: [u8; 16],
        default_retention_days: u32,
        redactor: &'a Redactor,
        quota: &'a Quota,
    ) -> Self {
        let (request_id, idempotency_key, format, body) = (None, None, "api", &[][..]);
        Self {
            app,
            request_id,
            idempotency_key,
            format,
            body,
            now_ms,
            unique,
            default_retention_days,
            redactor,
            quota,
        }
    }
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used with another body")]
    KeyReused,
    /// The app's daily quota does not allow it.
    #[error("{0}")]
    OverQuota(Exceeded),
    #[error("the records could not be stored")]
    Fault(#[from] Fault),
}

/// Checks and stores entries. Returns them as a query would: one JSON object each.
///
/// # Errors
/// [`WriteError::Invalid`] names the field. Nothing was stored then.
pub async fn write(
    records: &(impl Records + Usage),
    request: &WriteRequest<'_>,
    entries: &Entries<'_>,
) -> Result<Vec<String>, WriteError> {
    let checked = check_all(request, entries)?;
    let request_id = request.request_id.map(|id| request.redactor.entry(EntryKind::PlainText, id));
    let request = &WriteRequest { request_id: request_id.as_deref(), ..*request };
    let Some(key) = request.idempotency_key else {
        let origin = request.origin(seed(request.app, &[b"unique", &request.unique]));
        let plan = planned(&origin, &checked)?;
        charge(records, request, &checked).await?;
        return store(records, &origin, plan, None).await.map(|(_, answer)| answer);
    };
    write_with_key(records, request, key, hash_of(request), &checked).await
}

/// An entry of a carried batch that was not stored, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the batch, from 0.
    pub index: usize,
    pub why: Invalid,
}

/// Stores the entries of a batch that another protocol carries, except those that it returns. A batch that no
/// transaction holds is stored in parts; a retry that is recognised stores the parts that are missing.
///
/// # Errors
/// The app's quota, or a fault. If the batch has no identity, nothing was stored when it is the quota.
pub async fn carry(
    records: &(impl Records + Usage),
    request: &WriteRequest<'_>,
    entries: &[Carried<'_>],
    identity: Identity<'_>,
) -> Result<Vec<Refused>, WriteError> {
    let (mut all, mut refused) = (Vec::with_capacity(entries.len()), Vec::new());
    let mut content = Sha256::new();
    for (index, entry) in entries.iter().enumerate() {
        let at = format!("entries[{index}]");
        content.update(entry.time_ns.unwrap_or_default().to_be_bytes());
        let read = carried::read(entry, &at, request.now_ms).map(|read| redacted(request, read));
        match read {
            Ok(read) => {
                // With those that a prune has excluded since the first attempt.
                hash_entry(&mut content, &read);
                refused.extend(not_pruned(request, &read, &at).err().map(|why| Refused { index, why }));
                all.push(read);
            }
            Err(why) => refused.push(Refused { index, why }),
        }
    }
    // Split with those that a prune has excluded, too, so that each part of a retry is that of the first attempt.
    let mut parts = parts(all);
    for part in &mut parts {
        part.retain(|entry| !is_pruned(request, entry));
    }
    if parts.iter().all(Vec::is_empty) {
        return Ok(refused);
    }
    let key = match identity {
        Identity::Key(name) => Some(key_of(&format!("{}:{name}", request.format), content)),
        Identity::Content if entries.iter().all(|entry| entry.time_ns.is_some()) => {
            Some(key_of(request.format, content))
        }
        Identity::Content | Identity::Nothing => None,
    };
    if key.is_none() {
        charge(records, request, parts.iter().flatten()).await?;
    }
    let parts = (0_u64..).zip(parts).filter(|(_, checked)| !checked.is_empty());
    let writes: Vec<_> =
        parts.map(|(part, checked)| write_part(records, request, key.as_deref(), part, checked)).collect();
    let () = stream::iter(writes).buffer_unordered(PARTS_AT_ONCE).try_collect().await?;
    Ok(refused)
}

async fn write_part(
    records: &(impl Records + Usage),
    request: &WriteRequest<'_>,
    key: Option<&str>,
    part: u64,
    checked: Vec<NewEntry>,
) -> Result<(), WriteError> {
    if let Some(key) = key {
        write_with_key(records, request, &format!("{key}/{part}"), CARRIED, &checked).await?;
    } else {
        let seed = seed(request.app, &[b"unique", &request.unique, &part.to_be_bytes()]);
        let origin = request.origin(seed);
        let plan = planned(&origin, &checked)?;
        store(records, &origin, plan, None).await?;
    }
    Ok(())
}

/// Stands for the hash of the body where the key says what the body is.
const CARRIED: [u8; 32] = [0; 32];

/// Entries are hashed as redacted: see [`hash_of`].
pub(crate) fn hash_entry(hash: &mut Sha256, entry: &NewEntry) {
    hash.update((entry.raw.len() as u64).to_be_bytes());
    hash.update(&entry.raw);
    hash.update(entry.level.as_str());
}

/// A key made of a name and of the hash of the entries.
pub(crate) fn key_of(name: &str, entries: Sha256) -> String {
    let mut hash = Sha256::new();
    hash.update(entries.finalize());
    hash.update(name);
    hex::encode(hash.finalize())
}

pub(crate) async fn write_with_key(
    records: &(impl Records + Usage),
    request: &WriteRequest<'_>,
    key: &str,
    body_hash: [u8; 32],
    checked: &[NewEntry],
) -> Result<Vec<String>, WriteError> {
    let mut charged = false;
    for _ in 0..ATTEMPTS {
        if let Some(answer) = write_once(records, request, key, body_hash, checked, &mut charged).await? {
            return Ok(answer);
        }
    }
    Err(Fault::new(
        FaultClass::Transient,
        "write",
        "conflicts with other requests with the same idempotency key",
    )
    .into())
}

fn check_all(request: &WriteRequest<'_>, entries: &Entries<'_>) -> Result<Vec<NewEntry>, Invalid> {
    let Entries { batch, complete, entries } = entries;
    let one = |(index, raw): (usize, &&serde_json::value::RawValue)| {
        let at = if *batch { format!("logs[{index}]") } else { String::new() };
        acceptable(request, new_entry::check(raw.get(), &at, *complete, request.now_ms)?, &at)
    };
    entries.iter().enumerate().map(one).collect()
}

/// The entry without what must not be stored, unless the app's prune watermark excludes it.
fn acceptable(request: &WriteRequest<'_>, entry: NewEntry, at: &str) -> Result<NewEntry, Invalid> {
    let entry = redacted(request, entry);
    not_pruned(request, &entry, at)?;
    Ok(entry)
}

pub(crate) fn redacted(request: &WriteRequest<'_>, mut entry: NewEntry) -> NewEntry {
    if let Cow::Owned(redacted) = request.redactor.entry(entry.kind, &entry.raw) {
        entry.raw = redacted;
    }
    entry
}

/// Whether the app's prune watermark excludes an entry.
fn is_pruned(request: &WriteRequest<'_>, entry: &NewEntry) -> bool {
    let pruned = request.app.pruned_before_ms;
    entry.timestamp_ms.is_some_and(|ms| pruned.is_some_and(|pruned| ms < pruned))
}

pub(crate) fn not_pruned(request: &WriteRequest<'_>, entry: &NewEntry, at: &str) -> Result<(), Invalid> {
    if is_pruned(request, entry) {
        let field = if at.is_empty() { "timestamp".to_owned() } else { format!("{at}.timestamp") };
        return Err(Invalid::new(field, "timestamp is older than the app's prune watermark"));
    }
    Ok(())
}

impl<'a> WriteRequest<'a> {
    fn origin(&self, seed: Seed) -> Origin<'a> {
        Origin {
            app_id: &self.app.app_id,
            registered_ms: self.app.registered_ms,
            seed,
            arrived_ms: self.now_ms,
            format: self.format,
            request_id: self.request_id,
            retention_days: self.app.retention_days.unwrap_or(self.default_retention_days),
        }
    }
}

/// Returns the plan of a request that is not stored yet.
fn planned(origin: &Origin<'_>, checked: &[NewEntry]) -> Result<Plan, WriteError> {
    let plan = Plan::new(origin, checked)?;
    plan.check()?;
    Ok(plan)
}

fn seed(app: &App, parts: &[&[u8]]) -> Seed {
    let epoch = app.registered_ms.to_be_bytes();
    let mut all: Vec<&[u8]> = vec![b"api", app.app_id.as_str().as_bytes(), &epoch];
    all.extend_from_slice(parts);
    Seed::of(&all)
}

fn seed_of_key(app: &App, key: &str, salt: Option<i64>) -> Seed {
    match salt {
        None => seed(app, &[b"key", key.as_bytes()]),
        Some(salt) => seed(app, &[b"key", key.as_bytes(), &salt.to_be_bytes()]),
    }
}

/// The hash that identifies a retry: of the redacted body. Even a hash of the original body would reveal a
/// short secret to a search over all values.
fn hash_of(request: &WriteRequest<'_>) -> [u8; 32] {
    let body = String::from_utf8_lossy(request.body);
    Sha256::digest(request.redactor.entry(EntryKind::Json, &body).as_bytes()).into()
}

/// Charges the request to the day of its arrival, before anything is stored. A write that fails after that
/// has been charged; a stored write is always charged.
async fn charge(
    usage: &impl Usage,
    request: &WriteRequest<'_>,
    checked: impl IntoIterator<Item = &NewEntry>,
) -> Result<(), WriteError> {
    let mut more = Used::default();
    for entry in checked {
        more.bytes += entry.raw.len() as u64;
        more.records += 1;
    }
    if more.records == 0 {
        return Ok(());
    }
    let App { app_id, registered_ms, .. } = request.app;
    let of =
        UsageDay { app_id: app_id.clone(), registered_ms: *registered_ms, day: Day::of_ms(request.now_ms) };
    match usage.charge(&of, more, request.quota).await? {
        None => Ok(()),
        Some(exceeded) => Err(WriteError::OverQuota(exceeded)),
    }
}

/// The memo of a key that has not expired.
pub(crate) async fn live_memo(
    records: &impl Records,
    request: &WriteRequest<'_>,
    key: &str,
) -> Result<Option<Memo>, Fault> {
    let App { app_id, .. } = request.app;
    let known = records.memo(app_id, &seed_of_key(request.app, key, None).0).await?;
    Ok(known.filter(|memo| memo.expires_at_secs > request.now_ms.div_euclid(1000)))
}

/// One attempt with an idempotency key. `None` if another request was first: look again. A retry of a
/// stored write is not charged again.
async fn write_once(
    records: &(impl Records + Usage),
    request: &WriteRequest<'_>,
    key: &str,
    body_hash: [u8; 32],
    checked: &[NewEntry],
    charged: &mut bool,
) -> Result<Option<Vec<String>>, WriteError> {
    let app = request.app;
    let key_hash = seed_of_key(app, key, None).0;
    let now_secs = request.now_ms.div_euclid(1000);
    let known = records.memo(&app.app_id, &key_hash).await?;
    if let Some(memo) = known.as_ref().filter(|memo| memo.expires_at_secs > now_secs) {
        if memo.body_hash != body_hash {
            return Err(WriteError::KeyReused);
        }
        let origin = Origin {
            arrived_ms: memo.arrived_ms,
            request_id: memo.request_id.as_deref(),
            ..request.origin(seed_of_key(app, key, memo.salt))
        };
        return Ok(Some(Plan::new(&origin, checked)?.answer));
    }
    let expected = match &known {
        None => MemoExpected::Absent,
        Some(old) => MemoExpected::ArrivedAt(old.arrived_ms),
    };
    let mut memo = Memo {
        body_hash,
        arrived_ms: request.now_ms,
        request_id: request.request_id.map(str::to_owned),
        salt: known.map(|old| old.arrived_ms),
        expires_at_secs: now_secs + MEMO_SECS,
    };
    let origin = request.origin(seed_of_key(app, key, memo.salt));
    let plan = planned(&origin, checked)?;
    if !*charged {
        charge(records, request, checked).await?;
        *charged = true;
    }
    let change = MemoChange { key_hash, memo: memo.clone(), expected };
    match store(records, &origin, plan, Some(change)).await? {
        (Written::Stored, answer) => return Ok(Some(answer)),
        (Written::MemoDiffers, _) => return Ok(None),
        // Left over from an expired use of the key.
        (Written::BlockExists, _) => {}
    }
    // With a seed that no other use of the key can have.
    memo.salt = Some(request.now_ms);
    let origin = request.origin(seed_of_key(app, key, memo.salt));
    let plan = planned(&origin, checked)?;
    let change = MemoChange { key_hash, memo, expected };
    let (written, answer) = store(records, &origin, plan, Some(change)).await?;
    Ok((written == Written::Stored).then_some(answer))
}

/// Stores a plan that fits one transaction.
async fn store(
    records: &impl Records,
    origin: &Origin<'_>,
    plan: Plan,
    memo: Option<MemoChange>,
) -> Result<(Written, Vec<String>), WriteError> {
    let (write, answer) = plan.into_write(origin, memo);
    let written = match write.blocks.is_empty() && write.memo.is_none() {
        true => Written::Stored,
        false => records.write(&write).await?,
    };
    Ok((written, answer))
}
