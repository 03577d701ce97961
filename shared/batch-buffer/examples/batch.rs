//! Batches the lines of standard input and prints each request instead of sending it.
//!
//! `seq 25000 | cargo run --example batch`
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::error::Error;
use std::io::BufRead as _;
use std::time::{SystemTime, UNIX_EPOCH};

use batch_buffer::{Accepted, BatchBuffer, Event, Request};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // With the AWS SDK this is `client.put_log_events()`; see the README for errors and rejected events.
    let send = |request: Request| async move {
        println!("{} events to {} {}", request.events.len(), request.group, request.stream);
        Ok(Accepted::default())
    };
    let buffer = BatchBuffer::new(send);
    buffer.start();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        // CloudWatch Logs accepts no empty message.
        if !line.is_empty() {
            let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
            let event = Event::new(i64::try_from(now_ms)?, line);
            // Waits while 64 MiB are buffered; `add` would return the event instead.
            buffer.add_or_wait("/app/logs", "stdin", event).await?;
        }
    }
    let stopped = buffer.stop().await;
    println!("{} events could not be sent", stopped.unsent.len());
    Ok(())
}
