//! Rows of quarantined records, beside their file's row.

use aws_sdk_dynamodb::types::AttributeValue;
use logferry_core::logfile::quarantine::{BadRecord, QuarantineReason, Quarantined};
use logferry_core::model::fault::Fault;

use crate::item::{Get, Item, Put, key, malformed, n, s};

/// The sort key of a quarantine row: under its file, in order of the ordinals.
pub(crate) fn quarantine_sk(file_sk: &str, ordinal: u64) -> String {
    format!("{file_sk}#q#{ordinal:012}")
}

/// Returns a quarantine row as an item under the file with these keys.
pub(crate) fn quarantined_item(pk: &str, file_sk: &str, row: &Quarantined) -> Item {
    let mut item = key(pk, quarantine_sk(file_sk, row.ordinal));
    item.put("ordinal", n(row.ordinal));
    item.put("last_ordinal", n(row.last_ordinal));
    item.put("count", n(row.count));
    item.put("reason", s(row.reason.as_str()));
    let reasons = row.reasons.iter().map(|(reason, count)| (reason.as_str().to_owned(), n(*count)));
    item.put("reasons", AttributeValue::M(reasons.collect()));
    item.put("start", n(row.start));
    item.put("end", n(row.end));
    item.put("sample", s(&row.sample));
    item
}

pub(crate) fn quarantined_from(item: &Item) -> Result<Quarantined, Fault> {
    let reason_of = |name: &str| QuarantineReason::parse(name).ok_or_else(|| malformed("reason"));
    let bad = BadRecord {
        ordinal: item.number("ordinal")?,
        reason: reason_of(item.text("reason")?)?,
        start: item.number("start")?,
        end: item.number("end")?,
    };
    let mut row = Quarantined::single(bad, item.text("sample")?);
    if let Some(AttributeValue::M(reasons)) = item.get("reasons") {
        row.last_ordinal = item.number("last_ordinal")?;
        row.count = item.number("count")?;
        let known = QuarantineReason::ALL.into_iter();
        row.reasons =
            known.filter_map(|reason| Some((reason, reasons.number_opt(reason.as_str())?))).collect();
    }
    Ok(row)
}
