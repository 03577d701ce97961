//! Cost of flush: bodies of PutLogEvents compared with the SDK's own types and memcpy, and events through
//! the buffer.

use std::future::ready;
use std::hint::black_box;

use batch_buffer::body::write_body;
use batch_buffer::{Accepted, BatchBuffer, Config, Event, Limits, Request, Sender, plan};

use logferry_corpus::pino;

use crate::nowhere::{OwnTypes, direct};
use crate::race::{Contender, Failure, race};
use crate::report::{Report, Row, Table};

/// How much cheaper a directly written body must be than one of the SDK's own types, both signed.
const MIN_RATIO: f64 = 2.5;

const NOW_MS: i64 = 1_743_465_600_000;
/// Size at which the copy starts again: that of a request (bytes).
const COPY_BYTES: usize = 1 << 20;

/// Measures CPU per megabyte of messages.
pub(crate) fn bodies(report: &mut Report, records: u64, rounds: u32) -> Result<(), Failure> {
    let mut text = Vec::new();
    pino::write(records, &mut text)?;
    let text = String::from_utf8(text)?;
    let events: Vec<Event> = text.lines().map(|line| Event::new(NOW_MS, line)).collect();
    let megabytes = events.iter().map(|event| event.message.len()).sum::<usize>() as f64 / 1e6;
    let batches = plan(events, NOW_MS, &Limits::default()).batches;
    let requests: Vec<Request> = batches
        .iter()
        .map(|batch| Request {
            group: "/g".into(),
            stream: "s".into(),
            events: batch.clone().into(),
            sequence_token: None,
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (own_types, direct) = (OwnTypes::new(), direct());
    let (mut copied, mut written) = (Vec::with_capacity(2 * COPY_BYTES), Vec::with_capacity(2 * COPY_BYTES));
    let all_sent = |sent: usize| match sent == batches.len() {
        true => Ok(()),
        false => Err(Failure::from("a request was not signed or not sent")),
    };
    let mut contenders = [
        Contender::new("memcpy", || {
            for event in batches.iter().flatten() {
                if copied.len() > COPY_BYTES {
                    copied.clear();
                }
                copied.extend_from_slice(event.message.as_bytes());
                black_box(&copied);
            }
            Ok(())
        }),
        Contender::new("body written", || {
            for batch in &batches {
                written.clear();
                write_body(&mut written, "/g", "s", None, batch);
                black_box(&written);
            }
            Ok(())
        }),
        Contender::new("body written, signed", || {
            all_sent(runtime.block_on(async {
                let mut sent = 0;
                // The sender keeps the events, which it may have to bisect.
                for request in &requests {
                    sent += usize::from(direct.send(request.clone()).await.is_ok());
                }
                sent
            }))
        }),
        Contender::new("SDK's own types, signed", || {
            all_sent(runtime.block_on(async {
                let mut sent = 0;
                for batch in &batches {
                    sent += usize::from(own_types.send(batch).await);
                }
                sent
            }))
        }),
    ];
    let times = race(rounds, &mut contenders)?;
    let row = |(contender, secs): (&Contender<'_>, f64)| {
        Row::new(&contender.name, [megabytes / secs, times[3].cpu / secs])
    };
    report.add(Table {
        id: "bodies",
        title: format!("PutLogEvents: {} requests, {megabytes:.1} MB of messages", batches.len()),
        columns: vec!["MB/cpu-s", "times the SDK's types"],
        rows: contenders.iter().zip(times.iter().map(|time| time.cpu)).map(row).collect(),
    })?;
    let ratio = times[3].cpu / times[2].cpu;
    let bound = format!("signed bodies are {ratio:.1} times as fast as the SDK's types, not {MIN_RATIO}");
    report.require(ratio >= MIN_RATIO, bound);
    Ok(())
}

/// Measures events per CPU second through the buffer, with free sending.
pub(crate) fn buffer(report: &mut Report, events: usize, rounds: u32) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = "x".repeat(200);
    let run = |streams: usize| {
        let names: Vec<String> = (0..streams).map(|stream| format!("stream-{stream}")).collect();
        let (runtime, text) = (&runtime, &text);
        Contender::new(format!("{streams} streams"), move || {
            let send = |_: Request| ready(Ok(Accepted::default()));
            let config = Config { max_buffered_bytes: 256 << 20, ..Config::default() };
            let buffer = BatchBuffer::builder(send).config(config).clock(|| NOW_MS).build()?;
            let stopped = runtime.block_on(async {
                for index in 0..events {
                    let event = Event::new(NOW_MS, text.clone());
                    if buffer.add_or_wait("/g", &names[index % streams], event).await.is_err() {
                        break;
                    }
                }
                buffer.stop().await
            });
            match stopped.unsent.is_empty() && buffer.metrics().events_sent == events as u64 {
                true => Ok(()),
                false => Err("events were lost".into()),
            }
        })
    };
    let mut contenders = [1, 10, 1_000].map(run);
    let times = race(rounds, &mut contenders)?;
    let row =
        |(contender, secs): (&Contender<'_>, f64)| Row::new(&contender.name, [events as f64 / secs / 1e6]);
    report.add(Table {
        id: "buffer",
        title: format!("Batch buffer: {events} events of 200 bytes"),
        columns: vec!["million events/cpu-s"],
        rows: contenders.iter().zip(times.iter().map(|time| time.cpu)).map(row).collect(),
    })?;
    Ok(())
}
