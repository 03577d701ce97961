//! BatchWriteItem until everything is taken.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{DeleteRequest, WriteRequest};
use logferry_domain::fault::{Fault, FaultClass};

use crate::blocks::MAX_BATCH_ITEMS;
use crate::faults::fault;
use crate::item::{Item, malformed};

/// How often what was not taken is repeated, and the first pause.
const ATTEMPTS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(20);

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
        let mut pause = PAUSE;
        for attempt in 1.. {
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
            if attempt == ATTEMPTS {
                return Err(Fault::new(FaultClass::RateLimited, "BatchWriteItem", "UnprocessedItems"));
            }
            tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
            pause *= 2;
        }
    }
    Ok(())
}
