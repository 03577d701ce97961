//! Cost of flush: bodies of PutLogEvents compared with the SDK's own types and memcpy, in one run, and
//! events through the buffer.

use std::error::Error;
use std::future::ready;
use std::hint::black_box;
use std::io::{self, Write};

use batch_buffer::body::write_body;
use batch_buffer::{Accepted, BatchBuffer, Config, Event, Limits, Request, Sender, plan};

use crate::nowhere::{OwnTypes, direct};
use crate::{cpu, pino};

/// How much cheaper a directly written body must be than one of the SDK's own types, both signed.
const MIN_RATIO: f64 = 3.5;

const NOW_MS: i64 = 1_743_465_600_000;

/// Measures CPU per megabyte of messages.
pub(crate) fn bodies(records: u64, rounds: u32) -> Result<(), Box<dyn Error>> {
    let mut text = Vec::new();
    pino::write(records, &mut text)?;
    let text = String::from_utf8(text)?;
    let lines =
        text.lines().map(|line| line.trim_matches(['[', ']', ',']).trim()).filter(|line| line.len() > 1);
    let events: Vec<Event> = lines.map(|line| Event::new(NOW_MS, line)).collect();
    let bytes: usize = events.iter().map(|event| event.message.len()).sum();
    let batches = plan(events, NOW_MS, &Limits::default()).batches;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (own_types, direct) = (OwnTypes::new(), direct());

    let mut best = [f64::MAX; 4];
    let mut buffer = Vec::with_capacity(2 << 20);
    for _ in 0..rounds {
        let (copied, ()) = cpu::timed(|| {
            for event in batches.iter().flatten() {
                if buffer.len() > 1 << 20 {
                    buffer.clear();
                }
                buffer.extend_from_slice(event.message.as_bytes());
                black_box(&buffer);
            }
        })?;
        let (written, ()) = cpu::timed(|| {
            for batch in &batches {
                buffer.clear();
                write_body(&mut buffer, "/g", "s", None, batch);
                black_box(&buffer);
            }
        })?;
        let requests: Vec<Request> = batches
            .iter()
            .map(|batch| Request {
                group: "/g".into(),
                stream: "s".into(),
                events: batch.clone().into(),
                sequence_token: None,
            })
            .collect();
        let (signed, sent) = cpu::timed(|| {
            runtime.block_on(async {
                let mut sent = 0;
                // The sender keeps the events, which it may have to bisect.
                for request in &requests {
                    sent += usize::from(direct.send(request.clone()).await.is_ok());
                }
                sent
            })
        })?;
        let (own, sent_own) = cpu::timed(|| {
            runtime.block_on(async {
                let mut sent = 0;
                for batch in &batches {
                    sent += usize::from(own_types.send(batch).await);
                }
                sent
            })
        })?;
        if (sent, sent_own) != (batches.len(), batches.len()) {
            return Err("a request was not signed or not sent".into());
        }
        for (best, secs) in best.iter_mut().zip([copied, written, signed, own]) {
            *best = best.min(secs);
        }
    }
    let [copied, written, signed, own] = best.map(|secs| bytes as f64 / 1e6 / secs);
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "PutLogEvents bodies, {} requests, {:.1} MB of messages",
        batches.len(),
        bytes as f64 / 1e6
    )?;
    writeln!(out, "  memcpy                    {copied:8.0} MB per cpu-s")?;
    writeln!(out, "  body written              {written:8.0} MB per cpu-s")?;
    writeln!(out, "  body written, signed      {signed:8.0} MB per cpu-s")?;
    writeln!(out, "  SDK's own types, signed   {own:8.0} MB per cpu-s")?;
    let ratio = signed / own;
    writeln!(out, "  written over own, signed  {ratio:8.1}   (goal: at least {MIN_RATIO})")?;
    if ratio < MIN_RATIO {
        return Err(format!("bodies are only {ratio:.1} times as fast as the SDK's own types").into());
    }
    Ok(())
}

/// Measures events per CPU second through the buffer, with free sending.
pub(crate) fn buffer(events: usize) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = io::stdout().lock();
    writeln!(out, "batch buffer, {events} events of 200 bytes")?;
    let text = "x".repeat(200);
    for streams in [1, 10, 1_000] {
        let names: Vec<String> = (0..streams).map(|stream| format!("stream-{stream}")).collect();
        let send = |_: Request| ready(Ok(Accepted::default()));
        let config = Config { max_buffered_bytes: 256 << 20, ..Config::default() };
        let buffer = BatchBuffer::builder(send).config(config).clock(|| NOW_MS).build()?;
        let (secs, stopped) = cpu::timed(|| {
            runtime.block_on(async {
                for index in 0..events {
                    let event = Event::new(NOW_MS, text.clone());
                    if buffer.add_or_wait("/g", &names[index % streams], event).await.is_err() {
                        break;
                    }
                }
                buffer.stop().await
            })
        })?;
        let metrics = buffer.metrics();
        if !stopped.unsent.is_empty() || metrics.events_sent != events as u64 {
            return Err("events were lost".into());
        }
        let rate = events as f64 / secs / 1e6;
        writeln!(
            out,
            "  {streams:5} streams             {rate:8.2} million events per cpu-s, {} flushes",
            metrics.flushes_completed
        )?;
    }
    Ok(())
}
