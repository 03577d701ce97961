//! What each app wants forwarded, read once in a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use logferry_domain::app::{AppId, FlushSetting};
use logferry_domain::block::BlockHeader;
use logferry_domain::fault::Fault;
use logferry_domain::record::Level;
use logferry_ports::Apps;

/// How long a setting is used before it is read again (ms): a change is effective within this.
pub const CACHE_MS: i64 = 30_000;

/// Settings by app.
#[derive(Debug)]
pub struct Settings<A> {
    apps: A,
    known: Mutex<HashMap<AppId, (AppSetting, i64)>>,
}

/// What of an app's settings concerns flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppSetting {
    pub flush: FlushSetting,
    /// The days that the app keeps its records, where it says so; a log group that is created keeps them as long.
    pub retention_days: Option<u32>,
}

impl<A: Apps> Settings<A> {
    pub fn new(apps: A) -> Self {
        Self { apps, known: Mutex::default() }
    }

    /// An app that is not registered has the default setting: what was stored is forwarded.
    ///
    /// # Errors
    /// The setting could not be read and was never known.
    pub async fn of(&self, app_id: &AppId, now_ms: i64) -> Result<AppSetting, Fault> {
        let known = self.known().get(app_id).copied();
        if let Some((setting, read_ms)) = known
            && now_ms - read_ms < CACHE_MS
        {
            return Ok(setting);
        }
        match self.apps.find(app_id).await {
            Ok(app) => {
                let setting = app.map_or_else(AppSetting::default, |app| AppSetting {
                    flush: app.flush,
                    retention_days: app.retention_days,
                });
                self.known().insert(app_id.clone(), (setting, now_ms));
                Ok(setting)
            }
            Err(fault) => known.map(|(setting, _)| setting).ok_or(fault),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<AppId, (AppSetting, i64)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a block is to be sent, by its header alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Nothing,
    AtLeast(Level),
}

#[must_use]
pub fn wanted(setting: FlushSetting, header: &BlockHeader) -> Wanted {
    // A header without counts says nothing about its levels.
    let says_levels = header.levels.total() == i64::from(header.count);
    if !setting.enabled || (says_levels && header.levels.at_least(setting.min_level) == 0) {
        Wanted::Nothing
    } else {
        Wanted::AtLeast(setting.min_level)
    }
}
