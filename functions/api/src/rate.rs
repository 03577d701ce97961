//! Rate limit: a token bucket per app, in the memory of this instance. API Gateway limits the whole
//! deployment; this limit keeps one app from using all of an instance.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use logferry_service::http::ApiError;

/// Maximum number of buckets. Above that, full ones are dropped.
const MAX_BUCKETS: usize = 10_000;

/// Admits requests at a rate, with bursts of twice the rate.
#[derive(Debug)]
pub struct Limiter {
    per_second: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at_ms: i64,
}

impl Limiter {
    /// `per_second` requests of each app; 0 means no limit.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second), buckets: Mutex::default() }
    }

    /// Takes a token from the bucket of `name`.
    ///
    /// # Errors
    /// 429 with the seconds until a token is available.
    pub(crate) fn admit(&self, name: &str, now_ms: i64) -> Result<(), ApiError> {
        if self.per_second == 0.0 {
            return Ok(());
        }
        let burst = self.per_second * 2.0;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(name) {
            buckets.retain(|_, bucket| now_ms - bucket.at_ms < 2_000);
        }
        let bucket = buckets.entry(name.to_owned()).or_insert(Bucket { tokens: burst, at_ms: now_ms });
        let passed_ms = i32::try_from((now_ms - bucket.at_ms).max(0)).unwrap_or(i32::MAX);
        bucket.tokens = (bucket.tokens + f64::from(passed_ms) / 1000.0 * self.per_second).min(burst);
        bucket.at_ms = now_ms.max(bucket.at_ms);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let mut error =
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "too many requests; send fewer");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 1 / rate")]
        let secs = ((1.0 - bucket.tokens) / self.per_second).ceil().max(1.0) as u32;
        error.retry_after_secs = Some(secs);
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_admitted_then_the_rate_and_other_apps_do_not_notice() {
        let limiter = Limiter::new(5);
        let admitted = (0..20).filter(|_| limiter.admit("a", 1_000).is_ok()).count();
        assert_eq!(admitted, 10);
        assert!(limiter.admit("b", 1_000).is_ok());
        let refused = limiter.admit("a", 1_000).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.retry_after_secs), (429, Some(1)));
        let admitted = (0..20).filter(|_| limiter.admit("a", 2_000).is_ok()).count();
        assert_eq!(admitted, 5);
        assert!((0..1000).all(|_| Limiter::new(0).admit("a", 0).is_ok()));
    }
}
