//! The contract of counters that files and prunes change together.

use logferry_core::ledger::claim::{Finished, Lease, Ledger};
use logferry_core::ledger::files::Files;
use logferry_core::ledger::row::FileStatus;
use logferry_core::logbook::blocks::{BlockTable, StoredHeader};
use logferry_core::logbook::counters::Stats;
use logferry_core::logbook::records::{CountedIn, CountedRemoval, Records, Removal, Removed};
use logferry_core::model::block::{Block, FileBlock};
use logferry_core::model::expiry::{Expiring, expires_at_secs};
use logferry_core::model::fault::FaultClass;
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::time::Day;

use super::T0;
use super::ledger::{claim, claimed, fresh, lease, outcome};
use super::records::{ALWAYS, EPOCH, block, counted, counts, good, stored, write};

fn of_file(mut block: Block, held: &Lease, packing: &str) -> Block {
    let (object, packing) = (held.object.clone(), PackFingerprint::from_stored(packing));
    block.header.source = format!("s3://{}/{}", object.bucket, object.key);
    block.header.file = Some(Box::new(FileBlock { object, packing }));
    block
}

/// Counted records per day, newest day first.
async fn days(book: &impl Stats, app_id: &logferry_core::model::app::AppId) -> Vec<(Day, i64)> {
    let all = counted(book, app_id, ALWAYS.0, ALWAYS.1).await;
    all.into_iter().map(|(day, counts)| (day, counts.levels.total())).filter(|(_, n)| *n != 0).collect()
}

/// A worker that does not know of a prune cannot end a file with counts of hidden records, and no write
/// stores hidden records.
pub async fn what_is_hidden_is_not_counted_any_more<B: Records + Stats + BlockTable>(
    ledger: &impl Ledger,
    book: &B,
) {
    let (object, app_id) = fresh("hidden");
    let held = Lease { registered_ms: EPOCH, ..lease(&claimed(ledger, &claim(&object, &app_id, T0)).await) };
    let today = Day::of_ms(T0);
    good(book.hide(&app_id, EPOCH, today, T0, T0).await);
    good(book.hide(&app_id, EPOCH, today, T0 - 5, T0).await);
    let end = outcome([(today.0, 5), (today.0 + 1, 2)]);
    for known in [None, Some(T0 - 1)] {
        let ignorant = Lease { pruned_before_ms: known, ..held.clone() };
        assert_eq!(good(ledger.finish(&ignorant, &end, T0).await), Finished::Pruned);
    }
    let row = good(ledger.find(&object).await).unwrap_or_else(|| panic!("no row"));
    assert_eq!((row.status, days(book, &app_id).await), (FileStatus::Processing, vec![]));
    let knowing = Lease { pruned_before_ms: Some(T0), ..held };
    assert_eq!(good(ledger.finish(&knowing, &end, T0).await), Finished::Yes);
    assert_eq!(days(book, &app_id).await, [(Day(today.0 + 1), 2), (today, 5)]);

    let old = book.write(&write(&app_id, vec![block(&app_id, "old", &[T0 - 1, T0 + 1])])).await;
    assert_eq!(old.map_err(|fault| fault.class), Err(FaultClass::Transient));
    good(book.write(&write(&app_id, vec![block(&app_id, "new", &[T0, T0 + 1])])).await);
    assert_eq!(days(book, &app_id).await, [(Day(today.0 + 1), 2), (today, 7)]);
}

