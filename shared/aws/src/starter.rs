//! Starts functions by direct, asynchronous invocations: `ingest` on an object, `health` for notifications.

use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use logferry_core::ledger::backlog::Starter;
use logferry_core::model::fault::Fault;
use logferry_core::model::object::{ObjectRef, ObjectVersion};
use logferry_core::ports::alerts::{ALERTS_EVENT, AlertWaker};

use crate::faults::fault;

/// Invokes the ingest function.
#[derive(Debug, Clone)]
pub struct LambdaStarter {
    client: Client,
    function: String,
}

impl LambdaStarter {
    #[must_use]
    pub fn new(client: Client, function: impl Into<String>) -> Self {
        Self { client, function: function.into() }
    }
}

impl Starter for LambdaStarter {
    async fn start(&self, object: &ObjectRef) -> Result<(), Fault> {
        let mut event = serde_json::json!({"bucket": object.bucket, "key": object.key});
        match &object.version {
            ObjectVersion::Id(id) => event["versionId"] = id.as_str().into(),
            ObjectVersion::ETag(etag) => event["etag"] = etag.as_str().into(),
        }
        invoke(&self.client, &self.function, event.to_string()).await
    }
}

/// Invokes a function asynchronously.
async fn invoke(client: &Client, function: &str, event: String) -> Result<(), Fault> {
    let request = client.invoke().function_name(function).invocation_type(InvocationType::Event);
    request.payload(Blob::new(event)).send().await.map_err(|error| fault("Invoke", error))?;
    Ok(())
}

/// Invokes the function that sends notifications of alerts.
#[derive(Debug, Clone)]
pub struct LambdaAlertWaker {
    client: Client,
    function: String,
}

impl LambdaAlertWaker {
    #[must_use]
    pub fn new(client: Client, function: impl Into<String>) -> Self {
        Self { client, function: function.into() }
    }
}

impl AlertWaker for LambdaAlertWaker {
    async fn wake(&self) -> Result<(), Fault> {
        invoke(&self.client, &self.function, ALERTS_EVENT.to_owned()).await
    }
}
