//! Cache of the app settings that concern forwarding.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use logferry_core::logbook::alerts::Alert;
use logferry_core::model::app::{App, AppId, FlushSetting};
use logferry_core::model::block::BlockHeader;
use logferry_core::model::fault::Fault;
use logferry_core::model::level::Level;
use logferry_core::model::record::{Entry, Marks};
use logferry_core::ports::apps::Apps;

/// How long a setting is cached (ms). A change takes effect within this time.
pub const CACHE_MS: i64 = 30_000;

/// App settings, cached by app.
#[derive(Debug)]
pub struct AppCache<A> {
    apps: A,
    known: Mutex<Known>,
}

/// Per app and registration: the setting, and when it was read (ms).
type Known = HashMap<(AppId, i64), (Option<AppSetting>, i64)>;

/// The app settings that `flush` uses.
#[derive(Debug, Clone)]
pub struct AppSetting {
    /// When the app was registered (ms).
    pub registered_ms: i64,
    pub flush: FlushSetting,
    /// The app's own retention in days, if set. New log groups get the same retention.
    pub retention_days: Option<u32>,
    pub alerts: Arc<[Alert]>,
}

impl<A: Apps> AppCache<A> {
    pub fn new(apps: A) -> Self {
        Self { apps, known: Mutex::default() }
    }

    /// Returns the setting of the app registered at `registered_ms`. `None` if that app is deleted, even if
    /// another app has its id by now.
    ///
    /// # Errors
    /// If the setting could not be read and was never cached.
    pub async fn of(
        &self,
        app_id: &AppId,
        registered_ms: i64,
        now_ms: i64,
    ) -> Result<Option<AppSetting>, Fault> {
        let key = (app_id.clone(), registered_ms);
        let known = self.known().get(&key).cloned();
        if let Some((setting, read_ms)) = &known
            && now_ms - read_ms < CACHE_MS
        {
            return Ok(setting.clone());
        }
        match self.now(app_id).await {
            Ok(setting) => {
                let setting = setting.filter(|setting| setting.registered_ms == registered_ms);
                self.known().insert(key, (setting.clone(), now_ms));
                Ok(setting)
            }
            Err(fault) => known.map(|(setting, _)| setting).ok_or(fault),
        }
    }

    /// Returns the setting of the app that has this id now, if any.
    ///
    /// # Errors
    /// If the setting could not be read.
    pub async fn now(&self, app_id: &AppId) -> Result<Option<AppSetting>, Fault> {
        let app = self.apps.find(app_id).await?;
        Ok(app.map(|app| AppSetting {
            registered_ms: app.registered_ms,
            flush: app.flush,
            retention_days: app.retention_days,
            alerts: alerts_of(&app),
        }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the alerts of an app. A rule that this version cannot read does not stop the others.
fn alerts_of(app: &App) -> Arc<[Alert]> {
    let read = |rule| match Alert::new(app, rule) {
        Ok(alert) => Some(alert),
        Err(invalid) => {
            let (app_id, name) = (app.app_id.as_str(), rule.name.as_str());
            tracing::error!(app_id, name, field = invalid.name, "an alert's filter cannot be read");
            None
        }
    };
    app.alerts.iter().filter_map(read).collect()
}

/// Which entries of a block have to be sent, according to its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Nothing,
    AtLeast(Level),
}

/// Whether a record of a block is sent.
#[must_use]
pub fn is_sent(entry: &Entry<'_>, min_level: Level) -> bool {
    entry.level >= min_level || entry.marks.has(Marks::LEVEL_UNKNOWN)
}

#[must_use]
pub fn wanted(setting: FlushSetting, header: &BlockHeader) -> Wanted {
    // A record of an unknown level may be severe: it is always sent.
    let counted = header.levels.at_least(setting.min_level) + i64::from(header.unknown_levels);
    if !setting.enabled || (header.says_levels() && counted == 0) {
        Wanted::Nothing
    } else {
        Wanted::AtLeast(setting.min_level)
    }
}

#[cfg(test)]
mod tests {
    use logferry_core::model::record::EntryKind;

    use super::*;

    #[test]
    fn a_record_of_an_unknown_level_is_sent_whatever_the_least_level_is() {
        let entry = |level, marks| Entry {
            ordinal: 0,
            timestamp_ms: 0,
            level,
            kind: EntryKind::Json,
            timestamp_fallback: false,
            marks,
            raw: "{}",
        };
        assert!(is_sent(&entry(Level::Error, Marks::NONE), Level::Warn));
        assert!(!is_sent(&entry(Level::Info, Marks::NONE), Level::Warn));
        assert!(is_sent(&entry(Level::Info, Marks::LEVEL_UNKNOWN), Level::Warn));
    }
}
