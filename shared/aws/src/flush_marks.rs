//! Marks of flush in the `files` table: `pk` = `flush#{partition}`, `sk` = `mark`. Not in `logs`,
//! whose stream would report them.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use logferry_domain::block::Partition;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_ports::FlushMarks;
use logferry_ports::flush_marks::{FlushMark, PartMark};

use crate::faults::fault;
use crate::item::{Get, Item, Put, key, n, s};

/// Keys in one BatchGetItem request.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const MAX_BATCH_KEYS: usize = 100;

/// How long a mark may be of use (seconds): as long as a stream keeps its records, twice over.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html>
const KEEP_SECS: i64 = 48 * 3_600;

const PREFIX: &str = "flush#";

/// Marks in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoFlushMarks {
    client: Client,
    table: String,
}

impl DynamoFlushMarks {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }
}

fn to_item(partition: &Partition, mark: &FlushMark, now_ms: i64) -> Item {
    let mut item = key(format!("{PREFIX}{}", partition.key()), "mark");
    item.put("from_seq", s(&mark.from));
    item.put_some("through_seq", mark.through.as_ref().map(s));
    item.put("open_seqs", AttributeValue::L(mark.open.iter().map(s).collect()));
    if let Some(part) = &mark.part {
        item.put("part_seq", s(&part.sequence));
        item.put("part_entry", n(part.entry));
        item.put("part_piece", n(part.piece));
        item.put("part_pieces", n(part.pieces));
    }
    item.put("expires_at", n(now_ms / 1000 + KEEP_SECS));
    item
}

fn from_item(item: &Item) -> Result<Option<(Partition, FlushMark)>, Fault> {
    let Some(partition) = item.text("pk")?.strip_prefix(PREFIX).and_then(Partition::parse) else {
        return Ok(None);
    };
    let open = match item.get("open_seqs") {
        Some(AttributeValue::L(list)) => list.iter().filter_map(|value| value.as_s().ok().cloned()).collect(),
        _ => Vec::new(),
    };
    let part = match item.text_opt("part_seq") {
        Some(sequence) => Some(PartMark {
            sequence: sequence.to_owned(),
            entry: item.number("part_entry")?,
            piece: item.number("part_piece")?,
            pieces: item.number("part_pieces")?,
        }),
        None => None,
    };
    let through = item.text_opt("through_seq").map(str::to_owned);
    Ok(Some((partition, FlushMark { from: item.text("from_seq")?.to_owned(), through, open, part })))
}

impl FlushMarks for DynamoFlushMarks {
    async fn find(&self, partitions: &[Partition]) -> Result<Vec<(Partition, FlushMark)>, Fault> {
        let mut marks = Vec::new();
        for chunk in partitions.chunks(MAX_BATCH_KEYS) {
            let keys = chunk.iter().map(|partition| key(format!("{PREFIX}{}", partition.key()), "mark"));
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys.collect()))
                .consistent_read(true)
                .build()
                .map_err(|error| {
                    Fault::new(FaultClass::Permanent, "BatchGetItem", "no keys").with_source(error)
                })?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.table, wanted)
                .send()
                .await
                .map_err(|error| fault("BatchGetItem", error))?;
            // Marks that were not read this time are duplicates at worst, and 100 small rows are
            // far below what one request answers: no second round.
            for item in answer.responses.unwrap_or_else(HashMap::new).into_values().flatten() {
                marks.extend(from_item(&item)?);
            }
        }
        Ok(marks)
    }

    async fn set(&self, partition: &Partition, mark: &FlushMark, now_ms: i64) -> Result<(), Fault> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(partition, mark, now_ms)))
            .send()
            .await
            .map_err(|error| fault("PutItem", error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_from_its_item() {
        let partition = Partition::parse("my-app#2024-01-01#3").unwrap();
        let part = PartMark { sequence: "103".to_owned(), entry: 7, piece: 1, pieces: 2 };
        let marks = [
            FlushMark { from: "100".to_owned(), ..FlushMark::default() },
            FlushMark {
                from: "100".to_owned(),
                through: Some("102".to_owned()),
                open: vec!["101".to_owned()],
                part: Some(part),
            },
        ];
        for mark in marks {
            let item = to_item(&partition, &mark, 5_000);
            assert_eq!(from_item(&item).unwrap(), Some((partition.clone(), mark)));
        }
    }
}
