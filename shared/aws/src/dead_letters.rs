//! Dead letters in the failure bucket.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::ports::dead_letters::DeadLetters;

use crate::faults::fault;

/// Files in an S3 bucket.
#[derive(Debug, Clone)]
pub struct S3DeadLetters {
    client: Client,
    bucket: String,
}

impl S3DeadLetters {
    #[must_use]
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into() }
    }
}

impl DeadLetters for S3DeadLetters {
    async fn put(&self, name: &str, lines: Vec<u8>) -> Result<(), Fault> {
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(name)
            .content_type("application/x-ndjson")
            .body(ByteStream::from(lines))
            .send()
            .await
            .map_err(|error| fault("PutObject", error))?;
        Ok(())
    }

    async fn names(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, Fault> {
        let answer = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_start_after(after.map(str::to_owned))
            .send()
            .await
            .map_err(|error| fault("ListObjectsV2", error))?;
        Ok(answer.contents.unwrap_or_default().into_iter().filter_map(|object| object.key).collect())
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, Fault> {
        let answer = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(name)
            .send()
            .await
            .map_err(|error| fault("GetObject", error))?;
        let body = answer.body.collect().await.map_err(|error| {
            Fault::new(FaultClass::Transient, "GetObject", "the body ended early").with_source(error)
        })?;
        Ok(body.to_vec())
    }

    async fn remove(&self, name: &str) -> Result<(), Fault> {
        self.client
            .delete_object()
            .bucket(&self.bucket)
            .key(name)
            .send()
            .await
            .map_err(|error| fault("DeleteObject", error))?;
        Ok(())
    }
}
