//! Bookmarks in the `files` table: `pk` = `bookmark#{name}`, `sk` = `bookmark`.

use aws_sdk_dynamodb::Client;
use logferry_domain::fault::Fault;
use logferry_ports::Bookmarks;
use logferry_ports::bucket::ListPosition;

use crate::faults::fault;
use crate::item::{Get, Item, Put, key, n, s};
use crate::table::Table;

/// How long a bookmark stays that nobody moves (s): a week.
const KEEP_SECS: i64 = 7 * 86_400;

/// Bookmarks in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoBookmarks {
    table: Table,
}

fn bookmark_key(name: &str) -> Item {
    key(format!("bookmark#{name}"), "bookmark")
}

impl DynamoBookmarks {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { table: Table::new(client, table) }
    }
}

impl Bookmarks for DynamoBookmarks {
    async fn bookmark(&self, name: &str) -> Result<Option<ListPosition>, Fault> {
        let Some(item) = self.table.get(bookmark_key(name)).await? else { return Ok(None) };
        Ok(item.text_opt("at_key").map(|at| ListPosition {
            key: at.to_owned(),
            version: item.text_opt("at_version").map(str::to_owned),
        }))
    }

    async fn set_bookmark(
        &self,
        name: &str,
        position: Option<&ListPosition>,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let mut item = bookmark_key(name);
        item.put("expires_at", n(now_ms / 1000 + KEEP_SECS));
        item.put_some("at_key", position.map(|position| s(&position.key)));
        item.put_some("at_version", position.and_then(|position| position.version.as_ref()).map(s));
        let put = self.table.client.put_item().table_name(&self.table.name).set_item(Some(item));
        put.send().await.map_err(|error| fault("PutItem", error))?;
        Ok(())
    }
}
