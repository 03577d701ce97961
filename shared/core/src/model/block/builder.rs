//! Builds blocks from entries.

use super::payload::{BadBlock, Row, VERSION, flags};
use super::{Block, BlockHeader, MAX_ITEM_DATA_BYTES, MAX_PAYLOAD_BYTES, ZSTD_LEVEL, varint};
use crate::model::app::AppId;
use crate::model::ids::Seed;
use crate::model::level::LevelCounts;
use crate::model::record::{Entry, Marks};
use crate::model::time::hour_of_ms;

/// Collects the entries of a block. All must be of the same UTC hour; the packer ensures this.
#[derive(Debug, Clone, Default)]
pub struct BlockBuilder {
    rows: Vec<Row>,
    raw: String,
}

/// Buffers for building blocks, reused between blocks. Allocating them for each block takes a sixth of the
/// total time.
#[derive(Default)]
pub struct BlockScratch {
    payload: Vec<u8>,
    compressed: Vec<u8>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

impl std::fmt::Debug for BlockScratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockScratch").finish_non_exhaustive()
    }
}

impl BlockScratch {
    fn compress(&mut self) -> Result<Vec<u8>, BadBlock> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            empty => {
                let new = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|_| BadBlock::Frame)?;
                empty.insert(new)
            }
        };
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(self.payload.len()));
        compressor.compress_to_buffer(&self.payload, &mut self.compressed).map_err(|_| BadBlock::Frame)?;
        Ok(self.compressed.clone())
    }
}

/// Attributes that all blocks of a source share.
#[derive(Debug, Clone)]
pub struct BlockSource<'a> {
    pub app_id: &'a AppId,
    pub seed: &'a Seed,
    pub format: &'a str,
    pub source: &'a str,
    pub registered_ms: i64,
    pub expires_at_secs: Option<i64>,
}

impl BlockBuilder {
    pub fn push(&mut self, entry: &Entry<'_>) {
        self.raw.push_str(entry.raw);
        self.rows.push(Row {
            ordinal: entry.ordinal,
            timestamp_ms: entry.timestamp_ms,
            level: entry.level,
            kind: entry.kind,
            timestamp_fallback: entry.timestamp_fallback,
            marks: entry.marks,
            end: self.raw.len(),
        });
    }

    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.raw.len()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Removes the entries and keeps the buffers.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.raw.clear();
    }

    /// Builds the blocks of these entries: one, or more if one would not fit an item. The same entries
    /// always make the same blocks, byte for byte.
    ///
    /// # Errors
    /// [`BadBlock::Frame`] if zstd fails, which only happens if it runs out of memory.
    pub fn build(&self, source: &BlockSource<'_>) -> Result<Vec<Block>, BadBlock> {
        self.build_with(&mut BlockScratch::default(), source)
    }

    /// Like [`BlockBuilder::build`], with buffers that are reused between blocks.
    ///
    /// # Errors
    /// Like [`BlockBuilder::build`].
    pub fn build_with(
        &self,
        scratch: &mut BlockScratch,
        source: &BlockSource<'_>,
    ) -> Result<Vec<Block>, BadBlock> {
        let mut blocks = Vec::with_capacity(1);
        self.build_rows(0..self.rows.len(), scratch, source, &mut blocks)?;
        Ok(blocks)
    }

    /// Builds one block of all entries, with extents where it does not fit an item; `None` if there are none.
    ///
    /// # Errors
    /// Like [`BlockBuilder::build`].
    pub fn build_whole(&self, source: &BlockSource<'_>) -> Result<Option<Block>, BadBlock> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let mut scratch = BlockScratch::default();
        self.payload(0..self.rows.len(), source.seed, &mut scratch.payload);
        let data = scratch.compress()?;
        Self::block(&self.rows, data, source).map(Some)
    }

    /// Encodes all entries, of any hours, as the data of one block of up to [`MAX_PAYLOAD_BYTES`]. For
    /// staging a write, not for the table of blocks.
    ///
    /// # Errors
    /// If the entries are larger than that, or zstd runs out of memory.
    pub fn pack(&self, seed: &Seed) -> Result<Vec<u8>, BadBlock> {
        let mut scratch = BlockScratch::default();
        self.payload(0..self.rows.len(), seed, &mut scratch.payload);
        if scratch.payload.len() > MAX_PAYLOAD_BYTES {
            return Err(BadBlock::Frame);
        }
        scratch.compress()
    }

    fn build_rows(
        &self,
        rows: std::ops::Range<usize>,
        scratch: &mut BlockScratch,
        source: &BlockSource<'_>,
        blocks: &mut Vec<Block>,
    ) -> Result<(), BadBlock> {
        if rows.is_empty() {
            return Ok(());
        }
        self.payload(rows.clone(), source.seed, &mut scratch.payload);
        let data = scratch.compress()?;
        let splittable = rows.len() > 1;
        if splittable && (data.len() > MAX_ITEM_DATA_BYTES || scratch.payload.len() > MAX_PAYLOAD_BYTES) {
            let middle = rows.start + rows.len() / 2;
            self.build_rows(rows.start..middle, scratch, source, blocks)?;
            return self.build_rows(middle..rows.end, scratch, source, blocks);
        }
        blocks.push(Self::block(&self.rows[rows], data, source)?);
        Ok(())
    }

    fn block(rows: &[Row], data: Vec<u8>, source: &BlockSource<'_>) -> Result<Block, BadBlock> {
        let mut levels = LevelCounts::default();
        let mut unknown_levels = 0;
        let (mut first_ms, mut last_ms) = (i64::MAX, i64::MIN);
        for row in rows {
            levels.count(row.level);
            unknown_levels += u32::from(row.marks.has(Marks::LEVEL_UNKNOWN));
            first_ms = first_ms.min(row.timestamp_ms);
            last_ms = last_ms.max(row.timestamp_ms);
        }
        Ok(Block {
            header: BlockHeader {
                app_id: source.app_id.clone(),
                block_id: source.seed.block_id(hour_of_ms(last_ms), rows[0].ordinal),
                first_ms,
                last_ms,
                count: u32::try_from(rows.len()).map_err(|_| BadBlock::Columns)?,
                levels,
                unknown_levels,
                format: source.format.to_owned(),
                source: source.source.to_owned(),
                registered_ms: source.registered_ms,
                expires_at_secs: source.expires_at_secs,
                file: None,
            },
            data,
        })
    }

    fn payload(&self, range: std::ops::Range<usize>, seed: &Seed, out: &mut Vec<u8>) {
        let begin = if range.start == 0 { 0 } else { self.rows[range.start - 1].end };
        let rows = &self.rows[range];
        let end = rows.last().map_or(begin, |row| row.end);
        out.clear();
        out.reserve(64 + rows.len() * 8 + (end - begin));
        out.push(VERSION);
        out.extend_from_slice(&seed.0);
        varint::put(out, rows.len() as u64);
        let mut previous = 0u64;
        for row in rows {
            varint::put(out, row.ordinal.wrapping_sub(previous));
            previous = row.ordinal;
        }
        let mut previous = 0i64;
        for row in rows {
            varint::put(out, varint::zigzag(row.timestamp_ms.wrapping_sub(previous)));
            previous = row.timestamp_ms;
        }
        out.extend(rows.iter().map(flags));
        let mut previous = begin;
        for row in rows {
            varint::put(out, (row.end - previous) as u64);
            previous = row.end;
        }
        out.extend_from_slice(&self.raw.as_bytes()[begin..end]);
    }
}
