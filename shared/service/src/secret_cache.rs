//! Cache of a secret: read when needed, kept for five minutes by default.

use std::fmt;

use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::ports::secrets::{SecretVersion, Secrets, Stage};
use tokio::sync::Mutex;

/// How long a version is used without being read again (ms).
pub const MAX_AGE_MS: i64 = 5 * 60 * 1000;

/// Minimum time between reads when a caller names an unknown version or sends a wrong value (ms). A
/// rotation is seen at once, and guessing does not cause many calls.
pub const MIN_REREAD_MS: i64 = 5_000;

/// Maximum age of a copy that is used while Secrets Manager does not answer (ms). A rotation is not seen
/// during that time.
pub const MAX_STALE_MS: i64 = 15 * 60 * 1000;

/// What is known of one stage.
#[derive(Default)]
struct Slot {
    /// When Secrets Manager was last called, with or without success.
    asked_ms: Option<i64>,
    read: Option<Read>,
}

struct Read {
    at_ms: i64,
    version: Option<SecretVersion>,
}

/// A secret and its cached versions. `Debug` shows none of them.
pub struct SecretCache<S> {
    secrets: S,
    secret_id: String,
    stages: &'static [Stage],
    max_age_ms: i64,
    slots: Mutex<[Slot; 2]>,
}

impl<S> fmt::Debug for SecretCache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretCache").field("secret_id", &self.secret_id).finish_non_exhaustive()
    }
}

impl<S: Secrets> SecretCache<S> {
    /// A secret whose current and previous versions are valid.
    pub fn new(secrets: S, secret_id: impl Into<String>) -> Self {
        Self {
            secrets,
            secret_id: secret_id.into(),
            stages: &[Stage::Current, Stage::Previous],
            max_age_ms: MAX_AGE_MS,
            slots: Mutex::default(),
        }
    }

    /// A secret whose current version only is valid, read again after `max_age_ms`.
    pub fn current_only(secrets: S, secret_id: impl Into<String>, max_age_ms: i64) -> Self {
        Self { stages: &[Stage::Current], max_age_ms, ..Self::new(secrets, secret_id) }
    }

    /// Returns the current version.
    ///
    /// # Errors
    /// The secret could not be read.
    pub async fn current(&self, now_ms: i64) -> Result<SecretVersion, Fault> {
        let mut slots = self.slots.lock().await;
        let version = self.version(&mut slots[0], Stage::Current, self.max_age_ms, now_ms).await?;
        version.ok_or_else(|| Fault::new(FaultClass::NotFound, "GetSecretValue", "the secret has no version"))
    }

    /// Returns the first version (current, then previous) that `fits`. If none does, versions older than
    /// [`MIN_REREAD_MS`] are read again.
    ///
    /// # Errors
    /// None fits, and not every version could be read.
    pub async fn first_where(
        &self,
        now_ms: i64,
        fits: impl Fn(&SecretVersion) -> bool,
    ) -> Result<Option<SecretVersion>, Fault> {
        let mut slots = self.slots.lock().await;
        let mut unread = None;
        for max_age_ms in [self.max_age_ms, MIN_REREAD_MS.min(self.max_age_ms)] {
            for (slot, stage) in slots.iter_mut().zip(self.stages) {
                match self.version(slot, *stage, max_age_ms, now_ms).await {
                    Ok(Some(version)) if fits(&version) => return Ok(Some(version)),
                    Ok(_) => {}
                    Err(fault) => unread = Some(fault),
                }
            }
        }
        unread.map_or(Ok(None), Err)
    }

