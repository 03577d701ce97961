//! The `uploads` table and S3's multipart uploads in memory, with responses that are lost on request.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::ObjectMeta;
use logferry_core::model::object_key::Subject;
use logferry_core::uploads::session::{ListedPart, Session, SessionStatus, StoredPart};
use logferry_core::uploads::table::{Multipart, OpenLimits, Opened, Rate, SessionPage, Sessions};

fn lost(operation: &'static str) -> Fault {
    Fault::new(FaultClass::Timeout, operation, "the answer was lost")
}

#[derive(Default)]
pub struct Rows {
    rows: Mutex<BTreeMap<String, Session>>,
    requests: Mutex<HashMap<(Rate, i64), u32>>,
    /// The responses of this many next `open` calls are lost after the call took effect.
    pub lose_opens: Mutex<u32>,
    /// The responses of this many next `end` calls are lost after the call took effect.
    pub lose_ends: Mutex<u32>,
}

impl Rows {
    pub fn statuses(&self) -> Vec<SessionStatus> {
        self.rows.lock().unwrap().values().map(|row| row.status).collect()
    }
}

impl Sessions for Rows {
    async fn open(&self, session: &Session, limits: OpenLimits) -> Result<Opened, Fault> {
        let mut rows = self.rows.lock().unwrap();
        let open = |subject: Option<&Subject>| {
            let open = rows
                .values()
                .filter(|row| row.status == SessionStatus::Open && subject.is_none_or(|s| *s == row.subject));
            u32::try_from(open.count()).unwrap()
        };
        if open(None) >= limits.per_app {
            return Ok(Opened::TooManyOfApp);
        }
        if open(Some(&session.subject)) >= limits.per_subject {
            return Ok(Opened::TooManyOfSubject);
        }
        rows.insert(session.upload_id.clone(), session.clone());
        let mut lose = self.lose_opens.lock().unwrap();
        if *lose > 0 {
            *lose -= 1;
            return Err(lost("TransactWriteItems"));
        }
        Ok(Opened::Yes)
    }

    async fn find(&self, app_id: &AppId, upload_id: &str) -> Result<Option<Session>, Fault> {
        let rows = self.rows.lock().unwrap();
        Ok(rows.get(upload_id).filter(|row| row.app_id == *app_id).cloned())
    }

    async fn end(&self, session: &Session, status: SessionStatus, _: i64) -> Result<bool, Fault> {
        let mut rows = self.rows.lock().unwrap();
        let Some(row) = rows.get_mut(&session.upload_id) else { return Ok(false) };
        let open = row.status == SessionStatus::Open;
        if open || status == SessionStatus::Completed {
            row.status = status;
        }
        let mut lose = self.lose_ends.lock().unwrap();
        if *lose > 0 {
            *lose -= 1;
            return Err(lost("TransactWriteItems"));
        }
        Ok(open)
    }

    async fn list(
        &self,
        app_id: &AppId,
        subject: Option<&Subject>,
        limit: u32,
        after: Option<&str>,
    ) -> Result<SessionPage, Fault> {
        let rows = self.rows.lock().unwrap();
        let mut sessions: Vec<_> = rows
            .values()
            .filter(|row| row.app_id == *app_id && subject.is_none_or(|subject| *subject == row.subject))
            .filter(|row| after.is_none_or(|after| row.upload_id.as_str() > after))
            .cloned()
            .collect();
        let more = sessions.len() > limit as usize;
        sessions.truncate(limit as usize);
        let next = sessions.last().filter(|_| more).map(|last| last.upload_id.clone());
        Ok(SessionPage { sessions, next })
    }

    async fn overdue(&self, now_ms: i64, _: u32) -> Result<Vec<Session>, Fault> {
        let rows = self.rows.lock().unwrap();
        let due = |row: &&Session| row.status == SessionStatus::Open && row.expires_ms <= now_ms;
        Ok(rows.values().filter(due).cloned().collect())
    }

    async fn count(
        &self,
        _: &AppId,
        rate: &Rate,
        requests: u32,
        limit: u32,
        now_ms: i64,
    ) -> Result<bool, Fault> {
        let mut counted = self.requests.lock().unwrap();
        let count = counted.entry((rate.clone(), now_ms / 60_000)).or_default();
        let fits = *count + requests <= limit;
        *count += if fits { requests } else { 0 };
        Ok(fits)
    }
}

#[derive(Default)]
struct Bucket {
    created: u32,
    uploads: HashMap<String, (String, BTreeMap<u32, StoredPart>)>,
    objects: BTreeMap<String, u64>,
}

