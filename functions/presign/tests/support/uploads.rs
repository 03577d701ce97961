//! Upload sessions and S3's multipart uploads of the simulated cloud, with responses that are lost on request.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::ObjectMeta;
use logferry_core::model::object_key::Subject;
use logferry_core::uploads::session::{ListedPart, Session, SessionStatus, StoredPart};
use logferry_core::uploads::table::{
    Multipart, OpenLimits, Opened, OverduePage, Rate, SessionPage, Sessions,
};
use logferry_sim::SimCloud;

/// Loses a response that succeeded if `lose` is not 0, and counts it down.
fn lost<T>(lose: &Mutex<u32>, operation: &'static str, response: T) -> Result<T, Fault> {
    let mut lose = lose.lock().unwrap();
    if *lose == 0 {
        return Ok(response);
    }
    *lose -= 1;
    Err(Fault::new(FaultClass::Timeout, operation, "the answer was lost"))
}

#[derive(Default)]
pub struct Rows {
    cloud: SimCloud,
    /// The responses of this many next `open` calls are lost after the call took effect.
    pub lose_opens: Mutex<u32>,
    /// The responses of this many next `end` calls are lost after the call took effect.
    pub lose_ends: Mutex<u32>,
}

impl Rows {
    pub fn statuses(&self) -> Vec<SessionStatus> {
        self.cloud.session_statuses()
    }
}

impl Sessions for Rows {
    async fn open(&self, session: &Session, limits: OpenLimits) -> Result<Opened, Fault> {
        match self.cloud.open(session, limits).await? {
            Opened::Yes => lost(&self.lose_opens, "TransactWriteItems", Opened::Yes),
            refused => Ok(refused),
        }
    }

    async fn find(&self, app_id: &AppId, upload_id: &str) -> Result<Option<Session>, Fault> {
        Sessions::find(&self.cloud, app_id, upload_id).await
    }

    async fn end(&self, session: &Session, status: SessionStatus, now_ms: i64) -> Result<bool, Fault> {
        let open = self.cloud.end(session, status, now_ms).await?;
        lost(&self.lose_ends, "TransactWriteItems", open)
    }

    async fn list(
        &self,
        app_id: &AppId,
        subject: Option<&Subject>,
        limit: u32,
        after: Option<&str>,
    ) -> Result<SessionPage, Fault> {
        Sessions::list(&self.cloud, app_id, subject, limit, after).await
    }

    async fn overdue(&self, now_ms: i64, limit: u32, after: Option<&Session>) -> Result<OverduePage, Fault> {
        Sessions::overdue(&self.cloud, now_ms, limit, after).await
    }

    async fn count(
        &self,
        app_id: &AppId,
        rate: &Rate,
        requests: u32,
        limit: u32,
        now_ms: i64,
    ) -> Result<bool, Fault> {
        Sessions::count(&self.cloud, app_id, rate, requests, limit, now_ms).await
    }
}

#[derive(Default)]
pub struct S3 {
    cloud: SimCloud,
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
        self.cloud.put_part(upload_id, number, size_bytes)
    }

    pub fn object_sizes(&self) -> Vec<u64> {
        self.cloud.uploaded_sizes()
    }

    /// Stores a file, as a client does with PUT.
    pub fn put_object(&self, key: &str, size_bytes: u64) {
        self.cloud.put_whole(key, size_bytes);
    }

    pub fn open_uploads(&self) -> usize {
        self.cloud.open_uploads()
    }
}

impl Multipart for S3 {
    async fn create(
        &self,
        key: &str,
        content_type: &str,
        metadata: &[(String, String)],
    ) -> Result<String, Fault> {
        let upload_id = Multipart::create(&self.cloud, key, content_type, metadata).await?;
        lost(&self.lose_creates, "CreateMultipartUpload", upload_id)
    }

    async fn parts(&self, key: &str, upload_id: &str) -> Result<Vec<StoredPart>, Fault> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.cloud.parts(key, upload_id).await
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
        self.cloud.complete(key, upload_id, parts, size_bytes).await?;
        lost(&self.lose_completes, OPERATION, ())
    }

    async fn abort(&self, key: &str, upload_id: &str) -> Result<(), Fault> {
        self.cloud.abort(key, upload_id).await
    }

    async fn object(&self, key: &str) -> Result<Option<ObjectMeta>, Fault> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.cloud.object(key).await
    }
}
