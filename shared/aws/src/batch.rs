//! BatchWriteItem and BatchGetItem, retried until everything is processed.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::builders::KeysAndAttributesBuilder;
use aws_sdk_dynamodb::types::{DeleteRequest, KeysAndAttributes, WriteRequest};
use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{StreamExt, TryStreamExt, stream};
use logferry_core::model::fault::{Fault, FaultClass};

use crate::faults::fault;
use crate::item::{Item, malformed};

/// Maximum items per BatchWriteItem request.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
pub(crate) const MAX_BATCH_ITEMS: usize = 25;

/// Maximum bytes of data per BatchWriteItem request; the limit is 16 MB in total.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
pub(crate) const MAX_BATCH_BYTES: usize = 12 * 1024 * 1024;

/// Pauses before items that were not accepted are retried.
fn pauses() -> impl Iterator<Item = Duration> {
    let first = Duration::from_millis(15);
    ExponentialBuilder::new().with_min_delay(first).with_max_times(7).with_jitter().build()
}

/// Maximum keys per BatchGetItem.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const MAX_GET_KEYS: usize = 100;
/// Parallel requests.
const GETS_AT_ONCE: usize = 8;

/// Returns attributes of the existing items with these keys (all different), in any order, eventually
/// consistent.
pub(crate) async fn get_all(
    client: &Client,
    table: &str,
    keys: Vec<Item>,
    projection: &str,
) -> Result<Vec<Item>, Fault> {
    get_chunks(client, table, keys, &KeysAndAttributes::builder().projection_expression(projection)).await
}

/// Returns the existing items with these keys (all different), in any order, strongly consistent.
pub(crate) async fn get_consistent(
    client: &Client,
    table: &str,
    keys: Vec<Item>,
) -> Result<Vec<Item>, Fault> {
    get_chunks(client, table, keys, &KeysAndAttributes::builder().consistent_read(true)).await
}

async fn get_chunks(
    client: &Client,
    table: &str,
    keys: Vec<Item>,
    how: &KeysAndAttributesBuilder,
) -> Result<Vec<Item>, Fault> {
    let chunks: Vec<_> = keys.chunks(MAX_GET_KEYS).map(<[Item]>::to_vec).collect();
    let chunks = chunks.into_iter().map(|keys| get_chunk(client, table, keys, how));
    let found: Vec<_> = stream::iter(chunks).buffer_unordered(GETS_AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn get_chunk(
    client: &Client,
    table: &str,
    keys: Vec<Item>,
    how: &KeysAndAttributesBuilder,
) -> Result<Vec<Item>, Fault> {
    let (mut left, mut found, mut pauses) = (keys, Vec::new(), pauses());
    loop {
        let wanted = how.clone().set_keys(Some(left)).build().map_err(|_| malformed("pk"))?;
        let answer = client
            .batch_get_item()
            .request_items(table, wanted)
            .send()
            .await
            .map_err(|error| fault("BatchGetItem", error))?;
        found.extend(answer.responses.unwrap_or_default().into_values().flatten());
        let unprocessed = answer.unprocessed_keys.unwrap_or_default();
        left = unprocessed.into_values().flat_map(|wanted| wanted.keys).collect();
        if left.is_empty() {
            return Ok(found);
        }
        let Some(pause) = pauses.next() else {
            return Err(Fault::new(FaultClass::RateLimited, "BatchGetItem", "UnprocessedKeys"));
        };
        tokio::time::sleep(pause).await;
    }
}

/// Deletes the items with these keys.
pub(crate) async fn delete_all(
    client: &Client,
    table: &str,
    keys: impl IntoIterator<Item = Result<Item, Fault>>,
) -> Result<(), Fault> {
    let requests = keys.into_iter().map(|own| {
        let delete = DeleteRequest::builder().set_key(Some(own?)).build().map_err(|_| malformed("pk"))?;
        Ok(WriteRequest::builder().delete_request(delete).build())
    });
    write_all(client, table, requests.collect::<Result<_, Fault>>()?).await
}

pub(crate) async fn write_all(
    client: &Client,
    table: &str,
    requests: Vec<WriteRequest>,
) -> Result<(), Fault> {
    for chunk in requests.chunks(MAX_BATCH_ITEMS) {
        let mut left = chunk.to_vec();
        let mut pauses = pauses();
        loop {
            let answer = client
                .batch_write_item()
                .request_items(table, left)
                .send()
                .await
                .map_err(|error| fault("BatchWriteItem", error))?;
            left = answer.unprocessed_items.unwrap_or_default().into_values().flatten().collect();
            if left.is_empty() {
                break;
            }
            let Some(pause) = pauses.next() else {
                return Err(Fault::new(FaultClass::RateLimited, "BatchWriteItem", "UnprocessedItems"));
            };
            tokio::time::sleep(pause).await;
        }
    }
    Ok(())
}
