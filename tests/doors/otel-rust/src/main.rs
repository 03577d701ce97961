//! A program that logs a thousand records, of every level in turn, each with its number. Its argument is the
//! protocol: `protobuf` or `json`.

use std::collections::HashMap;
use std::env::var;
use std::error::Error;

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{Compression, LogExporter, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let protocol = match std::env::args().nth(1).as_deref() {
        Some("json") => Protocol::HttpJson,
        _ => Protocol::HttpBinary,
    };
    let exporter = LogExporter::builder()
        .with_http()
        .with_protocol(protocol)
        .with_endpoint(format!("{}/otlp/v1/logs", var("LOGFERRY_URL")?))
        .with_headers(HashMap::from([("x-api-key".to_owned(), var("LOGFERRY_KEY")?)]))
        .with_compression(Compression::Gzip)
        .build()?;
    let provider = SdkLoggerProvider::builder()
        .with_resource(Resource::builder().with_service_name("shop").build())
        .with_batch_exporter(exporter)
        .build();
    // Without a filter the exporter's own requests would be logged, too.
    let own = Targets::new().with_target("shop", LevelFilter::DEBUG);
    tracing_subscriber::registry().with(OpenTelemetryTracingBridge::new(&provider).with_filter(own)).init();

    for n in 0..1000_i64 {
        match n % 4 {
            0 => tracing::debug!(target: "shop", n, "record {n}"),
            1 => tracing::info!(target: "shop", n, "record {n}"),
            2 => tracing::warn!(target: "shop", n, "record {n}"),
            _ => tracing::error!(target: "shop", n, "record {n}"),
        }
    }
    provider.shutdown()?;
    Ok(())
}
