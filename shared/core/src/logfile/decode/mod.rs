//! An object's bytes, decompressed as they come, whatever they are wrapped in: gzip and zstd in up to three
//! layers, UTF-16. Other known kinds of files are named in the error. What was good before damage is delivered
//! before it is reported. Chunks depend on the bytes alone, never on how the reader hands them out.

mod layer;
mod magic;
mod utf16;

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use layer::Layer;
use utf16::Utf16;

use crate::logfile::outcome::{Reason, ReasonCode};

pub use layer::{CHUNK_BYTES, DEFAULT_MAX_EXPANSION_RATIO, EXPANSION_FREE_BYTES};

/// Layers of compression that are undone.
pub const MAX_LAYERS: usize = 3;

/// Why there are no more bytes.
#[derive(Debug)]
pub enum DecodeError {
    /// The reader failed: nothing is known of the bytes.
    Read(io::Error),
    /// The bytes are damaged, or too many, or no log.
    Bad(Reason),
}

impl From<io::Error> for DecodeError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Some of what the object holds.
#[derive(Debug)]
pub struct Chunk<'a> {
    pub bytes: &'a [u8],
    /// How many decompressed bytes these are; other than `bytes` where they were UTF-16.
    pub original_bytes: u64,
    /// At the first chunk of a UTF-16 stream: its bytes before the first character.
    pub utf16_from: Option<u64>,
}

/// Decompresses what it reads.
#[derive(Debug)]
pub struct Decoder<R> {
    layers: Layers<R>,
    begun: bool,
    utf16: Option<Utf16>,
    transcoded: Vec<u8>,
    ended: Option<Reason>,
}

/// The layers, the object's own bytes at the bottom.
#[derive(Debug)]
enum Layers<R> {
    One(Box<Layer<Counted<R>>>),
    Two(Box<Layer<Below<Counted<R>>>>),
    Three(Box<Layer<Below<Below<Counted<R>>>>>),
    /// While one is put upon another.
    Moving,
}

impl<R: Read> Decoder<R> {
    /// `max_total_out`: maximum bytes of output.
    pub fn new(reader: R, max_expansion_ratio: u64, max_total_out: u64) -> Self {
        let counted = Counted { reader, read: Rc::default() };
        let object_bytes = Rc::clone(&counted.read);
        Self {
            layers: Layers::One(Box::new(Layer::new(
                counted,
                object_bytes,
                max_expansion_ratio,
                max_total_out,
            ))),
            begun: false,
            utf16: None,
            transcoded: Vec::new(),
            ended: None,
        }
    }

    /// The next bytes, about [`CHUNK_BYTES`] at most; `None` at the end.
    ///
    /// # Errors
    /// The reader failed, or the bytes from here on are no good. All that were good have been
    /// handed out; every later call says the same.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>, DecodeError> {
        if let Some(reason) = &self.ended {
            return Err(DecodeError::Bad(reason.clone()));
        }
        let mut utf16_from = None;
        if !self.begun {
            self.begun = true;
            self.unwrap_layers()?;
            let first = self.layers.peek()?;
            if let Some(what) = magic::not_a_log(first) {
                return Err(self.end(ReasonCode::NotALog, format!("it is {what}, not a log")));
            }
            self.utf16 = Utf16::sniff(first);
            utf16_from = self.utf16.as_ref().map(|utf16| utf16.mark_bytes);
        }
        let Some(utf16) = &mut self.utf16 else {
            let chunk = self.layers.next_chunk()?;
            return Ok(chunk.map(|bytes| Chunk { bytes, original_bytes: bytes.len() as u64, utf16_from }));
        };
        self.transcoded.clear();
        let original_bytes = match self.layers.next_chunk()? {
            Some(bytes) => {
                let skip = utf16_from.unwrap_or(0) as usize;
                utf16.decode(bytes.get(skip..).unwrap_or_default(), false, &mut self.transcoded);
                bytes.len() as u64
            }
            None => {
                utf16.decode(&[], true, &mut self.transcoded);
                if self.transcoded.is_empty() {
                    return Ok(None);
                }
                0
            }
        };
        Ok(Some(Chunk { bytes: &self.transcoded, original_bytes, utf16_from }))
    }

    /// Puts layers upon the first, as long as what comes out is compressed.
    fn unwrap_layers(&mut self) -> Result<(), DecodeError> {
        for layer in 1..=MAX_LAYERS {
            if !layer::is_compressed(self.layers.peek()?) {
                break;
            }
            if layer == MAX_LAYERS {
                return Err(
                    self.end(ReasonCode::NotALog, format!("it is compressed more than {MAX_LAYERS} times"))
                );
            }
            self.layers = match std::mem::replace(&mut self.layers, Layers::Moving) {
                Layers::One(below) => Layers::Two(Box::new(Layer::above(*below))),
                Layers::Two(below) => Layers::Three(Box::new(Layer::above(*below))),
                other => other,
            };
        }
        Ok(())
    }

    fn end(&mut self, code: ReasonCode, message: String) -> DecodeError {
        let reason = Reason { code, message };
        self.ended = Some(reason.clone());
        DecodeError::Bad(reason)
    }
}

impl<R: Read> Layers<R> {
    fn peek(&mut self) -> Result<&[u8], DecodeError> {
        match self {
            Self::One(layer) => layer.peek(),
            Self::Two(layer) => layer.peek(),
            Self::Three(layer) => layer.peek(),
            Self::Moving => Ok(&[]),
        }
    }

    fn next_chunk(&mut self) -> Result<Option<&[u8]>, DecodeError> {
        match self {
            Self::One(layer) => layer.next_chunk(),
            Self::Two(layer) => layer.next_chunk(),
            Self::Three(layer) => layer.next_chunk(),
            Self::Moving => Ok(None),
        }
    }
}

/// The object itself, and how much of it was read.
#[derive(Debug)]
struct Counted<R> {
    reader: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(out)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

/// A layer from which another one reads.
#[derive(Debug)]
struct Below<R> {
    layer: Box<Layer<R>>,
    chunk: Vec<u8>,
    at: usize,
}

/// What is wrong with the layer below, on its way through [`Read`].
#[derive(Debug, thiserror::Error)]
#[error("the layer below is damaged")]
struct Damage(Reason);

impl<R: Read> Read for Below<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            self.chunk.clear();
            self.at = 0;
            match self.layer.next_chunk() {
                Ok(Some(bytes)) => self.chunk.extend_from_slice(bytes),
                Ok(None) => {}
                Err(DecodeError::Bad(reason)) => return Err(io::Error::other(Damage(reason))),
                Err(DecodeError::Read(error)) => return Err(error),
            }
        }
        let count = out.len().min(self.chunk.len() - self.at);
        out[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
