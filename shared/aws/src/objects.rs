//! Objects in S3.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{Tag, Tagging};
use futures::stream;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::{ObjectMeta, ObjectRef, ObjectVersion};
use logferry_core::ports::objects::{ByteStream, ObjectEraser, ObjectStore};

use crate::faults::fault;

/// The tag of refused objects, as in the lifecycle rule in template.yaml.
pub const REFUSED_TAG: (&str, &str) = ("logferry-refused", "true");

/// Reads objects from S3.
#[derive(Debug, Clone)]
pub struct S3Objects {
    client: Client,
}

impl S3Objects {
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

fn meta(
    operation: &'static str,
    size: Option<i64>,
    modified: Option<&DateTime>,
    etag: Option<String>,
    version_id: Option<String>,
) -> Result<ObjectMeta, Fault> {
    let missing =
        |what: &str| Fault::new(FaultClass::Transient, operation, format!("the response has no {what}"));
    Ok(ObjectMeta {
        size_bytes: size.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| missing("size"))?,
        last_modified_ms: modified
            .and_then(|time| time.to_millis().ok())
            .ok_or_else(|| missing("last modified"))?,
        etag: etag.ok_or_else(|| missing("ETag"))?.trim_matches('"').to_owned(),
        version_id: version_id.filter(|id| id != "null"),
    })
}

impl ObjectStore for S3Objects {
    async fn head(&self, bucket: &str, key: &str, version_id: Option<&str>) -> Result<ObjectMeta, Fault> {
        let answer = self
            .client
            .head_object()
            .bucket(bucket)
            .key(key)
            .set_version_id(version_id.map(str::to_owned))
            .send()
            .await
            .map_err(|error| fault("HeadObject", error))?;
        let (size, etag, version) = (answer.content_length, answer.e_tag, answer.version_id);
        meta("HeadObject", size, answer.last_modified.as_ref(), etag, version)
    }

    async fn mark_refused(&self, object: &ObjectRef) -> Result<(), Fault> {
        let ObjectVersion::Id(version) = &object.version else { return Ok(()) };
        let unbuildable =
            |error| Fault::new(FaultClass::Permanent, "PutObjectTagging", "invalid tag").with_source(error);
        let (name, value) = REFUSED_TAG;
        let tag = Tag::builder().key(name).value(value).build().map_err(unbuildable)?;
        let tagging = Tagging::builder().tag_set(tag).build().map_err(unbuildable)?;
        self.client
            .put_object_tagging()
            .bucket(&object.bucket)
            .key(&object.key)
            .version_id(version)
            .tagging(tagging)
            .send()
            .await
            .map_err(|error| fault("PutObjectTagging", error))?;
        Ok(())
    }

    async fn open(&self, object: &ObjectRef) -> Result<(ObjectMeta, ByteStream), Fault> {
        let request = self.client.get_object().bucket(&object.bucket).key(&object.key);
        let request = match &object.version {
            ObjectVersion::Id(id) => request.version_id(id),
            ObjectVersion::ETag(etag) => request.if_match(format!("\"{etag}\"")),
        };
        let answer = request.send().await.map_err(|error| fault("GetObject", error))?;
        let (size, etag, version) = (answer.content_length, answer.e_tag, answer.version_id);
        let meta = meta("GetObject", size, answer.last_modified.as_ref(), etag, version)?;
        let body = stream::unfold(answer.body, |mut body| async move {
            let chunk = body.next().await?.map_err(|error| {
                Fault::new(FaultClass::Transient, "GetObject", "the body ended early").with_source(error)
            });
            Some((chunk, body))
        });
        Ok((meta, Box::pin(body)))
    }
}

impl ObjectEraser for S3Objects {
    async fn erase(&self, object: &ObjectRef) -> Result<bool, Fault> {
        let request = self.client.delete_object().bucket(&object.bucket).key(&object.key);
        let request = match &object.version {
            ObjectVersion::Id(id) => request.version_id(id),
            ObjectVersion::ETag(same) => request.if_match(format!("\"{same}\"")),
        };
        match request.send().await.map_err(|error| fault("DeleteObject", error)) {
            Ok(_) => Ok(true),
            // It does not exist, or the key has another object by now.
            Err(fault) if matches!(fault.class, FaultClass::NotFound | FaultClass::Conflict) => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}
