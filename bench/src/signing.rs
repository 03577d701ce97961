//! Cost of a presigned URL.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};

use logferry_aws::client::AwsEnv;
use logferry_presigner::{Presigner, PutPart};

use crate::cpu;

const NOW_MS: i64 = 1_743_465_600_000;

/// Measures the CPU per signed URL of a part, as in a batch of a session.
pub(crate) fn signing(urls: u32, rounds: u32) -> Result<(), Box<dyn Error>> {
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
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let (secs, signed) = cpu::timed(|| {
            (1..=urls).try_for_each(|number| {
                presigner.put_part(&part(number), NOW_MS).map(|url| {
                    black_box(url);
                })
            })
        })?;
        signed?;
        best = best.min(secs / f64::from(urls));
    }
    let mut out = io::stdout().lock();
    writeln!(out, "\nPresigned URLs of parts, {urls} of them, best of {rounds} rounds")?;
    writeln!(out, "  {:>8.1} µs CPU per URL, {:.0} ms for a batch of 1,000", best * 1e6, best * 1e6)?;
    Ok(())
}