    /// Returns a stage's version, at most `max_age_ms` old. While Secrets Manager does not answer, an older
    /// copy is used, and it is called again every [`MIN_REREAD_MS`].
    async fn version(
        &self,
        slot: &mut Slot,
        stage: Stage,
        max_age_ms: i64,
        now_ms: i64,
    ) -> Result<Option<SecretVersion>, Fault> {
        let within = |since_ms: i64, age_ms: i64| (0..age_ms).contains(&(now_ms - since_ms));
        let usable = |slot: &Slot, age_ms: i64| {
            slot.read.as_ref().filter(|read| within(read.at_ms, age_ms)).map(|read| read.version.clone())
        };
        if let Some(version) = usable(slot, max_age_ms) {
            return Ok(version);
        }
        if slot.asked_ms.is_some_and(|asked_ms| within(asked_ms, MIN_REREAD_MS))
            && let Some(version) = usable(slot, MAX_STALE_MS)
        {
            return Ok(version);
        }
        slot.asked_ms = Some(now_ms);
        match self.secrets.version(&self.secret_id, stage).await {
            Ok(version) => {
                slot.read = Some(Read { at_ms: now_ms, version: version.clone() });
                Ok(version)
            }
            Err(fault) => match usable(slot, MAX_STALE_MS).filter(|_| fault.retryable()) {
                Some(version) => {
                    tracing::warn!(error.chain = %chain(&fault), "failed to read a secret; using the cached copy");
                    Ok(version)
                }
                None => Err(fault),
            },
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex as StdMutex;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    /// Secrets Manager with one secret, whose reads are counted and can fail.
    #[derive(Debug, Default)]
    pub(crate) struct OneSecret {
        versions: StdMutex<Vec<SecretVersion>>,
        pub(crate) reads: AtomicU32,
        pub(crate) is_down: AtomicBool,
        pub(crate) previous_is_down: AtomicBool,
    }

    impl OneSecret {
        pub(crate) fn with(value: &str) -> Self {
            let secret = Self::default();
            secret.rotate(value);
            secret
        }

        /// Makes `value` the current version `v-{value}`; the current one becomes the previous one.
        pub(crate) fn rotate(&self, value: &str) {
            let mut versions = self.versions.lock().unwrap();
            versions.insert(0, SecretVersion { version_id: format!("v-{value}"), value: value.to_owned() });
            versions.truncate(2);
        }
    }

    impl Secrets for &OneSecret {
        async fn version(&self, _: &str, stage: Stage) -> Result<Option<SecretVersion>, Fault> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let index = usize::from(stage == Stage::Previous);
            let down = [&self.is_down, &self.previous_is_down][index].load(Ordering::Relaxed);
            if down || self.is_down.load(Ordering::Relaxed) {
                return Err(Fault::new(FaultClass::Timeout, "GetSecretValue", "no answer"));
            }
            Ok(self.versions.lock().unwrap().get(index).cloned())
        }
    }

    fn is(value: &'static str) -> impl Fn(&SecretVersion) -> bool {
        move |version| version.value == value
    }

    #[tokio::test]
    async fn a_secret_is_read_once_in_five_minutes_and_a_rotation_is_seen_after() {
        let secret = OneSecret::with("old");
        let cache = SecretCache::new(&secret, "id");
        for now_ms in [0, 1, MAX_AGE_MS - 1] {
            assert_eq!(cache.current(now_ms).await.unwrap().value, "old");
        }
        assert_eq!(secret.reads.load(Ordering::Relaxed), 1);
        secret.rotate("new");
        assert_eq!(cache.current(MAX_AGE_MS - 1).await.unwrap().value, "old");
        assert_eq!(cache.current(MAX_AGE_MS).await.unwrap().value, "new");
    }

    #[tokio::test]
    async fn what_does_not_fit_makes_it_read_again_but_not_more_often_than_every_few_seconds() {
        let secret = OneSecret::with("old");
        let cache = SecretCache::new(&secret, "id");
        assert!(cache.first_where(0, |_| false).await.unwrap().is_none());
        secret.rotate("new");
        assert_eq!(cache.first_where(MIN_REREAD_MS - 1, is("new")).await.unwrap(), None);
        assert!(cache.first_where(MIN_REREAD_MS, is("new")).await.unwrap().is_some());
        for step in 0..1000 {
            cache.first_where(MIN_REREAD_MS + step, |_| false).await.unwrap();
        }
        assert_eq!(secret.reads.load(Ordering::Relaxed), 4, "each version twice");
    }

    #[tokio::test]
    async fn an_unreadable_previous_version_does_not_block_the_current_one() {
        let secret = OneSecret::with("old");
        secret.rotate("new");
        secret.previous_is_down.store(true, Ordering::Relaxed);
        let cache = SecretCache::new(&secret, "id");
        assert_eq!(cache.current(0).await.unwrap().value, "new");
        assert!(cache.first_where(0, is("new")).await.unwrap().is_some());
        // A candidate for the previous version is neither right nor wrong.
        assert!(cache.first_where(0, is("old")).await.unwrap_err().retryable());
        secret.previous_is_down.store(false, Ordering::Relaxed);
        assert!(cache.first_where(1, is("old")).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn while_nothing_answers_the_last_copy_stands_in_for_a_quarter_of_an_hour() {
        let secret = OneSecret::with("old");
        let cache = SecretCache::new(&secret, "id");
        cache.current(0).await.unwrap();
        secret.is_down.store(true, Ordering::Relaxed);
        secret.rotate("new");
        let mut now_ms = MAX_AGE_MS;
        while now_ms < MAX_STALE_MS {
            assert_eq!(cache.current(now_ms).await.unwrap().value, "old", "after {now_ms} ms");
            now_ms += 1_000;
        }
        let tries = secret.reads.load(Ordering::Relaxed) - 1;
        assert_eq!(i64::from(tries), (MAX_STALE_MS - MAX_AGE_MS) / MIN_REREAD_MS);
        assert!(cache.current(MAX_STALE_MS).await.unwrap_err().retryable());
        secret.is_down.store(false, Ordering::Relaxed);
        assert_eq!(cache.current(MAX_STALE_MS + 1).await.unwrap().value, "new");
    }

    #[test]
    fn debug_shows_no_value() {
        let secret = OneSecret::with("hush");
        assert!(!format!("{:?}", SecretCache::new(&secret, "id")).contains("hush"));
    }
}
