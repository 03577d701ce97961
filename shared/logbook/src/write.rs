//! Writing records: all entries of a request are checked before anything is stored, and what must
//! not be stored is taken out of them; blocks, their
//! counts and the memo of the idempotency key are stored in one transaction.
//!
//! A request that touches more hours than a transaction has room for is stored in several, one
//! after the other. With an idempotency key a repeat goes on where the first attempt ended.

use std::borrow::Cow;
use std::collections::BTreeMap;

use logferry_domain::app::App;
use logferry_domain::block::{Block, BlockBuilder, BlockSource, MAX_ITEM_DATA_BYTES};
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::hex128::Seed;
use logferry_domain::ledger::DayCounts;
use logferry_domain::log_record::LogRecord;
use logferry_domain::record::{Entry, EntryKind, StoredRecord};
use logferry_domain::redact::Redactor;
use logferry_domain::stats::counter_of;
use logferry_domain::time::{Day, hour_of_ms};
use logferry_ports::Records;
use logferry_ports::records::{Memo, MemoChange, MemoExpected, Write, Written};
use sha2::{Digest, Sha256};

use crate::entry::{self, Entries, Invalid, NewEntry};

/// How long an idempotency key is remembered (s).
pub const MEMO_SECS: i64 = 24 * 3600;
/// The longest idempotency key (bytes).
pub const MAX_KEY_BYTES: usize = 255;

/// Items of one transaction, the memo's left out.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const MAX_ITEMS: usize = 99;
/// Bytes of data in one transaction; the limit is 4 MB in all.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const MAX_DATA_BYTES: usize = 3_500_000;

/// Raw bytes after which a block is closed: about 64 KiB compressed.
const BLOCK_RAW_BYTES: usize = 384 * 1024;

const SECS_PER_DAY: i64 = 86_400;

/// How often a write that met another with the same key is tried again.
const ATTEMPTS: u32 = 4;

/// A request to write.
#[derive(Debug, Clone, Copy)]
pub struct WriteRequest<'a> {
    pub app: &'a App,
    pub entries: &'a Entries<'a>,
    /// For entries that have none themselves.
    pub request_id: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
    /// The body as it came: what a repeat must be equal to.
    pub body: &'a [u8],
    pub now_ms: i64,
    /// 16 random or otherwise unique bytes, for ids of requests without a key.
    pub unique: [u8; 16],
    pub default_retention_days: u32,
    /// What is never stored.
    pub redactor: &'a Redactor,
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used with another body")]
    KeyReused,
    #[error("the records could not be stored")]
    Fault(#[from] Fault),
}

/// Checks and stores entries, and returns them as a query would: a JSON object each.
///
/// # Errors
/// [`WriteError::Invalid`] names the field; nothing was stored then.
pub async fn write(records: &impl Records, request: &WriteRequest<'_>) -> Result<Vec<String>, WriteError> {
    let checked = check_all(request)?;
    let request_id = request.request_id.map(|id| request.redactor.entry(EntryKind::PlainText, id));
    let request = &WriteRequest { request_id: request_id.as_deref(), ..*request };
    let Some(key) = request.idempotency_key else {
        let seed = seed(request.app, &[b"unique", &request.unique]);
        let plan = Plan::new(request, &checked, request.now_ms, request.request_id, &seed)?;
        for part in plan.parts {
            store(records, &part.into_write(request.app, &seed, None)).await?;
        }
        return Ok(plan.answer);
    };
    for _ in 0..ATTEMPTS {
        if let Some(answer) = write_once(records, request, key, &checked).await? {
            return Ok(answer);
        }
    }
    Err(Fault::new(FaultClass::Transient, "write", "other requests with the same key keep coming first")
        .into())
}

fn check_all(request: &WriteRequest<'_>) -> Result<Vec<NewEntry>, Invalid> {
    let Entries { batch, entries } = request.entries;
    let one = |(index, raw): (usize, &&serde_json::value::RawValue)| {
        let at = if *batch { format!("logs[{index}]") } else { String::new() };
        let mut entry = entry::check(raw.get(), &at)?;
        if let Cow::Owned(redacted) = request.redactor.entry(NewEntry::KIND, &entry.raw) {
            entry.raw = redacted;
        }
        let pruned = request.app.pruned_before_ms;
        if entry.timestamp_ms.is_some_and(|ms| pruned.is_some_and(|pruned| ms < pruned)) {
            let field = if at.is_empty() { "timestamp".to_owned() } else { format!("{at}.timestamp") };
            return Err(Invalid::new(field, "timestamp is before what was pruned"));
        }
        Ok(entry)
    };
    entries.iter().enumerate().map(one).collect()
}

