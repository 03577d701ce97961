//! The stream event, as far as `flush` reads it, and the response.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use logferry_core::model::block::{Attr, Block, BlockHeader, HeaderItem, Partition};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A batch of the table's stream. Images are parsed one at a time, so a bad image does not affect the
/// others.
#[derive(Debug, Deserialize)]
pub struct StreamEvent {
    #[serde(rename = "Records")]
    pub records: Vec<StreamRecord>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct StreamRecord {
    #[serde(rename = "eventName")]
    pub event_name: String,
    pub dynamodb: Change,
    /// What [`StreamRecord::header`] has read.
    #[serde(skip)]
    header: OnceLock<Option<BlockHeader>>,
}

/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html>
#[derive(Debug, Deserialize, Serialize)]
pub struct Change {
    #[serde(rename = "SequenceNumber")]
    pub sequence: SequenceNumber,
    /// Seconds since the epoch.
    #[serde(rename = "ApproximateCreationDateTime", skip_serializing_if = "Option::is_none")]
    created: Option<Box<RawValue>>,
    #[serde(rename = "NewImage", skip_serializing_if = "Option::is_none")]
    pub new_image: Option<Box<RawValue>>,
}

impl Change {
    /// Returns when the change was made (ms). It is the same at each delivery.
    #[must_use]
    pub fn arrived_ms(&self) -> Option<i64> {
        let secs: f64 = self.created.as_ref()?.get().parse().ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "within the range just asked for")]
        (0.0..1e11).contains(&secs).then_some((secs * 1000.0) as i64)
    }
}

/// A position in a shard of the stream: a decimal number of up to 40 digits. AWS does not document how
/// numbers of different shards compare, so they are not compared here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct SequenceNumber(String);

impl SequenceNumber {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The response. The event source mapping continues from the lowest sequence number in it. Empty means that
/// all records are done, so it is never returned for an error.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    pub batch_item_failures: Vec<ItemFailure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    pub item_identifier: SequenceNumber,
}

/// The content of a stream record.
#[derive(Debug)]
pub enum Image {
    /// No block was inserted: another kind of change, or an extent.
    Nothing,
    /// The block with the data of its own item, and the number of its extents.
    Block { block: Block, extents: u8 },
    /// An item that looks like a block but is invalid.
    Bad { partition: Option<Partition>, reason: &'static str },
}

/// An attribute of an image, of the types that a header or data can have.
#[derive(Deserialize)]
struct Attribute<'a> {
    #[serde(rename = "S", borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(rename = "N", borrow)]
    number: Option<Cow<'a, str>>,
    #[serde(rename = "M", borrow)]
    map: Option<HashMap<Cow<'a, str>, Attribute<'a>>>,
}

impl<'a> From<Attribute<'a>> for Attr<'a> {
    fn from(attribute: Attribute<'a>) -> Self {
        match attribute {
            Attribute { text: Some(text), .. } => Self::Text(text),
            Attribute { number: Some(number), .. } => Self::Number(number),
            Attribute { map: Some(map), .. } => {
                Self::Map(map.into_iter().map(|(name, value)| (name, value.into())).collect())
            }
            Attribute { .. } => Self::Other,
        }
    }
}

#[derive(Deserialize)]
struct Binary<'a> {
    #[serde(rename = "B", borrow)]
    base64: Cow<'a, str>,
}

/// The attributes of an image, not yet parsed.
#[derive(Deserialize)]
struct Item<'a>(#[serde(borrow)] HashMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Item<'a> {
    fn attr(&self, name: &str) -> Option<Attr<'a>> {
        let raw = self.0.get(name)?;
        Some(serde_json::from_str::<Attribute<'a>>(raw.get()).map_or(Attr::Other, Attr::from))
    }

    fn data(&self) -> Option<Vec<u8>> {
        let binary: Binary<'_> = serde_json::from_str(self.0.get("data")?.get()).ok()?;
        STANDARD.decode(binary.base64.as_bytes()).ok()
    }
}