/// A prune subtracts from the counters and from the counts of the file. If the file is redriven, nothing is
/// subtracted twice.
pub async fn a_removal_takes_from_the_file_too<B: Records + Stats + BlockTable>(
    ledger: &impl Ledger,
    files: &impl Files,
    book: &B,
) {
    let (object, app_id) = fresh("taken");
    let held = Lease { registered_ms: EPOCH, ..lease(&claimed(ledger, &claim(&object, &app_id, T0)).await) };
    let today = Day::of_ms(T0);
    let blocks: Vec<Block> =
        ["a", "b"].map(|name| of_file(block(&app_id, name, &[T0 - 2, T0 - 1]), &held, "p")).into();
    assert_eq!(good(book.put(blocks.clone()).await), []);
    assert_eq!(good(book.counted(&object, today).await), None);
    good(ledger.finish(&held, &outcome([(today.0, 10)]), T0).await);
    let seen = good(book.counted(&object, today).await).unwrap_or_else(|| panic!("nothing counted"));
    assert_eq!((seen.registered_ms, seen.from_ms, seen.counts.total().levels.total()), (EPOCH, None, 10));

    let removal = |block: &Block, revision| CountedRemoval {
        header: block.header.clone(),
        extents: 0,
        removal: Removal::Block,
        counts: counts(2),
        counted_in: CountedIn::File { revision },
    };
    let first = removal(&blocks[0], seen.revision);
    assert_eq!(good(book.remove_counted(&first).await), Removed::Yes);
    assert_eq!(good(book.remove_counted(&first).await), Removed::BlockDiffers);
    let late = removal(&blocks[1], seen.revision);
    assert_eq!(good(book.remove_counted(&late).await), Removed::CountDiffers);
    let nowhere = CountedRemoval { counted_in: CountedIn::Nowhere, ..late };
    assert_eq!(good(book.remove_counted(&nowhere).await), Removed::Yes);
    assert_eq!(days(book, &app_id).await, [(today, 8)]);

    let row = good(ledger.find(&object).await).unwrap_or_else(|| panic!("no row"));
    assert!(good(files.redrive(&row, T0).await));
    let again = lease(&claimed(ledger, &claim(&object, &app_id, T0)).await);
    let again = Lease { registered_ms: EPOCH, pruned_before_ms: Some(T0), ..again };
    assert_eq!(good(ledger.finish(&again, &outcome([(today.0, 8)]), T0).await), Finished::Yes);
    assert_eq!(days(book, &app_id).await, [(today, 8)]);
    let seen = good(book.counted(&object, today).await).and_then(|counted| counted.from_ms);
    assert_eq!(seen, Some(T0), "what is older was never counted");
}

/// A file that was counted for an earlier app of the same id is counted completely for the new one.
pub async fn an_app_of_the_same_id_counts_from_nothing<B: Records + Stats + BlockTable>(
    ledger: &impl Ledger,
    files: &impl Files,
    book: &B,
) {
    let (object, app_id) = fresh("epoch");
    let today = Day::of_ms(T0);
    let old = lease(&claimed(ledger, &claim(&object, &app_id, T0)).await);
    good(ledger.finish(&Lease { registered_ms: EPOCH - 7, ..old }, &outcome([(today.0, 5)]), T0).await);
    let page = good(Stats::newest(book, &app_id, ALWAYS.0, ALWAYS.1, 100, None).await);
    let keys: Vec<_> = page.rows.iter().map(|row| row.key).collect();
    good(Stats::remove(book, &app_id, &keys).await);
    let row = good(ledger.find(&object).await).unwrap_or_else(|| panic!("no row"));
    assert!(good(files.redrive(&row, T0).await));
    let new = lease(&claimed(ledger, &claim(&object, &app_id, T0)).await);
    good(ledger.finish(&Lease { registered_ms: EPOCH, ..new }, &outcome([(today.0, 5)]), T0).await);
    assert_eq!(days(book, &app_id).await, [(today, 5)]);
}