fn seed(app: &App, parts: &[&[u8]]) -> Seed {
    let epoch = app.created_ms.to_be_bytes();
    let mut all: Vec<&[u8]> = vec![b"api", app.app_id.as_str().as_bytes(), &epoch];
    all.extend_from_slice(parts);
    Seed::of(&all)
}

/// What a repeat is known by: the body as it may be stored. Of the body as it came even a hash would
/// give a short secret away to whoever tries them all.
fn hash_of(request: &WriteRequest<'_>) -> [u8; 32] {
    let body = String::from_utf8_lossy(request.body);
    Sha256::digest(request.redactor.entry(NewEntry::KIND, &body).as_bytes()).into()
}

/// One attempt with an idempotency key. `None`: another request was first, look again.
async fn write_once(
    records: &impl Records,
    request: &WriteRequest<'_>,
    key: &str,
    checked: &[NewEntry],
) -> Result<Option<Vec<String>>, WriteError> {
    let app = request.app;
    let key_hash = seed(app, &[b"key", key.as_bytes()]).0;
    let body_hash = hash_of(request);
    let now_secs = request.now_ms.div_euclid(1000);
    let known = records.memo(&app.app_id, &key_hash).await?;
    let (mut memo, mut expected, resumed) = match known {
        Some(memo) if memo.expires_at_secs > now_secs => {
            if memo.body_hash != body_hash {
                return Err(WriteError::KeyReused);
            }
            let expected = MemoExpected::ArrivedAt(memo.arrived_ms);
            (memo, expected, true)
        }
        other => {
            let memo = Memo {
                body_hash,
                arrived_ms: request.now_ms,
                request_id: request.request_id.map(str::to_owned),
                salt: other.as_ref().map(|old| old.arrived_ms),
                complete: false,
                expires_at_secs: now_secs + MEMO_SECS,
            };
            let expected = other.map_or(MemoExpected::Absent, |old| MemoExpected::ArrivedAt(old.arrived_ms));
            (memo, expected, false)
        }
    };
    loop {
        let seed = match memo.salt {
            None => seed(app, &[b"key", key.as_bytes()]),
            Some(salt) => seed(app, &[b"key", key.as_bytes(), &salt.to_be_bytes()]),
        };
        let plan = Plan::new(request, checked, memo.arrived_ms, memo.request_id.as_deref(), &seed)?;
        if resumed && memo.complete {
            return Ok(Some(plan.answer));
        }
        let last = plan.parts.len().saturating_sub(1);
        let mut stale = false;
        for (index, part) in plan.parts.into_iter().enumerate() {
            memo.complete = index == last;
            let change = MemoChange { key_hash, memo: memo.clone(), expected };
            match store(records, &part.into_write(app, &seed, Some(change))).await? {
                Written::Stored => expected = MemoExpected::ArrivedAt(memo.arrived_ms),
                Written::MemoDiffers => return Ok(None),
                // Stored by an earlier attempt, or by one that runs beside this one.
                Written::BlockExists if resumed || index > 0 => {}
                // Left from a use of the key that is forgotten by now.
                Written::BlockExists => {
                    stale = true;
                    break;
                }
            }
        }
        if !stale {
            return Ok(Some(plan.answer));
        }
        memo.salt = Some(request.now_ms);
    }
}

async fn store(records: &impl Records, write: &Write) -> Result<Written, Fault> {
    if write.blocks.is_empty() && write.memo.is_none() {
        return Ok(Written::Stored);
    }
    records.write(write).await
}

/// What one transaction stores.
#[derive(Debug, Default)]
struct Part {
    blocks: Vec<Block>,
    days: BTreeMap<Day, DayCounts>,
    items: usize,
    data_bytes: usize,
}

impl Part {
    fn has_room(&self, items: usize, data_bytes: usize, day: Day) -> bool {
        let new_day = usize::from(!self.days.contains_key(&day));
        self.items + items + new_day + self.days.len() <= MAX_ITEMS
            && self.data_bytes + data_bytes <= MAX_DATA_BYTES
    }

    fn into_write(self, app: &App, seed: &Seed, memo: Option<MemoChange>) -> Write {
        Write {
            app_id: app.app_id.clone(),
            epoch_ms: app.created_ms,
            blocks: self.blocks,
            days: self.days,
            counter: counter_of(seed),
            memo,
        }
    }
}

/// Everything that a request stores and answers: a pure function of its entries, the time of its
/// arrival, its request id and the seed.
struct Plan {
    parts: Vec<Part>,
    answer: Vec<String>,
}

