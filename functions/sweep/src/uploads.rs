//! Ends expired upload sessions: frees their parts and ends their rows.

use futures::stream::{self, StreamExt};
use logferry_core::model::fault::{Fault, chain};
use logferry_core::ports::clock::Clock;
use logferry_core::uploads::session::{Session, SessionStatus};
use logferry_core::uploads::table::{Multipart, Sessions};
use tokio::time::Instant;

use crate::Part;

/// Number of sessions read together.
const SESSIONS: u32 = 100;
/// Sessions that are ended in parallel.
const SESSIONS_AT_ONCE: usize = 8;

/// Counts of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct EndedUploads {
    pub aborted: u64,
    /// The object existed: the response to its complete request was lost.
    pub completed: u64,
    /// Sessions that could not be ended; they stay due.
    pub failed: u64,
}

/// Upload sessions and the uploads in S3.
#[derive(Debug)]
pub struct Uploads<U, M, C> {
    pub sessions: U,
    pub multipart: M,
    pub clock: C,
}

impl<U: Sessions, M: Multipart, C: Clock> Part for Uploads<U, M, C> {
    type Done = EndedUploads;

    /// # Errors
    /// If the index cannot be read. A failing session does not stop the others.
    async fn run(&self, until: Instant) -> Result<EndedUploads, Fault> {
        let mut ended = EndedUploads::default();
        let (now_ms, mut after) = (self.clock.now_ms(), None);
        loop {
            let page = self.sessions.overdue(now_ms, SESSIONS, after.as_ref()).await?;
            after = page.sessions.last().filter(|_| page.more).cloned();
            let mut sessions = stream::iter(page.sessions)
                .take_while(|_| std::future::ready(Instant::now() < until))
                .map(|session| async move {
                    let end = self.end(&session).await;
                    (session, end)
                })
                .buffer_unordered(SESSIONS_AT_ONCE);
            while let Some((session, end)) = sessions.next().await {
                match end {
                    Ok(SessionStatus::Completed) => ended.completed += 1,
                    Ok(_) => ended.aborted += 1,
                    Err(fault) => {
                        ended.failed += 1;
                        tracing::warn!(upload.key = %session.key, error.chain = %chain(&fault), "a session stays due");
                    }
                }
            }
            if after.is_none() || Instant::now() >= until {
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
}

impl<U: Sessions, M: Multipart, C: Clock> Uploads<U, M, C> {
    async fn end(&self, session: &Session) -> Result<SessionStatus, Fault> {
        self.multipart.abort(&session.key, &session.upload_id).await?;
        let made = self.multipart.object(&session.key).await?.is_some();
        let status = if made { SessionStatus::Completed } else { SessionStatus::Aborted };
        self.sessions.end(session, status, self.clock.now_ms()).await?;
        Ok(status)
    }
}