/// A block that has replaced the one to be removed is kept.
pub async fn a_removal_spares_what_took_the_place<B: Records + Stats + BlockTable>(
    ledger: &impl Ledger,
    book: &B,
) {
    let (object, app_id) = fresh("spared");
    let held = lease(&claimed(ledger, &claim(&object, &app_id, T0)).await);
    let old = of_file(block(&app_id, "a", &[T0]), &held, "old");
    let plain = block(&app_id, "b", &[T0]);
    let mut replaced = plain.clone();
    replaced.header.registered_ms += 1;
    good(book.put(vec![old.clone(), plain.clone()]).await);
    let new = of_file(old.clone(), &held, "new");
    good(book.put(vec![new.clone(), replaced.clone()]).await);
    let header =
        |block: &Block| StoredHeader { header: block.header.clone(), extents: 0, pruned_to_ms: None };
    good(BlockTable::remove(book, &[header(&old), header(&plain)]).await);
    for left in [&new, &replaced] {
        assert!(stored(book, left).await.contains(&header(left)), "{left:?}");
    }
    good(BlockTable::remove(book, &[header(&new), header(&replaced)]).await);
    assert_eq!([stored(book, &new).await, stored(book, &replaced).await], [vec![], vec![]]);
    good(ledger.finish(&held, &outcome([]), T0).await);
}

/// Counts are separated by the expiry of their records, and are subtracted accordingly.
pub async fn counts_stand_apart_by_their_expiry<B: Records + Stats + BlockTable>(book: &B) {
    let (_, app_id) = fresh("expiry");
    let today = Day::of_ms(T0);
    let day = |n: i32| Day(today.0 + n);
    let expiring = |name: &str, on: Day| {
        let mut own = block(&app_id, name, &[T0, T0 + 1]);
        own.header.expires_at_secs = Some(expires_at_secs(on));
        own
    };
    for (name, on) in [("a", day(9)), ("b", day(5)), ("c", day(9)), ("d", day(12)), ("e", day(5))] {
        good(book.write(&write(&app_id, vec![expiring(name, on)])).await);
    }
    let alive = async |now: Day| {
        let page = good(Stats::newest(book, &app_id, today, today, 100, None).await);
        page.rows.iter().map(|row| row.counts.alive(now.start_ms()).levels.total()).sum::<i64>()
    };
    for (now, records) in [(today, 10), (day(5), 6), (day(8), 6), (day(9), 2), (day(12), 0)] {
        assert_eq!(alive(now).await, records, "{now}");
    }
    let removal = CountedRemoval {
        header: expiring("b", day(5)).header,
        extents: 0,
        removal: Removal::Block,
        counts: counts(2),
        counted_in: CountedIn::Counters,
    };
    assert_eq!(good(book.remove_counted(&removal).await), Removed::Yes);
    for (now, records) in [(today, 8), (day(5), 6), (day(9), 2), (day(12), 0)] {
        assert_eq!(alive(now).await, records, "{now}");
    }
}

/// A file whose records expire on another day than before is counted only there.
pub async fn a_files_counts_move_with_their_expiry<B: Records + Stats + BlockTable>(
    ledger: &impl Ledger,
    files: &impl Files,
    book: &B,
) {
    let (object, app_id) = fresh("moved");
    let today = Day::of_ms(T0);
    let mut end = outcome([(today.0, 5), (today.0 + 1, 2)]);
    for on in [Day(40_000), Day(39_000), Day(41_000)] {
        for counts in end.days.values_mut() {
            *counts = Expiring::one(on, counts.total());
        }
        let held =
            Lease { registered_ms: EPOCH, ..lease(&claimed(ledger, &claim(&object, &app_id, T0)).await) };
        assert_eq!(good(ledger.finish(&held, &end, T0).await), Finished::Yes);
        let page = good(Stats::newest(book, &app_id, ALWAYS.0, ALWAYS.1, 100, None).await);
        let alive = |now: Day| -> i64 {
            page.rows.iter().map(|row| row.counts.alive(now.start_ms()).levels.total()).sum()
        };
        assert_eq!((alive(on.previous()), alive(on)), (7, 0), "{on}");
        let counted = good(book.counted(&object, today).await).map(|counted| counted.counts);
        assert_eq!(counted.as_ref(), end.days.get(&today));
        let row = good(ledger.find(&object).await).unwrap_or_else(|| panic!("no row"));
        assert!(good(files.redrive(&row, T0).await));
    }
}
