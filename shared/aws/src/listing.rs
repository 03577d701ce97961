//! Lists of all versions of objects in S3.

use aws_sdk_s3::Client;
use logferry_core::ledger::bucket::{ListPage, ListPosition, Listed, Listing};
use logferry_core::model::fault::Fault;
use logferry_core::model::object::{ObjectRef, ObjectVersion};

use crate::faults::fault;

/// Lists from S3.
#[derive(Debug, Clone)]
pub struct S3Listing {
    client: Client,
}

impl S3Listing {
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Listing for S3Listing {
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&ListPosition>,
    ) -> Result<ListPage, Fault> {
        let answer = self
            .client
            .list_object_versions()
            .bucket(bucket)
            .prefix(prefix)
            .set_key_marker(after.map(|after| after.key.clone()))
            .set_version_id_marker(after.and_then(|after| after.version.clone()))
            .send()
            .await
            .map_err(|error| fault("ListObjectVersions", error))?;
        let listed = |version: &aws_sdk_s3::types::ObjectVersion| {
            let id = version.version_id.as_deref().filter(|id| *id != "null");
            let version_of_object = match id {
                Some(id) => ObjectVersion::Id(id.to_owned()),
                None => ObjectVersion::ETag(version.e_tag.as_deref()?.trim_matches('"').to_owned()),
            };
            Some(Listed {
                object: ObjectRef {
                    bucket: bucket.to_owned(),
                    key: version.key.clone()?,
                    version: version_of_object,
                },
                last_modified_ms: version.last_modified.as_ref()?.to_millis().ok()?,
            })
        };
        // S3 emulators return an object without version once more if it is the marker.
        let is_after = |listed: &Listed| after != Some(&listed.position());
        let versions = answer.versions.unwrap_or_default();
        let objects = versions.iter().filter_map(listed).filter(is_after).collect();
        let more = answer.is_truncated.unwrap_or(false);
        let next = answer.next_key_marker.filter(|_| more);
        let version = answer.next_version_id_marker.filter(|version| !version.is_empty());
        Ok(ListPage { objects, next: next.map(|key| ListPosition { key, version }) })
    }
}
