//! Reports of a run: a log line and metrics per object.

use logferry_core::logfile::outcome::Warning;
use logferry_core::ports::clock::Clock;
use logferry_service::metrics::{self, Emission};

use crate::pipeline::Written;
use crate::{Ingest, Ingested};

impl<O, B, L, A, C: Clock> Ingest<O, B, L, A, C> {
    pub(crate) fn measure(&self, ingested: &Ingested) {
        let emission = Emission::new(&self.settings.metrics_namespace);
        let (emission, counts) = match ingested {
            Ingested::Completed { counts } => (emission.value(metrics::FILES_COMPLETED, 1), counts),
            Ingested::Failed { reason, counts } => {
                let metric =
                    if reason.code.is_senders() { metrics::FILES_REFUSED } else { metrics::FILES_FAILED };
                (emission.value(metric, 1), counts)
            }
            Ingested::Released { .. } | Ingested::Duplicate | Ingested::LeaseLost | Ingested::Ignored => {
                return;
            }
        };
        emission
            .value(metrics::RECORDS_STORED, counts.ok)
            .value(metrics::RECORDS_QUARANTINED, counts.quarantined)
            .value(metrics::BYTES_DECOMPRESSED, counts.bytes)
            .emit(self.clock.now_ms());
    }

    /// Reports each file that was read, those without a warning as 0: the alarm needs both of its metrics.
    pub(crate) fn measure_warning(&self, warning: Option<Warning>) {
        let mostly_quarantined = match warning {
            Some(Warning::MostlyQuarantined) => 1,
            None => 0,
        };
        Emission::new(&self.settings.metrics_namespace)
            .value(metrics::FILES_MOSTLY_QUARANTINED, mostly_quarantined)
            .emit(self.clock.now_ms());
    }

    pub(crate) fn measure_writes(&self, written: Written) {
        Emission::new(&self.settings.metrics_namespace)
            .value(metrics::BLOCKS_WRITTEN, written.blocks)
            .emit(self.clock.now_ms());
    }
}

/// Writes a log line for the object. A FAILED file is logged at every log level.
pub(crate) fn log(key: &str, ingested: &Ingested) {
    let result = match ingested {
        Ingested::Failed { reason, counts } => {
            tracing::warn!(
                file.key = key,
                reason.code = reason.code.as_str(),
                reason.message = %reason.message,
                records.stored = counts.ok,
                records.quarantined = counts.quarantined,
                "file FAILED"
            );
            return;
        }
        Ingested::Completed { counts } => {
            tracing::info!(
                file.key = key,
                records.stored = counts.ok,
                records.quarantined = counts.quarantined,
                "file COMPLETED"
            );
            return;
        }
        Ingested::Released { .. } => "released",
        Ingested::Duplicate => "duplicate",
        Ingested::LeaseLost => "lease lost",
        Ingested::Ignored => "ignored",
    };
    tracing::info!(file.key = key, file.result = result, "object handled");
}