impl Plan {
    fn new(
        request: &WriteRequest<'_>,
        checked: &[NewEntry],
        arrived_ms: i64,
        request_id: Option<&str>,
        seed: &Seed,
    ) -> Result<Self, WriteError> {
        let retention_days = request.app.retention_days.unwrap_or(request.default_retention_days);
        let source = BlockSource {
            app_id: &request.app.app_id,
            seed,
            format: "api",
            source: "api",
            epoch_ms: request.app.created_ms,
            expires_at_secs: None,
        };
        let mut hours: BTreeMap<i64, Vec<Entry<'_>>> = BTreeMap::new();
        let mut answer = Vec::with_capacity(checked.len());
        let mut raws = Vec::with_capacity(checked.len());
        for (ordinal, new) in (0..).zip(checked) {
            raws.push(with_request_id(new, seed, ordinal, request_id));
        }
        for ((ordinal, new), raw) in (0..).zip(checked).zip(&raws) {
            let entry = entry_of(new, ordinal, raw, arrived_ms);
            let mut text = Vec::with_capacity(raw.len() + 128);
            let stored = StoredRecord { id: seed.record_id(ordinal), entry };
            LogRecord::read(&stored).write_json(&mut text, None, false);
            answer.push(String::from_utf8(text).unwrap_or_default());
            hours.entry(hour_of_ms(stored.entry.timestamp_ms)).or_default().push(stored.entry);
        }
        let mut parts = vec![Part::default()];
        for entries in hours.values() {
            for chunk in chunks(entries) {
                add_blocks(&mut parts, chunk, &source, &|last_ms| {
                    last_ms.max(arrived_ms).div_euclid(1000) + i64::from(retention_days) * SECS_PER_DAY
                })?;
            }
        }
        Ok(Self { parts, answer })
    }
}

fn with_request_id(new: &NewEntry, seed: &Seed, ordinal: u64, request_id: Option<&str>) -> String {
    let mut raw = new.raw.clone();
    if let Some(request_id) = request_id {
        let entry = entry_of(new, ordinal, &new.raw, 0);
        if LogRecord::read(&StoredRecord { id: seed.record_id(ordinal), entry }).request_id.is_none() {
            entry::push_request_id(&mut raw, request_id);
        }
    }
    raw
}

fn entry_of<'a>(new: &NewEntry, ordinal: u64, raw: &'a str, arrived_ms: i64) -> Entry<'a> {
    Entry {
        ordinal,
        timestamp_ms: new.timestamp_ms.unwrap_or(arrived_ms),
        level: new.level,
        kind: NewEntry::KIND,
        timestamp_fallback: new.timestamp_ms.is_none(),
        raw,
    }
}

/// Entries of one hour, in pieces that make a block each.
fn chunks<'e, 'a>(entries: &'e [Entry<'a>]) -> impl Iterator<Item = &'e [Entry<'a>]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let count = rest.iter().position(|entry| {
            bytes += entry.raw.len();
            bytes > BLOCK_RAW_BYTES
        });
        let (chunk, after) = rest.split_at(count.map_or(rest.len(), |count| count.max(1)));
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// `expiry`: when a block is deleted whose last record has this time.
fn add_blocks(
    parts: &mut Vec<Part>,
    entries: &[Entry<'_>],
    source: &BlockSource<'_>,
    expiry: &dyn Fn(i64) -> i64,
) -> Result<(), WriteError> {
    let mut builder = BlockBuilder::default();
    entries.iter().for_each(|entry| builder.push(entry));
    let blocks = builder.build(source).map_err(|error| {
        Fault::new(FaultClass::Permanent, "packing a block", "not packed").with_source(error)
    })?;
    let mut rest = entries;
    for mut block in blocks {
        block.header.expires_at_secs = Some(expiry(block.header.last_ms));
        let (own, after) = rest.split_at((block.header.count as usize).min(rest.len()));
        rest = after;
        let items = block.data.len().div_ceil(MAX_ITEM_DATA_BYTES).max(1);
        let day = block.header.day();
        if !parts.last().is_some_and(|part| part.has_room(items, block.data.len(), day)) {
            parts.push(Part::default());
        }
        let Some(part) = parts.last_mut() else { continue };
        let counts = part.days.entry(day).or_default();
        counts.levels += block.header.levels;
        counts.bytes += own.iter().map(|entry| i64::try_from(entry.raw.len()).unwrap_or(0)).sum::<i64>();
        part.items += items;
        part.data_bytes += block.data.len();
        part.blocks.push(block);
    }
    Ok(())
}
