//! Upload sessions whose time is over: their parts are freed, their rows ended.

use logferry_domain::fault::{Fault, chain};
use logferry_domain::upload::{Session, SessionStatus};
use logferry_ports::{Clock, Multipart, Sessions};

/// Sessions that one run ends; the next goes on.
pub const SESSIONS_PER_RUN: u32 = 100;

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
    /// One run.
    ///
    /// # Errors
    /// The index cannot be read. A session that fails does not stop the others.
    pub async fn run(&self) -> Result<EndedUploads, Fault> {
        let mut ended = EndedUploads::default();
        for session in self.sessions.overdue(self.clock.now_ms(), SESSIONS_PER_RUN).await? {
            match self.end(&session).await {
                Ok(SessionStatus::Completed) => ended.completed += 1,
                Ok(_) => ended.aborted += 1,
                Err(fault) => {
                    ended.failed += 1;
                    tracing::warn!(upload.key = %session.key, error.chain = %chain(&fault), "a session stays due");
                }
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
