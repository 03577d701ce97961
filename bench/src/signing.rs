//! Cost of a presigned URL.

use std::hint::black_box;

use logferry_aws::client::AwsEnv;
use logferry_presigner::{Presigner, PutPart};

use crate::race::{Contender, Failure, race};
use crate::report::{Report, Row, Table};

const NOW_MS: i64 = 1_743_465_600_000;

/// Measures the CPU per signed URL of a part, as in a batch of a session.
pub(crate) fn signing(report: &mut Report, urls: u32, rounds: u32) -> Result<(), Failure> {
    let env = AwsEnv::from_lookup(|name| {
        let value = match name {
            "AWS_REGION" => "us-east-1",
            "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY" => "secret",
            _ => return None,
        };
        Some(value.to_owned())
    })?;
    let presigner = Presigner::new(env.credentials.clone(), &env.region, "bucket", env.endpoint("S3"));
    let part = |part_number| PutPart {
        key: "uploads/my-app/jo/01JQR4X8V7N3K5M2P6T9W1Y0ZC/film.mp4",
        upload_id: "upload-id",
        part_number,
        content_length: Some(8 << 20),
        expires_secs: 900,
    };
    let mut contenders = [Contender::new("a part's URL", || {
        for number in 1..=urls {
            black_box(presigner.put_part(&part(number), NOW_MS)?);
        }
        Ok(())
    })];
    let micros = race(rounds, &mut contenders)?[0].cpu / f64::from(urls) * 1e6;
    report.add(Table {
        id: "signing",
        title: format!("Presigned URLs, {urls} in a row"),
        columns: vec!["µs CPU per URL", "URLs per cpu-s"],
        rows: vec![Row::new("a part's URL", [micros, 1e6 / micros])],
    })?;
    Ok(())
}