impl StreamRecord {
    #[must_use]
    pub fn sequence(&self) -> &str {
        self.dynamodb.sequence.as_str()
    }

    /// The image of an insertion.
    fn inserted(&self) -> Option<&RawValue> {
        self.dynamodb.new_image.as_deref().filter(|_| self.event_name == "INSERT")
    }

    /// Returns the header of an inserted block, without decoding its data; `None` for everything else.
    #[must_use]
    pub fn header(&self) -> Option<&BlockHeader> {
        let read = || {
            let item: Item<'_> = serde_json::from_str(self.inserted()?.get()).ok()?;
            Some(HeaderItem::read(|name| item.attr(name)).ok()??.header)
        };
        self.header.get_or_init(read).as_ref()
    }

    #[must_use]
    pub fn image(&self) -> Image {
        let Some(image) = self.inserted() else { return Image::Nothing };
        let Ok(item) = serde_json::from_str::<Item<'_>>(image.get()) else {
            return Image::Bad { partition: None, reason: "the item is not a map" };
        };
        let partition = match item.attr("pk") {
            Some(Attr::Text(key)) => Partition::parse(&key),
            _ => None,
        };
        match HeaderItem::read(|name| item.attr(name)) {
            Ok(None) => Image::Nothing,
            Ok(Some(HeaderItem { header, extents, .. })) => match item.data() {
                Some(data) => Image::Block { block: Block { header, data }, extents },
                None => Image::Bad { partition, reason: "attribute data is missing or not as written" },
            },
            Err(_) => Image::Bad { partition, reason: "an attribute is missing or not as written" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_says_when_it_was_made_or_nothing() {
        let arrived = |created: &str| {
            let text = format!(r#"{{"SequenceNumber":"1","ApproximateCreationDateTime":{created}}}"#);
            serde_json::from_str::<Change>(&text).unwrap().arrived_ms()
        };
        assert_eq!(arrived("1709294400"), Some(1_709_294_400_000));
        assert_eq!(arrived("1.7092944005E9"), Some(1_709_294_400_500));
        for other in ["null", "\"soon\"", "-1", "1e300", "{}"] {
            assert_eq!(arrived(other), None, "{other}");
        }
        assert_eq!(serde_json::from_str::<Change>(r#"{"SequenceNumber":"1"}"#).unwrap().arrived_ms(), None);
    }

    fn image(json: &str) -> Image {
        let text =
            format!(r#"{{"eventName":"INSERT","dynamodb":{{"SequenceNumber":"1","NewImage":{json}}}}}"#);
        serde_json::from_str::<StreamRecord>(&text).unwrap().image()
    }

    #[test]
    fn other_changes_are_distinguished_from_bad_blocks() {
        assert!(matches!(image(r#"{"pk":{"S":"a#2024-01-01#0"},"sk":{"S":"1#x#01"}}"#), Image::Nothing));
        let bad = [
            r#"{"pk":{"S":"nonsense"},"count":{"N":"1"}}"#,
            r#"{"pk":{"S":"a#2024-01-01#0"},"count":{"N":"1"}}"#,
            r#"{"pk":{"N":"1"},"count":{"N":"1"}}"#,
            r#"[]"#,
        ];
        for json in bad {
            assert!(matches!(image(json), Image::Bad { .. }), "{json}");
        }
    }

    #[test]
    fn an_answer_is_what_the_mapping_reads() {
        let failure = ItemFailure { item_identifier: SequenceNumber::new("7") };
        let text = |failures| serde_json::to_string(&Response { batch_item_failures: failures }).unwrap();
        assert_eq!(text(vec![failure]), r#"{"batchItemFailures":[{"itemIdentifier":"7"}]}"#);
        assert_eq!(text(vec![]), r#"{"batchItemFailures":[]}"#);
    }
}
