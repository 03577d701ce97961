//! Multipart uploads in S3.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_sdk_s3::{Client, Config};
use aws_smithy_types::timeout::TimeoutConfig;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::ObjectMeta;
use logferry_core::ports::objects::ObjectStore;
use logferry_core::uploads::session::{ListedPart, StoredPart, bare_etag};
use logferry_core::uploads::table::Multipart;

use crate::client::CONNECT_TIMEOUT;
use crate::faults::fault;
use crate::objects::S3Objects;

/// Parts that were being uploaded during an abort may remain: then the upload is aborted again.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>
const ABORTS: u32 = 3;

/// Timeout of a complete request, including retries: API Gateway waits 30 s, minus the time before and
/// after. A client that is asked to retry finds the object later.
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(22);

/// Multipart uploads of one bucket.
#[derive(Debug, Clone)]
pub struct S3Multipart {
    client: Client,
    bucket: String,
}

impl S3Multipart {
    #[must_use]
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into() }
    }
}

/// S3 needs longer to assemble thousands of parts than for other calls.
fn completing() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(COMPLETE_TIMEOUT)
        .operation_attempt_timeout(COMPLETE_TIMEOUT)
        .operation_timeout(COMPLETE_TIMEOUT)
        .build()
}

fn incomplete(operation: &'static str, what: &str) -> Fault {
    Fault::new(FaultClass::Transient, operation, format!("the response has no {what}"))
}

impl Multipart for S3Multipart {
    async fn create(
        &self,
        key: &str,
        content_type: &str,
        metadata: &[(String, String)],
    ) -> Result<String, Fault> {
        let metadata: HashMap<_, _> = metadata.iter().cloned().collect();
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .set_metadata(Some(metadata).filter(|metadata| !metadata.is_empty()))
            .send()
            .await
            .map_err(|error| fault("CreateMultipartUpload", error))?;
        answer.upload_id.ok_or_else(|| incomplete("CreateMultipartUpload", "upload id"))
    }

    async fn parts(&self, key: &str, upload_id: &str) -> Result<Vec<StoredPart>, Fault> {
        const OPERATION: &str = "ListParts";
        let mut parts = Vec::new();
        let mut marker = None;
        loop {
            let answer = self
                .client
                .list_parts()
                .bucket(&self.bucket)
                .key(key)
                .upload_id(upload_id)
                .set_part_number_marker(marker)
                .send()
                .await
                .map_err(|error| fault(OPERATION, error))?;
            for part in answer.parts() {
                let number = part.part_number().and_then(|number| u32::try_from(number).ok());
                let size = part.size().and_then(|size| u64::try_from(size).ok());
                parts.push(StoredPart {
                    number: number.ok_or_else(|| incomplete(OPERATION, "part number"))?,
                    etag: bare_etag(part.e_tag().ok_or_else(|| incomplete(OPERATION, "ETag"))?).to_owned(),
                    size_bytes: size.ok_or_else(|| incomplete(OPERATION, "size"))?,
                });
            }
            // A truncated page without a marker would be requested again and again.
            let next = answer.next_part_number_marker.filter(|_| answer.is_truncated == Some(true));
            match next {
                Some(next) => marker = Some(next),
                None if answer.is_truncated == Some(true) => {
                    return Err(incomplete(OPERATION, "next part number"));
                }
                None => break,
            }
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    async fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[ListedPart],
        size_bytes: u64,
    ) -> Result<(), Fault> {
        let parts = parts
            .iter()
            .map(|part| {
                CompletedPart::builder()
                    .part_number(i32::try_from(part.number).unwrap_or(i32::MAX))
                    .e_tag(format!("\"{}\"", part.etag))
                    .build()
            })
            .collect();
        // The SDK parses the body of a 200 for an error, which S3 may send minutes after the status.
        let answer = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload_id)
            .mpu_object_size(i64::try_from(size_bytes).unwrap_or(i64::MAX))
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .customize()
            .config_override(Config::builder().timeout_config(completing()))
            .send()
            .await
            .map_err(|error| fault("CompleteMultipartUpload", error))?;
        answer.e_tag.map(drop).ok_or_else(|| incomplete("CompleteMultipartUpload", "ETag"))
    }

    async fn abort(&self, key: &str, upload_id: &str) -> Result<(), Fault> {
        for _ in 0..ABORTS {
            let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(key);
            match abort.upload_id(upload_id).send().await.map_err(|e| fault("AbortMultipartUpload", e)) {
                Ok(_) => {}
                Err(fault) if fault.class == FaultClass::NotFound => return Ok(()),
                Err(fault) => return Err(fault),
            }
            match self.parts(key, upload_id).await {
                Ok(_) => {}
                Err(fault) if fault.class == FaultClass::NotFound => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
        Err(Fault::new(FaultClass::Transient, "AbortMultipartUpload", "parts are still arriving"))
    }

    async fn object(&self, key: &str) -> Result<Option<ObjectMeta>, Fault> {
        match S3Objects::new(self.client.clone()).head(&self.bucket, key, None).await {
            Ok(meta) => Ok(Some(meta)),
            Err(fault) if fault.class == FaultClass::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}
