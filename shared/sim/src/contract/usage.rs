//! The contract of usage per app and day.

use futures::future::join_all;
use logferry_core::model::quota::{Measure, Quota, Used};
use logferry_core::model::time::Day;
use logferry_core::ports::usage::{Usage, UsageDay};

use super::T0;
use super::records::{fresh_app, good};

fn bytes(bytes: u64) -> Used {
    Used { bytes, records: 1, files: 0 }
}

/// Usage of another day, app or registration is separate.
pub async fn usage_adds_up_per_app_registration_and_day<U: Usage>(usage: &U) {
    let of = UsageDay { app_id: fresh_app(), registered_ms: T0, day: Day::of_ms(T0) };
    assert_eq!(good(usage.used(&of).await), Used::default());
    for more in [Used { bytes: 5, records: 2, files: 1 }, Used { bytes: 7, records: 0, files: 1 }] {
        assert_eq!(good(usage.charge(&of, more, &Quota::NONE).await), None);
    }
    assert_eq!(good(usage.used(&of).await), Used { bytes: 12, records: 2, files: 2 });
    for other in [
        UsageDay { app_id: fresh_app(), ..of.clone() },
        UsageDay { registered_ms: T0 + 1, ..of.clone() },
        UsageDay { day: of.day.previous(), ..of.clone() },
    ] {
        assert_eq!(good(usage.used(&other).await), Used::default());
    }
}

/// A refused charge adds nothing and names the exceeded limit.
pub async fn a_quota_is_met_exactly_and_not_exceeded<U: Usage>(usage: &U) {
    let of = UsageDay { app_id: fresh_app(), registered_ms: T0, day: Day::of_ms(T0) };
    let quota = Quota::of(10, 3, 1);
    let charge = async |bytes, records, files| {
        let refused = good(usage.charge(&of, Used { bytes, records, files }, &quota).await);
        refused.map(|exceeded| (exceeded.measure, exceeded.limit))
    };
    assert_eq!(charge(11, 0, 0).await, Some((Measure::Bytes, 10)), "more than a whole day's, at once");
    assert_eq!(charge(6, 1, 1).await, None);
    assert_eq!(charge(5, 1, 0).await, Some((Measure::Bytes, 10)));
    assert_eq!(charge(1, 3, 0).await, Some((Measure::Records, 3)));
    assert_eq!(charge(1, 1, 1).await, Some((Measure::Files, 1)));
    assert_eq!(good(usage.used(&of).await), Used { bytes: 6, records: 1, files: 1 });
    assert_eq!(charge(4, 2, 0).await, None);
    assert_eq!(charge(0, 0, 0).await, None, "nothing more always fits");
    assert_eq!(good(usage.used(&of).await), Used { bytes: 10, records: 3, files: 1 });
}

/// Concurrent charges are all counted and do not exceed the quota together.
pub async fn charges_at_once_stay_within_the_quota<U: Usage>(usage: &U) {
    let of = UsageDay { app_id: fresh_app(), registered_ms: T0, day: Day::of_ms(T0) };
    let quota = Quota::of(50, 0, 0);
    let charges = join_all((0..10).map(|_| usage.charge(&of, bytes(10), &quota))).await;
    let taken = charges.into_iter().filter(|charged| matches!(charged, Ok(None))).count();
    assert_eq!((taken, good(usage.used(&of).await).bytes), (5, 50));
}
