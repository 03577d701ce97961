//! Flush marks in the `files` table: `pk` = `flush#{partition}`, `sk` = `{block id}#{sequence number}`.
//! They are not in `logs`, because its stream would report them. A row whose `sk` is `mark` is of an
//! earlier version, which kept an interval of sequence numbers; it is not read, and expires.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{PutRequest, WriteRequest};
use logferry_core::model::block::Partition;
use logferry_core::model::fault::Fault;
use logferry_core::model::ids::BlockId;
use logferry_core::ports::flush_marks::{FlushMark, FlushMarks, Insertion};

use crate::batch::{get_consistent, write_all};
use crate::item::{Get, Item, Put, key, malformed, n};
use crate::table::Table;

/// How long a mark is kept (seconds): twice as long as a stream keeps its records.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html>
const KEEP_SECS: i64 = 48 * 3_600;

const PREFIX: &str = "flush#";

/// Marks in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoFlushMarks {
    table: Table,
}

impl DynamoFlushMarks {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { table: Table::new(client, table) }
    }
}

fn key_of(insertion: &Insertion) -> Item {
    let Insertion { partition, block_id, sequence } = insertion;
    key(format!("{PREFIX}{}", partition.key()), format!("{block_id}#{sequence}"))
}

fn to_item(insertion: &Insertion, mark: FlushMark, now_ms: i64) -> Item {
    let mut item = key_of(insertion);
    if let FlushMark::Part { entry, piece, pieces } = mark {
        item.put("entry", n(entry));
        item.put("piece", n(piece));
        item.put("pieces", n(pieces));
    }
    item.put("expires_at", n(now_ms / 1000 + KEEP_SECS));
    item
}

fn from_item(item: &Item) -> Result<(Insertion, FlushMark), Fault> {
    let partition = item.text("pk")?.strip_prefix(PREFIX).and_then(Partition::parse);
    let (block_id, sequence) = item.text("sk")?.split_once('#').ok_or_else(|| malformed("sk"))?;
    let insertion = Insertion {
        partition: partition.ok_or_else(|| malformed("pk"))?,
        block_id: BlockId::parse(block_id).ok_or_else(|| malformed("sk"))?,
        sequence: sequence.to_owned(),
    };
    let mark = match item.contains_key("entry") {
        true => FlushMark::Part {
            entry: item.number("entry")?,
            piece: item.number("piece")?,
            pieces: item.number("pieces")?,
        },
        false => FlushMark::Through,
    };
    Ok((insertion, mark))
}

impl FlushMarks for DynamoFlushMarks {
    async fn find(&self, insertions: &[Insertion]) -> Result<Vec<(Insertion, FlushMark)>, Fault> {
        // A request must not contain a key twice.
        let distinct: Vec<_> = insertions.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let keys = distinct.into_iter().map(key_of).collect();
        let items = get_consistent(&self.table.client, &self.table.name, keys).await?;
        items.iter().map(from_item).collect()
    }

    async fn set(&self, marks: &[(Insertion, FlushMark)], now_ms: i64) -> Result<(), Fault> {
        let write = |(insertion, mark): &(Insertion, FlushMark)| {
            let item = to_item(insertion, *mark, now_ms);
            let put = PutRequest::builder().set_item(Some(item)).build().map_err(|_| malformed("pk"))?;
            Ok(WriteRequest::builder().put_request(put).build())
        };
        write_all(
            &self.table.client,
            &self.table.name,
            marks.iter().map(write).collect::<Result<_, Fault>>()?,
        )
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_from_its_item() {
        let insertion = Insertion {
            partition: Partition::parse("my-app#2024-01-01#3").unwrap(),
            block_id: BlockId([7; 16]),
            sequence: "100000000000000000042".to_owned(),
        };
        for mark in [FlushMark::Through, FlushMark::Part { entry: 7, piece: 1, pieces: 2 }] {
            let item = to_item(&insertion, mark, 5_000);
            assert_eq!(from_item(&item).unwrap(), (insertion.clone(), mark));
        }
    }

    #[test]
    fn a_mark_of_an_earlier_version_is_under_a_key_that_is_not_asked_for() {
        let insertion = Insertion {
            partition: Partition::parse("my-app#2024-01-01#3").unwrap(),
            block_id: BlockId([7; 16]),
            sequence: "1".to_owned(),
        };
        assert_ne!(key_of(&insertion)["sk"], key("flush#my-app#2024-01-01#3", "mark")["sk"]);
        assert!(from_item(&key("flush#my-app#2024-01-01#3", "mark")).is_err());
    }
}
