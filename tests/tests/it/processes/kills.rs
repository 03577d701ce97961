//! Processes are killed with SIGKILL at random moments: before a call, while it is processed, or some
//! milliseconds after its response.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use logferry_tests::number;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::relay::Moment;
use super::sandbox::{Deployed, FUNCTIONS, Harm, Sandbox};
use super::scenes::{Harms, Size, work};

/// Concurrent pieces of work.
const AT_ONCE: usize = 4;
/// The killed functions: ingest twice as often as each of the others.
const FUNCTIONS_KILLED: [&str; 5] = ["ingest", "flush", "ingest", "sweep", "api"];
/// Maximum time after a response (ms): a function needs less between two calls.
const LONGEST_PAUSE_MS: u64 = 20;

fn moment(lot: &mut StdRng) -> Moment {
    match lot.random_range(0..4) {
        0 => Moment::Before,
        1 => Moment::Meanwhile,
        _ => Moment::After(Duration::from_millis(lot.random_range(0..=LONGEST_PAUSE_MS))),
    }
}

/// `LOGFERRY_KILLS=n` kills n times (20); `LOGFERRY_SEED` repeats a run.
#[tokio::test]
async fn killed_at_any_moment_a_functions_work_is_done_once() {
    let Some(deployed) = Deployed::read().await else { return };
    let kills = number("LOGFERRY_KILLS", 20);
    let seed = number("LOGFERRY_SEED", 1);
    println!("LOGFERRY_SEED={seed} LOGFERRY_KILLS={kills}");
    let mut lot = StdRng::seed_from_u64(seed);

    let clean = FUNCTIONS.map(async |function| {
        let mut sandbox = Sandbox::new(&deployed).await;
        let done = work(&mut sandbox, Size::Large, Harms::new(function, [])).await;
        sandbox.remove().await;
        (function, done.calls.len())
    });
    let calls: BTreeMap<_, _> = futures::future::join_all(clean).await.into_iter().collect();
    println!("calls of a run without harm: {calls:?}");

    let mut killed = 0;
    let mut functions = FUNCTIONS_KILLED.iter().cycle();
    // A harm that is planned for after the last call of an invocation does not occur.
    while killed < kills {
        let mut pieces = Vec::new();
        let mut left = kills - killed;
        while left > 0 {
            let function = *functions.next().unwrap();
            let times = lot.random_range(1..=2).min(left);
            left -= times;
            let harm = |_| Harm::Kill(lot.random_range(0..calls[function]), moment(&mut lot));
            pieces.push((function, (0..times).map(harm).collect::<Vec<_>>()));
        }
        let play = async |(function, harms): (&'static str, Vec<Harm>)| {
            println!("{function}: {harms:?}");
            let mut sandbox = Sandbox::new(&deployed).await;
            let done = work(&mut sandbox, Size::Large, Harms::new(function, harms)).await;
            sandbox.remove().await;
            assert!(done.fired > 0, "{function} was not killed");
            u64::from(done.fired)
        };
        let fired: Vec<_> = futures::stream::iter(pieces).map(play).buffer_unordered(AT_ONCE).collect().await;
        killed += fired.iter().sum::<u64>();
    }
    println!("killed {killed} times");
}
