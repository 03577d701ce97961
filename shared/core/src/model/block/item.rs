//! The header of a block in the attributes of its item, as the table returns them and its stream reports
//! them.

use std::borrow::Cow;
use std::str::FromStr;

use super::{BlockHeader, FileBlock, Partition};
use crate::model::fingerprint::PackFingerprint;
use crate::model::ids::BlockId;
use crate::model::level::LevelCounts;
use crate::model::object::{ObjectRef, ObjectVersion};

/// The value of an attribute.
#[derive(Debug, Clone)]
pub enum Attr<'a> {
    Text(Cow<'a, str>),
    Number(Cow<'a, str>),
    Map(Vec<(Cow<'a, str>, Attr<'a>)>),
    /// Of a type that headers do not use.
    Other,
}

/// A block's header, and what else its item holds besides the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderItem {
    pub header: BlockHeader,
    /// Number of further items with the rest of the data.
    pub extents: u8,
    /// Records before this time are no longer counted (ms).
    pub pruned_to_ms: Option<i64>,
}

/// The name of a missing or invalid attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("attribute {0} is not as written")]
pub struct BadAttribute(pub &'static str);

impl HeaderItem {
    /// Reads the attributes that `get` returns by name. `None` for an extent, which has no header.
    ///
    /// # Errors
    /// [`BadAttribute`] if an attribute is invalid.
    pub fn read<'a>(get: impl Fn(&'static str) -> Option<Attr<'a>>) -> Result<Option<Self>, BadAttribute> {
        if get("count").is_none() {
            return Ok(None);
        }
        let item = Reader(get);
        let partition = Partition::parse(&item.text("pk")?).ok_or(BadAttribute("pk"))?;
        let sort_key = item.text("sk")?;
        let id = sort_key.split_once('#').and_then(|(_, id)| BlockId::parse(id));
        let header = BlockHeader {
            app_id: partition.app_id.clone(),
            block_id: id.ok_or(BadAttribute("sk"))?,
            first_ms: item.number("first_ms")?,
            last_ms: item.number("last_ms")?,
            count: item.number("count")?,
            levels: item.levels()?,
            unknown_levels: item.number_opt("unknown_levels")?.unwrap_or(0),
            format: item.text("format")?.into_owned(),
            source: item.text("source")?.into_owned(),
            registered_ms: item.number("epoch")?,
            expires_at_secs: item.number_opt("expires_at")?,
            file: item.file()?,
        };
        if header.partition() != partition {
            return Err(BadAttribute("pk"));
        }
        let extents = item.number_opt("extents")?.unwrap_or(0);
        Ok(Some(Self { header, extents, pruned_to_ms: item.number_opt("pruned_to")? }))
    }
}

struct Reader<F>(F);

impl<'a, F: Fn(&'static str) -> Option<Attr<'a>>> Reader<F> {
    fn text(&self, name: &'static str) -> Result<Cow<'a, str>, BadAttribute> {
        match self.0(name) {
            Some(Attr::Text(text)) => Ok(text),
            _ => Err(BadAttribute(name)),
        }
    }

    fn number<T: FromStr>(&self, name: &'static str) -> Result<T, BadAttribute> {
        self.number_opt(name)?.ok_or(BadAttribute(name))
    }

    fn number_opt<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, BadAttribute> {
        match self.0(name) {
            None => Ok(None),
            Some(Attr::Number(digits)) => digits.parse().map(Some).map_err(|_| BadAttribute(name)),
            Some(_) => Err(BadAttribute(name)),
        }
    }

    /// The counts of the levels that occur.
    fn levels(&self) -> Result<LevelCounts, BadAttribute> {
        let counts = match self.0("levels") {
            None => return Ok(LevelCounts::default()),
            Some(Attr::Map(counts)) => counts,
            Some(_) => return Err(BadAttribute("levels")),
        };
        let of = |name: &str| match counts.iter().find(|(level, _)| level == name) {
            None => Ok(0),
            Some((_, Attr::Number(digits))) => digits.parse().map_err(|_| BadAttribute("levels")),
            Some(_) => Err(BadAttribute("levels")),
        };
        Ok(LevelCounts::new(of("debug")?, of("info")?, of("warn")?, of("error")?))
    }

    fn file(&self) -> Result<Option<Box<FileBlock>>, BadAttribute> {
        if self.0("version").is_none() {
            return Ok(None);
        }
        let source = self.text("source")?;
        let place = source.strip_prefix("s3://").and_then(|source| source.split_once('/'));
        let (bucket, key) = place.ok_or(BadAttribute("source"))?;
        let version = ObjectVersion::from_stored(&self.text("version")?).ok_or(BadAttribute("version"))?;
        Ok(Some(Box::new(FileBlock {
            object: ObjectRef { bucket: bucket.to_owned(), key: key.to_owned(), version },
            packing: PackFingerprint::from_stored(&self.text("packing")?),
        })))
    }
}
