//! Every call of a function fails in each of nine ways. The calls are recorded in a run without faults, so
//! new ones are covered automatically.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use logferry_tests::number;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::relay::{Fault, Planned};
use super::sandbox::{Deployed, FUNCTIONS, Harm, Sandbox};
use super::scenes::{Harms, Size, work};

/// Attempts of the SDK per call: only after this many failures in a row, the function itself sees the
/// failure.
const ATTEMPTS: u32 = 3;
/// Concurrent runs: most of the time they wait.
const AT_ONCE: usize = 32;

/// Files, uploads, removals and missed objects make about as many calls each.
const PARTS_OF_SWEEP: usize = 4;

/// The first call of this name. If it has no effect, it fails often enough for the function to notice.
fn first_of(name: &str, fault: Fault) -> Planned {
    let times = match fault {
        Fault::Throttled | Fault::InternalError | Fault::Unavailable | Fault::Reset | Fault::CutShort => {
            ATTEMPTS
        }
        Fault::Expired | Fault::ReplyLost | Fault::Garbled | Fault::Late => 1,
    };
    Planned { name: name.to_owned(), skip: 0, fault, times }
}

/// A random call of this name, failing once or twice.
fn any_of(name: &str, fault: Fault, lot: &mut StdRng) -> Planned {
    let times = if fault == Fault::Late { 1 } else { lot.random_range(1..=2 * ATTEMPTS) };
    Planned { name: name.to_owned(), skip: lot.random_range(0..3), fault, times }
}

/// Returns the calls of a run without faults, in order of their first occurrence.
async fn calls_of(deployed: &Arc<Deployed>, function: &'static str) -> Vec<String> {
    let mut sandbox = Sandbox::new(deployed).await;
    let done = work(&mut sandbox, Size::Small, Harms::new(function, [])).await;
    sandbox.remove().await;
    let mut seen = BTreeSet::new();
    done.calls.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

/// Returns the calls that fail in one run: one; for `sweep`, whose parts are independent, some that are far
/// apart.
fn together(function: &str, calls: &[String]) -> Vec<Vec<String>> {
    let at_once = if function == "sweep" { PARTS_OF_SWEEP } else { 1 };
    let step = calls.len().div_ceil(at_once);
    (0..step).map(|first| calls.iter().skip(first).step_by(step).cloned().collect()).collect()
}

/// Whether a planned fault did not occur although it had to. With several faults, one may prevent the call
/// of another, and flush does not set a retention within a minute of one that could not be set.
fn never_came(unfired: &[Planned], planned: usize) -> bool {
    unfired.len() == planned && unfired.iter().any(|fault| fault.name != "Logs.PutRetentionPolicy")
}

/// Runs some cases, one after another. Returns the unexpected failures.
async fn play(
    deployed: Arc<Deployed>,
    function: &'static str,
    cases: Vec<(Vec<Planned>, bool)>,
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut sandbox = Sandbox::new(&deployed).await;
    for (planned, must_fire) in cases {
        let what = format!("{function} {planned:?}");
        let how_many = planned.len();
        let harms = Harms::new(function, [Harm::Faults(planned)]);
        match AssertUnwindSafe(work(&mut sandbox, Size::Small, harms)).catch_unwind().await {
            Ok(done) if must_fire && never_came(&done.unfired, how_many) => {
                failures.push(format!("{what}: these did not come about: {:?}", done.unfired));
            }
            Ok(_) => {}
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let output = sandbox.output(function);
                failures.push(format!("{what}: {}\n{output}", text.unwrap_or_default()));
                sandbox = Sandbox::new(&deployed).await;
            }
        }
    }
    sandbox.remove().await;
    failures
}

/// `LOGFERRY_FAULTS=n` adds n - 1 rounds, with random calls and numbers of failures; `LOGFERRY_SEED=n`
/// changes them.
async fn every_call_goes_wrong(function: &'static str) {
    let Some(deployed) = Deployed::read().await else { return };
    let (rounds, seed) = (number("LOGFERRY_FAULTS", 1), number("LOGFERRY_SEED", 1));
    eprintln!("LOGFERRY_FAULTS={rounds} LOGFERRY_SEED={seed}");
    let mut lot = StdRng::seed_from_u64(seed);
    let calls = calls_of(&deployed, function).await;
    eprintln!("{function}: {} calls: {}", calls.len(), calls.join(", "));

    let mut runs = Vec::new();
    for names in together(function, &calls) {
        let mut cases = Vec::new();
        for fault in Fault::ALL {
            cases.push((names.iter().map(|name| first_of(name, fault)).collect(), true));
        }
        for _ in 1..rounds {
            for fault in Fault::ALL {
                cases.push((names.iter().map(|name| any_of(name, fault, &mut lot)).collect(), false));
            }
        }
        runs.push(play(deployed.clone(), function, cases));
    }
    assert!(!runs.is_empty(), "{function} made no call");
    let failures: Vec<_> = futures::stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
    let failures = failures.concat();
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

/// One test per function, so that they run in parallel.
macro_rules! whichever_call_goes_wrong_work_is_done_once {
    ($($function:ident)*) => {
        #[test]
        fn no_function_is_left_out() {
            assert_eq!([$(stringify!($function)),*], FUNCTIONS);
        }

        $(
            #[tokio::test]
            async fn $function() {
                every_call_goes_wrong(stringify!($function)).await;
            }
        )*
    };
}

whichever_call_goes_wrong_work_is_done_once! { ingest flush sweep api }
