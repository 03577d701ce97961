//! Blocks as items of the `logs` table.

use std::borrow::Cow;

use aws_sdk_dynamodb::types::AttributeValue;
use logferry_core::model::block::{Attr, Block, BlockHeader, HeaderItem, MAX_ITEM_DATA_BYTES, sort_key};
use logferry_core::model::fault::Fault;

use crate::item::{Get, Item, Put, b, key, levels_to_map, malformed, n, s};

/// Returns the items of a block: its own first, then its extents.
#[must_use]
pub fn block_to_items(block: &Block) -> Vec<Item> {
    let header = &block.header;
    let (pk, sk) = (header.partition().key(), header.sort_key());
    let mut chunks = block.data.chunks(MAX_ITEM_DATA_BYTES);
    let first = chunks.next().unwrap_or_default();
    let mut item = key(&pk, &sk);
    item.put("first_ms", n(header.first_ms));
    item.put("last_ms", n(header.last_ms));
    item.put("count", n(header.count));
    item.put("levels", levels_to_map(&header.levels));
    item.put_some("unknown_levels", Some(header.unknown_levels).filter(|&count| count > 0).map(n));
    item.put("format", s(&header.format));
    item.put("source", s(&header.source));
    item.put("epoch", n(header.registered_ms));
    if let Some(file) = &header.file {
        item.put("version", s(file.object.version.to_stored()));
        item.put("packing", s(file.packing.as_str()));
    }
    item.put("data", b(first.to_vec()));
    let expires_at = header.expires_at_secs.map(n);
    item.put_some("expires_at", expires_at.clone());
    let mut items = vec![item];
    for (index, chunk) in (1..).zip(chunks) {
        let mut extent = key(&pk, format!("{sk}#{index:02}"));
        extent.put("data", b(chunk.to_vec()));
        extent.put_some("expires_at", expires_at.clone());
        items.push(extent);
    }
    if items.len() > 1 {
        let extents = items.len() - 1;
        items[0].put("extents", n(extents));
    }
    items
}

/// Reads the header of a block. `None` for an extent.
///
/// # Errors
/// If an attribute is invalid.
pub(crate) fn header_from_item(item: &Item) -> Result<Option<HeaderItem>, Fault> {
    HeaderItem::read(|name| item.get(name).map(attr)).map_err(|bad| malformed(bad.0))
}

fn attr(value: &AttributeValue) -> Attr<'_> {
    match value {
        AttributeValue::S(text) => Attr::Text(Cow::Borrowed(text)),
        AttributeValue::N(digits) => Attr::Number(Cow::Borrowed(digits)),
        AttributeValue::M(map) => {
            Attr::Map(map.iter().map(|(name, value)| (Cow::Borrowed(name.as_str()), attr(value))).collect())
        }
        _ => Attr::Other,
    }
}

/// Reads a block's header, its own data and the number of its extents. `None` for an extent.
///
/// # Errors
/// If an attribute is invalid.
pub fn block_from_item(item: &mut Item) -> Result<Option<(Block, u8)>, Fault> {
    let Some(HeaderItem { header, extents, .. }) = header_from_item(item)? else { return Ok(None) };
    match item.remove("data") {
        Some(AttributeValue::B(blob)) => Ok(Some((Block { header, data: blob.into_inner() }, extents))),
        _ => Err(malformed("data")),
    }
}

/// Returns the keys of a block's items: its own first, so that a reader never finds a block without its
/// extents.
pub(crate) fn item_keys(header: &BlockHeader, extents: u8) -> impl Iterator<Item = Item> {
    let (pk, sk) = (header.partition().key(), header.sort_key());
    (0..=extents).map(move |index| match index {
        0 => key(&pk, &sk),
        _ => key(&pk, format!("{sk}#{index:02}")),
    })
}

/// Joins the data with that of the extents; `None` unless there are exactly this many, in order.
pub(crate) fn joined(header: &BlockHeader, first: &[u8], extents: Vec<Item>, count: u8) -> Option<Vec<u8>> {
    if extents.len() != usize::from(count) {
        return None;
    }
    let mut data = first.to_vec();
    let sk = sort_key(header.last_ms, &header.block_id);
    for (index, mut extent) in (1..).zip(extents) {
        let index: u32 = index;
        if extent.text_opt("sk") != Some(&format!("{sk}#{index:02}")) {
            return None;
        }
        match extent.remove("data") {
            Some(AttributeValue::B(blob)) => data.extend_from_slice(blob.as_ref()),
            _ => return None,
        }
    }
    Some(data)
}

#[cfg(test)]
mod tests {
    use logferry_core::model::block::FileBlock;
    use logferry_core::model::fingerprint::PackFingerprint;
    use logferry_core::model::ids::Seed;
    use logferry_core::model::level::LevelCounts;
    use logferry_core::model::object::{ObjectRef, ObjectVersion};

    use super::*;

    fn block(data_bytes: usize) -> Block {
        Block {
            header: BlockHeader {
                app_id: "app".parse().unwrap(),
                block_id: Seed::of(&[b"x"]).block_id(1, 2),
                first_ms: 1_743_532_441_000,
                last_ms: 1_743_532_441_581,
                count: 3,
                levels: LevelCounts::new(0, 2, 0, 1),
                unknown_levels: 1,
                format: "ndjson".to_owned(),
                source: "s3://b/k".to_owned(),
                registered_ms: 5,
                expires_at_secs: Some(9),
                file: Some(Box::new(FileBlock {
                    object: ObjectRef {
                        bucket: "b".to_owned(),
                        key: "k".to_owned(),
                        version: ObjectVersion::ETag("e".to_owned()),
                    },
                    packing: PackFingerprint::from_stored("p"),
                })),
            },
            data: (0..data_bytes).map(|i| (i % 251) as u8).collect(),
        }
    }

    #[test]
    fn a_block_reads_back_from_its_item() {
        let block = block(1000);
        let mut items = block_to_items(&block);
        assert_eq!(items.len(), 1);
        assert_eq!(block_from_item(&mut items[0]).unwrap(), Some((block, 0)));
    }

    #[test]
    fn a_block_too_large_for_an_item_has_extents_that_join_to_it() {
        let block = block(MAX_ITEM_DATA_BYTES * 2 + 5);
        let mut items = block_to_items(&block);
        assert_eq!(items.len(), 3);
        let (first, extents) = block_from_item(&mut items[0]).unwrap().unwrap();
        assert_eq!(extents, 2);
        let rest = items.split_off(1);
        assert_eq!(joined(&block.header, &first.data, rest.clone(), 2), Some(block.data.clone()));
        assert_eq!(joined(&block.header, &first.data, rest[..1].to_vec(), 2), None);
    }
}
