//! Setting the retention of log groups does not delay events.

use batch_buffer::ErrorClass;
use batch_buffer::testing::{Call, Fault};
use logferry_core::model::app::App;
use logferry_flush::Tally;
use logferry_tests::stream::{EPOCH_MS, event, flush};

use super::world::{LONG, World, block, failed, inserted};

const GROUP: &str = "/logferry/app";

fn retentions(world: &World) -> Vec<(String, u32)> {
    let calls = world.logs().calls().into_iter().filter_map(|call| match call {
        Call::SetRetention { group, days } => Some((group, days)),
        _ => None,
    });
    calls.collect()
}

#[tokio::test(start_paused = true)]
async fn a_retention_is_set_once_when_the_group_is_new_and_again_when_the_app_wants_another() {
    let world = World::new().without_apps();
    world.register("app", EPOCH_MS);
    let environment = flush(&world.cloud, world.cloud.clone());
    let send = async |n: usize| {
        let records = [inserted(n, &block("app", &format!("s{n}"), 3))];
        let handled = environment.handle(&event(&records), world.deadline_ms(LONG)).await;
        assert_eq!((handled.tally.sent, handled.retentions_failed), (3, 0));
    };
    for n in 0..5 {
        send(n).await;
    }
    assert_eq!(retentions(&world), [(GROUP.to_owned(), 30)]);
    assert_eq!(world.logs().retention(GROUP), Some(30));

    let app = world.cloud.apps_now().remove(0);
    world.cloud.set_app(App { retention_days: Some(7), ..app });
    world.cloud.clock().advance_ms(60_000);
    send(5).await;
    send(6).await;
    assert_eq!(retentions(&world)[1..], [(GROUP.to_owned(), 7)]);

    // Another environment finds group and stream, and sets nothing.
    let other = flush(&world.cloud, world.cloud.clone());
    other.handle(&event(&[inserted(7, &block("app", "s7", 3))]), world.deadline_ms(LONG)).await;
    assert_eq!(retentions(&world).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_retention_that_cannot_be_set_keeps_no_event_and_waits_a_minute() {
    let faults = [
        Fault::Fail(ErrorClass::Throttling),
        Fault::Fail(ErrorClass::AccessDenied),
        Fault::Hang,
        Fault::LoseAnswer,
    ];
    for fault in faults {
        let world = World::new().without_apps();
        world.register("app", EPOCH_MS);
        world.logs().break_retentions(Some(fault));
        let environment = flush(&world.cloud, world.cloud.clone());
        let send = async |n: usize| {
            let records = [inserted(n, &block("app", &format!("s{n}"), 3))];
            let handled = environment.handle(&event(&records), world.deadline_ms(LONG)).await;
            assert_eq!(failed(&handled), [""; 0], "{fault:?}");
            assert_eq!(handled.tally, Tally { records_in: 3, sent: 3, ..Tally::default() });
            handled.retentions_failed
        };
        assert_eq!(send(0).await, 1, "{fault:?}");
        for n in 1..20 {
            assert_eq!(send(n).await, 0, "{fault:?}: not at every invocation");
        }
        assert_eq!(retentions(&world).len(), 1);
        assert!(world.cloud.dead_letters_now().is_empty());

        world.cloud.clock().advance_ms(61_000);
        world.logs().break_retentions(None);
        assert_eq!(send(20).await, 0);
        assert_eq!(world.logs().retention(GROUP), Some(30), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_new_groups_get_their_retentions_at_the_pace_of_the_service() {
    let world = World::new();
    let environment = flush(&world.cloud, world.cloud.clone());
    let records: Vec<_> = (0..100).map(|n| inserted(n, &block(&format!("app-{n}"), "s", 1))).collect();
    world.register_all(&records);
    let mut failed_retentions = 0;
    for _ in 0..200 {
        let handled = environment.handle(&event(&records), world.deadline_ms(LONG)).await;
        failed_retentions += handled.retentions_failed;
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        world.cloud.clock().advance_ms(5_000);
    }
    assert_eq!((world.sent().len(), failed_retentions), (100, 0));
    assert!((0..100).all(|n| world.logs().retention(&format!("/logferry/app-{n}")) == Some(30)));
    assert_eq!(retentions(&world).len(), 100, "each once");
}
