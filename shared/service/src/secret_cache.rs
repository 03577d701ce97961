//! One secret, read when needed and kept for five minutes at most.

use std::fmt;

use logferry_domain::fault::{Fault, FaultClass};
use logferry_ports::Secrets;
use logferry_ports::secrets::SecretVersion;
use tokio::sync::Mutex;

/// How long a secret is used without being read again (ms).
pub const MAX_AGE_MS: i64 = 5 * 60 * 1000;

/// How often it is read again at most when somebody names a version that is not known, or shows a
/// value that does not fit: a rotation is seen at once, and a guesser cannot make us call (ms).
pub const MIN_REREAD_MS: i64 = 5_000;

struct Read {
    at_ms: i64,
    versions: Vec<SecretVersion>,
}

/// A secret and its cached versions. `Debug` shows none of them.
pub struct SecretCache<S> {
    secrets: S,
    secret_id: String,
    read: Mutex<Option<Read>>,
}

impl<S> fmt::Debug for SecretCache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretCache").field("secret_id", &self.secret_id).finish_non_exhaustive()
    }
}

impl<S: Secrets> SecretCache<S> {
    pub fn new(secrets: S, secret_id: impl Into<String>) -> Self {
        Self { secrets, secret_id: secret_id.into(), read: Mutex::new(None) }
    }

    /// The current version.
    ///
    /// # Errors
    /// The secret could not be read.
    pub async fn current(&self, now_ms: i64) -> Result<SecretVersion, Fault> {
        match self.first_where(now_ms, |_| true).await? {
            Some(version) => Ok(version),
            None => Err(Fault::new(FaultClass::NotFound, "GetSecretValue", "the secret has no version")),
        }
    }

    /// The first version (current, then previous) that `fits`. Where none does, the secret is read
    /// again, unless it was a moment ago.
    ///
    /// # Errors
    /// The secret could not be read.
    pub async fn first_where(
        &self,
        now_ms: i64,
        fits: impl Fn(&SecretVersion) -> bool,
    ) -> Result<Option<SecretVersion>, Fault> {
        let mut read = self.read.lock().await;
        if let Some(read) = &*read {
            let age_ms = now_ms - read.at_ms;
            let found = read.versions.iter().find(|version| fits(version));
            match found {
                Some(version) if (0..MAX_AGE_MS).contains(&age_ms) => return Ok(Some(version.clone())),
                None if (0..MIN_REREAD_MS).contains(&age_ms) => return Ok(None),
                _ => {}
            }
        }
        let versions = self.secrets.versions(&self.secret_id).await?;
        let found = versions.iter().find(|version| fits(version)).cloned();
        *read = Some(Read { at_ms: now_ms, versions });
        Ok(found)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex as StdMutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Secrets Manager with one secret, whose reads are counted.
    #[derive(Debug, Default)]
    pub(crate) struct OneSecret {
        versions: StdMutex<Vec<SecretVersion>>,
        pub(crate) reads: AtomicU32,
    }

    impl OneSecret {
        pub(crate) fn with(value: &str) -> Self {
            let secret = Self::default();
            secret.rotate(value);
            secret
        }

        /// Makes `value` the current version `v-{value}`; the former becomes the previous.
        pub(crate) fn rotate(&self, value: &str) {
            let mut versions = self.versions.lock().unwrap();
            versions.insert(0, SecretVersion { version_id: format!("v-{value}"), value: value.to_owned() });
            versions.truncate(2);
        }
    }

    impl Secrets for &OneSecret {
        async fn versions(&self, _: &str) -> Result<Vec<SecretVersion>, Fault> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            Ok(self.versions.lock().unwrap().clone())
        }
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
        cache.current(0).await.unwrap();
        secret.rotate("new");
        let is_new = |version: &SecretVersion| version.value == "new";
        assert_eq!(cache.first_where(MIN_REREAD_MS - 1, is_new).await.unwrap(), None);
        assert!(cache.first_where(MIN_REREAD_MS, is_new).await.unwrap().is_some());
        for step in 0..1000 {
            cache.first_where(MIN_REREAD_MS + step, |_| false).await.unwrap();
        }
        assert_eq!(secret.reads.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn debug_shows_no_value() {
        let secret = OneSecret::with("hush");
        assert!(!format!("{:?}", SecretCache::new(&secret, "id")).contains("hush"));
    }
}
