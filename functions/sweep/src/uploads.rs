//! Upload sessions whose time is over: their parts are freed, their rows ended.

use futures::stream::{self, StreamExt};
use logferry_core::model::fault::{Fault, chain};
use logferry_core::ports::clock::Clock;
use logferry_core::uploads::session::{Session, SessionStatus};
use logferry_core::uploads::table::{Multipart, Sessions};
use tokio::time::Instant;

/// Sessions that are read together: many, so that some that fail again and again do not hide the others.
const SESSIONS: u32 = 1_000;
/// Sessions that are ended at once.
const SESSIONS_AT_ONCE: usize = 8;

/// What one run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct EndedUploads {
    pub aborted: u64,
    /// An object was there: the answer to its complete had been lost.
    pub completed: u64,
    /// They stay due.
    pub failed: u64,
}

/// Upload sessions and the uploads in S3.
#[derive(Debug)]
pub struct Uploads<U, M, C> {
    pub sessions: U,
    pub multipart: M,
    pub clock: C,
}

impl<U: Sessions, M: Multipart, C: Clock> Uploads<U, M, C> {
    /// One run, which begins no further session after `until`.
    ///
    /// # Errors
    /// The index cannot be read. A session that fails does not stop the others.
    pub async fn run(&self, until: Instant) -> Result<EndedUploads, Fault> {
        let mut ended = EndedUploads::default();
        loop {
            let overdue = self.sessions.overdue(self.clock.now_ms(), SESSIONS).await?;
            let read = overdue.len();
            let mut sessions = stream::iter(overdue)
                .take_while(|_| std::future::ready(Instant::now() < until))
                .map(|session| async move {
                    let end = self.end(&session).await;
                    (session, end)
                })
                .buffer_unordered(SESSIONS_AT_ONCE);
            let mut failed = 0;
            while let Some((session, end)) = sessions.next().await {
                match end {
                    Ok(SessionStatus::Completed) => ended.completed += 1,
                    Ok(_) => ended.aborted += 1,
                    Err(fault) => {
                        failed += 1;
                        tracing::warn!(upload.key = %session.key, error.chain = %chain(&fault), "a session stays due");
                    }
                }
            }
            ended.failed += failed;
            // What failed would only be read again.
            if failed > 0 || read < SESSIONS as usize || Instant::now() >= until {
                break;
            }
        }
        tracing::info!(
            uploads.aborted = ended.aborted,
            uploads.completed = ended.completed,
            uploads.failed = ended.failed,
            "ended overdue uploads"
        );
        Ok(ended)
    }

    async fn end(&self, session: &Session) -> Result<SessionStatus, Fault> {
        self.multipart.abort(&session.key, &session.upload_id).await?;
        let made = self.multipart.object(&session.key).await?.is_some();
        let status = if made { SessionStatus::Completed } else { SessionStatus::Aborted };
        self.sessions.end(session, status, self.clock.now_ms()).await?;
        Ok(status)
    }
}
