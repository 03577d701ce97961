//! The contract of logs of arrivals.

use logferry_core::model::ids::BlockId;
use logferry_core::ports::arrivals::{ArrivalLog, ArrivalLogId, ArrivalRow, BlockArrival, LevelSet};

use super::T0;
use super::records::{fresh_app, good};

fn row(number: u64, generation: i64) -> ArrivalRow {
    let arrival = |byte: u8| BlockArrival {
        block_id: BlockId([byte; 16]),
        last_ms: T0 + i64::from(byte),
        insertion: [byte; 8],
        levels: LevelSet(9),
    };
    let count = u8::try_from(number % 3 + 1).unwrap_or(1);
    ArrivalRow { number, generation, at_ms: T0, arrivals: (0..count).map(arrival).collect() }
}

fn numbers(rows: &[ArrivalRow]) -> Vec<u64> {
    rows.iter().map(|row| row.number).collect()
}

/// A number is taken once; the first row stays.
pub async fn a_number_is_given_to_one_row<L: ArrivalLog>(log: &L) {
    let id = ArrivalLogId { app_id: fresh_app(), registered_ms: T0 };
    assert!(good(log.append(&id, &row(1, 7)).await));
    assert!(!good(log.append(&id, &row(1, 8)).await));
    assert_eq!(good(log.from(&id, 0, 10).await), [row(1, 7)]);
    let other = ArrivalLogId { registered_ms: T0 + 1, ..id.clone() };
    assert_eq!(good(log.from(&other, 0, 10).await), [], "of another registration");
    assert!(good(log.append(&other, &row(1, 8)).await));
}

/// Of many writers of one number, one succeeds.
pub async fn one_of_many_writers_gets_a_number<L: ArrivalLog>(log: &L) {
    let id = ArrivalLogId { app_id: fresh_app(), registered_ms: T0 };
    let rows: Vec<_> = (0..8).map(|generation| row(1, generation)).collect();
    let appended = futures::future::join_all(rows.iter().map(|row| log.append(&id, row))).await;
    assert_eq!(appended.into_iter().filter(|appended| matches!(appended, Ok(true))).count(), 1);
    assert_eq!(good(log.from(&id, 1, 10).await).len(), 1);
}

/// Rows are read in both directions, within the bounds.
pub async fn rows_are_read_in_both_directions<L: ArrivalLog>(log: &L) {
    let id = ArrivalLogId { app_id: fresh_app(), registered_ms: T0 };
    assert_eq!((good(log.from(&id, 1, 10).await), good(log.newest(&id, None, 10).await)), (vec![], vec![]));
    for number in 1..=12 {
        assert!(good(log.append(&id, &row(number, 7)).await));
    }
    assert_eq!(numbers(&good(log.from(&id, 9, 3).await)), [9, 10, 11]);
    assert_eq!(numbers(&good(log.from(&id, 12, 3).await)), [12]);
    assert_eq!(numbers(&good(log.from(&id, 13, 3).await)), [0; 0]);
    assert_eq!(numbers(&good(log.newest(&id, None, 3).await)), [12, 11, 10]);
    assert_eq!(numbers(&good(log.newest(&id, Some(3), 9).await)), [2, 1]);
    assert_eq!(numbers(&good(log.newest(&id, Some(1), 9).await)), [0; 0]);
    assert_eq!(good(log.newest(&id, None, 1).await), [row(12, 7)]);
}
