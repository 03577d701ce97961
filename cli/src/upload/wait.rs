//! `--wait`: follows uploaded log files until they are read.

use std::error::Error;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::remote::{Remote, Role, Service, passes};

/// Time between two requests for the state of a file.
const POLL: Duration = Duration::from_secs(1);

/// The states of an app's files.
#[derive(Debug)]
pub(super) struct Files(Service);

/// How waiting for a file ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The row of a file that is COMPLETED or FAILED.
    Read(Value),
    /// The time was over; with the last known status.
    Late(String),
}

impl Files {
    /// # Errors
    /// There is no key that may read the states of files. This is checked before anything is uploaded.
    pub(super) async fn new(remote: &Remote) -> Result<Self, Box<dyn Error>> {
        let files = Self(Service::new(remote)?);
        let checked = files.rows("limit", "1").await;
        checked.map_err(|error| format!("--wait cannot read the states of files: {error}"))?;
        Ok(files)
    }

    async fn rows(&self, name: &str, value: &str) -> Result<Vec<Value>, Box<dyn Error>> {
        let query = vec![(name.to_owned(), value.to_owned())];
        let page = self.0.page(Role::App, "/v1/files", &query).await?;
        Ok(page.data.iter().map(|row| serde_json::from_str(row.get())).collect::<Result<_, _>>()?)
    }

    /// Waits until a file has ended, at most until the deadline.
    pub(super) async fn ended(&self, key: &str, deadline: Instant) -> Result<Ended, Box<dyn Error>> {
        loop {
            let is_late = || Instant::now() + POLL > deadline;
            let rows = match self.rows("key", key).await {
                Err(error) if passes(&*error) && !is_late() => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                rows => rows?,
            };
            let status = |row: &Value| row["status"].as_str().unwrap_or("PENDING").to_owned();
            if let Some(row) = rows.iter().find(|row| matches!(&*status(row), "COMPLETED" | "FAILED")) {
                return Ok(Ended::Read(row.clone()));
            }
            if is_late() {
                return Ok(Ended::Late(rows.first().map_or_else(|| "PENDING".to_owned(), status)));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