#[derive(Default)]
pub struct S3 {
    bucket: Mutex<Bucket>,
    /// The responses of this many next `create` calls are lost after the call took effect.
    pub lose_creates: Mutex<u32>,
    /// The responses of this many next `complete` calls are lost after the call took effect.
    pub lose_completes: Mutex<u32>,
    /// Number of requests for parts or objects.
    pub looks: AtomicU32,
    /// The next `complete` fails with this class and changes nothing.
    pub refuse_complete: Mutex<Option<FaultClass>>,
}

impl S3 {
    /// Stores a part, as a client does with PUT.
    pub fn put_part(&self, upload_id: &str, number: u32, size_bytes: u64) -> String {
        let etag = format!("etag-{number}-{size_bytes}");
        let part = StoredPart { number, etag: etag.clone(), size_bytes };
        self.bucket.lock().unwrap().uploads.get_mut(upload_id).unwrap().1.insert(number, part);
        etag
    }

    pub fn object_sizes(&self) -> Vec<u64> {
        self.bucket.lock().unwrap().objects.values().copied().collect()
    }

    /// Stores a file, as a client does with PUT.
    pub fn put_object(&self, key: &str, size_bytes: u64) {
        self.bucket.lock().unwrap().objects.insert(key.to_owned(), size_bytes);
    }

    pub fn open_uploads(&self) -> usize {
        self.bucket.lock().unwrap().uploads.len()
    }
}

fn no_such_upload(operation: &'static str) -> Fault {
    Fault::new(FaultClass::NotFound, operation, "NoSuchUpload")
}

impl Multipart for S3 {
    async fn create(&self, key: &str, _: &str, _: &[(String, String)]) -> Result<String, Fault> {
        let mut bucket = self.bucket.lock().unwrap();
        bucket.created += 1;
        let upload_id = format!("upload-{:04}", bucket.created);
        bucket.uploads.insert(upload_id.clone(), (key.to_owned(), BTreeMap::new()));
        let mut lose = self.lose_creates.lock().unwrap();
        if *lose > 0 {
            *lose -= 1;
            return Err(lost("CreateMultipartUpload"));
        }
        Ok(upload_id)
    }

    async fn parts(&self, key: &str, upload_id: &str) -> Result<Vec<StoredPart>, Fault> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let bucket = self.bucket.lock().unwrap();
        let upload = bucket.uploads.get(upload_id).filter(|(of, _)| of == key);
        Ok(upload.ok_or_else(|| no_such_upload("ListParts"))?.1.values().cloned().collect())
    }

    async fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[ListedPart],
        size_bytes: u64,
    ) -> Result<(), Fault> {
        const OPERATION: &str = "CompleteMultipartUpload";
        if let Some(class) = self.refuse_complete.lock().unwrap().take() {
            return Err(Fault::new(class, OPERATION, "refused"));
        }
        // Let other requests run between the listing of the parts and this.
        tokio::task::yield_now().await;
        let mut bucket = self.bucket.lock().unwrap();
        let (_, stored) = bucket
            .uploads
            .get(upload_id)
            .filter(|(of, _)| of == key)
            .ok_or_else(|| no_such_upload(OPERATION))?;
        let mut total = 0;
        for part in parts {
            let stored = stored.get(&part.number).filter(|stored| stored.etag == part.etag);
            let stored = stored.ok_or_else(|| Fault::new(FaultClass::Permanent, OPERATION, "InvalidPart"))?;
            total += stored.size_bytes;
        }
        assert_eq!(total, size_bytes, "MpuObjectSize");
        bucket.uploads.remove(upload_id);
        assert_eq!(bucket.objects.insert(key.to_owned(), total), None, "made twice");
        let mut lose = self.lose_completes.lock().unwrap();
        if *lose > 0 {
            *lose -= 1;
            return Err(lost(OPERATION));
        }
        Ok(())
    }

    async fn abort(&self, _: &str, upload_id: &str) -> Result<(), Fault> {
        self.bucket.lock().unwrap().uploads.remove(upload_id);
        Ok(())
    }

    async fn object(&self, key: &str) -> Result<Option<ObjectMeta>, Fault> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let bucket = self.bucket.lock().unwrap();
        Ok(bucket.objects.get(key).map(|size_bytes| ObjectMeta {
            size_bytes: *size_bytes,
            last_modified_ms: 0,
            etag: "etag".to_owned(),
            version_id: None,
        }))
    }
}
