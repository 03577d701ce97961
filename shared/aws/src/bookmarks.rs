//! Bookmarks in the `files` table: `pk` = `bookmark#{name}`, `sk` = `bookmark`.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;
use logferry_core::ledger::bucket::{Bookmark, Bookmarks, ListPosition};
use logferry_core::model::fault::Fault;

use crate::batch::get_all;
use crate::faults::fault;
use crate::item::{Get, Item, Put, key, n, s};
use crate::table::Table;

/// How long an unused bookmark is kept (s): a week.
const KEEP_SECS: i64 = 7 * 86_400;

/// Bookmarks in a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoBookmarks {
    table: Table,
}

/// The attributes that [`bookmark_from`] reads.
const ATTRIBUTES: &str = "pk, at_key, at_version, began_ms, next_ms";

fn bookmark_pk(name: &str) -> String {
    format!("bookmark#{name}")
}

fn bookmark_key(name: &str) -> Item {
    key(bookmark_pk(name), "bookmark")
}

fn bookmark_from(item: &Item) -> Result<Bookmark, Fault> {
    let at = item.text_opt("at_key").map(|at| ListPosition {
        key: at.to_owned(),
        version: item.text_opt("at_version").map(str::to_owned),
    });
    Ok(Bookmark { at, began_ms: item.number("began_ms")?, due_ms: item.number("next_ms")? })
}

impl DynamoBookmarks {
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { table: Table::new(client, table) }
    }
}

impl Bookmarks for DynamoBookmarks {
    async fn bookmarks(&self, names: &[String]) -> Result<Vec<Option<Bookmark>>, Fault> {
        let keys = names.iter().map(|name| bookmark_key(name)).collect();
        let items = get_all(&self.table.client, &self.table.name, keys, ATTRIBUTES).await?;
        let mut found = BTreeMap::new();
        for item in &items {
            // A bookmark of an earlier version is ignored: that listing restarts.
            if let (Some(pk), Ok(bookmark)) = (item.text_opt("pk"), bookmark_from(item)) {
                found.insert(pk, bookmark);
            }
        }
        Ok(names.iter().map(|name| found.remove(bookmark_pk(name).as_str())).collect())
    }

    async fn set_bookmark(&self, name: &str, bookmark: &Bookmark, now_ms: i64) -> Result<(), Fault> {
        let position = bookmark.at.as_ref();
        let mut item = bookmark_key(name);
        item.put("began_ms", n(bookmark.began_ms));
        item.put("next_ms", n(bookmark.due_ms));
        item.put("expires_at", n(now_ms / 1000 + KEEP_SECS));
        item.put_some("at_key", position.map(|position| s(&position.key)));
        item.put_some("at_version", position.and_then(|position| position.version.as_ref()).map(s));
        let put = self.table.client.put_item().table_name(&self.table.name).set_item(Some(item));
        put.send().await.map_err(|error| fault("PutItem", error))?;
        Ok(())
    }
}
