//! Separate tables, a bucket and log groups for one test, with the deployed schema; the functions'
//! processes with the deployed environment pointed there; and checks of the final state. Tests do not
//! interfere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, GlobalSecondaryIndex, TableDescription};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use logferry_aws::apps::DynamoApps;
use logferry_aws::block_item::block_from_item;
use logferry_aws::blocks::DynamoBlocks;
use logferry_aws::files::DynamoFiles;
use logferry_aws::item::{Get as _, Item, expiring_from, key, n};
use logferry_aws::ledger::{DynamoLedger, file_key, row_from_item};
use logferry_aws::records::DynamoRecords;
use logferry_core::ledger::row::{FileRow, FileStatus};
use logferry_core::logbook::blocks::BlockTable as _;
use logferry_core::logbook::counter_keys::parse_sort_key;
use logferry_core::logfile::quarantine::QuarantineReason;
use logferry_core::model::app::{App, AppId};
use logferry_core::model::block::Payload;
use logferry_core::model::level::LevelCounts;
use logferry_core::model::object::{ObjectRef, ObjectVersion};
use logferry_core::model::time::Day;
use logferry_core::ports::app_admin::{AppAdmin as _, Registered};
use logferry_core::ports::apps::KeyRow;
use logferry_core::ports::clock::Clock as _;
use logferry_service::api_key::ApiKey;
use logferry_service::clock::SystemClock;
use logferry_tests::stack::Stack;
use serde_json::{Map, Value, json};

use super::relay::{Moment, Planned, Relay};
use logferry_tests::function::deployed_environment;
use logferry_tests::process::{Invoked, Process};

const TABLES: [&str; 5] = ["apps", "logs", "files", "stats", "uploads"];
pub(super) const FUNCTIONS: [&str; 4] = ["ingest", "flush", "sweep", "api"];

/// Time of an invocation: short, but longer than a call without response.
const INVOCATION: Duration = Duration::from_secs(60);

/// What the stack of this run has deployed.
pub(super) struct Deployed {
    stack: Stack,
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    tables: BTreeMap<&'static str, TableDescription>,
    environments: BTreeMap<&'static str, BTreeMap<String, String>>,
    binaries: PathBuf,
}

impl Deployed {
    pub(super) async fn read() -> Option<Arc<Self>> {
        let stack = Stack::running()?;
        let mut tables = BTreeMap::new();
        for role in TABLES {
            let name = stack.value(&format!("TABLE_{}", role.to_uppercase()));
            let found = stack.aws.dynamodb().describe_table().table_name(name).send().await.unwrap();
            tables.insert(role, found.table.unwrap());
        }
        let mut environments = BTreeMap::new();
        for function in FUNCTIONS {
            environments.insert(function, deployed_environment(&stack, function).await);
        }
        let binaries = PathBuf::from(stack.value("BINARIES"));
        let (dynamodb, s3, logs) = (stack.aws.dynamodb(), stack.aws.s3(), stack.aws.logs());
        Some(Arc::new(Self { stack, dynamodb, s3, logs, tables, environments, binaries }))
    }
}

/// A registered app, with its key.
#[derive(Debug, Clone)]
pub(super) struct Registration {
    pub(super) app: App,
    pub(super) api_key: String,
}

/// A stored record: source, ordinal, original.
pub(super) type Stored = (String, u64, String);

/// The faults of an invocation.
#[derive(Debug, Clone)]
pub(super) enum Harm {
    /// These calls fail, in this invocation and the function's next ones.
    Faults(Vec<Planned>),
    /// The process is killed at the call with this number.
    Kill(usize, Moment),
}

/// The result of an invocation.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) end: Invoked,
    /// How many faults occurred.
    pub(super) fired: u32,
    /// The names of its calls.
    pub(super) calls: Vec<String>,
    /// The ledger after it.
    pub(super) rows: Vec<FileRow>,
}

pub(super) struct Sandbox {
    deployed: Arc<Deployed>,
    id: String,
    pub(super) bucket: String,
    pub(super) relay: Relay,
    processes: BTreeMap<&'static str, Process>,
    /// The function whose calls fail.
    harmed: Option<&'static str>,
    /// Fence and status of each row when last seen.
    watched: BTreeMap<(String, String), (u64, FileStatus)>,
}

impl Sandbox {
    pub(super) async fn new(deployed: &Arc<Deployed>) -> Self {
        let id = ulid::Ulid::generate().to_string().to_lowercase();
        let relay = Relay::start(deployed.stack.value("AWS_ENDPOINT_URL")).await;
        let bucket = format!("own-{id}");
        let sandbox = Self {
            deployed: deployed.clone(),
            id,
            bucket,
            relay,
            processes: BTreeMap::new(),
            harmed: None,
            watched: BTreeMap::new(),
        };
        for (role, table) in &deployed.tables {
            sandbox.create_table(role, table).await;
        }
        let s3 = &deployed.s3;
        s3.create_bucket().bucket(&sandbox.bucket).send().await.unwrap();
        let versioning = aws_sdk_s3::types::VersioningConfiguration::builder().status("Enabled".into());
        let put = s3.put_bucket_versioning().bucket(&sandbox.bucket);
        put.versioning_configuration(versioning.build()).send().await.unwrap();
        sandbox
    }

    async fn create_table(&self, role: &str, like: &TableDescription) {
        let indexes = like.global_secondary_indexes().iter().map(|index| {
            let copy = GlobalSecondaryIndex::builder().set_index_name(index.index_name.clone());
            let copy = copy.set_key_schema(index.key_schema.clone()).set_projection(index.projection.clone());
            copy.build().unwrap()
        });
        let indexes: Vec<_> = indexes.collect();
        let create = self.dynamodb().create_table().table_name(self.table(role));
        let create = create
            .set_key_schema(like.key_schema.clone())
            .set_attribute_definitions(like.attribute_definitions.clone())
            .set_global_secondary_indexes(Some(indexes).filter(|indexes| !indexes.is_empty()))
            .billing_mode("PAY_PER_REQUEST".into());
        create.send().await.unwrap();
    }

    /// Removes what was created. Log groups are small and stay.
    pub(super) async fn remove(mut self) {
        self.processes.clear();
        for role in TABLES {
            self.dynamodb().delete_table().table_name(self.table(role)).send().await.unwrap();
        }
        let s3 = &self.deployed.s3;
        let versions = s3.list_object_versions().bucket(&self.bucket).send().await.unwrap();
        for version in versions.versions() {
            let delete = s3.delete_object().bucket(&self.bucket).set_key(version.key.clone());
            delete.set_version_id(version.version_id.clone()).send().await.unwrap();
        }
        s3.delete_bucket().bucket(&self.bucket).send().await.unwrap();
    }

    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        self.deployed.dynamodb.clone()
    }

    fn table(&self, role: &str) -> String {
        format!("{role}.{}", self.id)
    }

    pub(super) fn ledger(&self) -> DynamoLedger {
        DynamoLedger::new(self.dynamodb(), self.table("files"), self.table("stats"))
    }

    pub(super) fn files(&self) -> DynamoFiles {
        DynamoFiles::new(self.dynamodb(), self.table("files"))
    }

    pub(super) fn blocks(&self) -> DynamoBlocks {
        DynamoBlocks::new(self.dynamodb(), self.table("logs"))
    }

    pub(super) fn book(&self) -> DynamoRecords {
        DynamoRecords::new(self.dynamodb(), self.table("logs"), self.table("stats"))
    }

    pub(super) fn apps(&self) -> DynamoApps {
        DynamoApps::new(self.dynamodb(), self.table("apps"))
    }

    pub(super) fn sessions(&self) -> logferry_aws::sessions::DynamoSessions {
        logferry_aws::sessions::DynamoSessions::new(self.dynamodb(), self.table("uploads"))
    }

    pub(super) fn multipart(&self) -> logferry_aws::multipart::S3Multipart {
        logferry_aws::multipart::S3Multipart::new(self.deployed.s3.clone(), &self.bucket)
    }

    pub(super) async fn register(&self) -> Registration {
        let key = ApiKey::generate().unwrap();
        let app = App {
            health_checks: json!([]),
            ..App::new(
                format!("a{}", ulid::Ulid::generate().to_string().to_lowercase()).parse().unwrap(),
                "app",
                SystemClock.now_ms(),
            )
        };
        let row = KeyRow::with_all_scopes(key.key_id(), app.app_id.clone(), key.secret_hash());
        assert_eq!(self.apps().register(&app, &row).await.unwrap(), Registered::Yes);
        Registration { app, api_key: key.reveal().to_owned() }
    }

    pub(super) async fn put(&self, key: &str, body: Vec<u8>) -> ObjectRef {
        let put = self.deployed.s3.clone().put_object().bucket(&self.bucket).key(key).body(body.into());
        let version = ObjectVersion::Id(put.send().await.unwrap().version_id.unwrap());
        ObjectRef { bucket: self.bucket.clone(), key: key.to_owned(), version }
    }

    /// Returns the deployed environment, with the names of tables, buckets and log groups replaced by ours,
    /// and the relay as AWS endpoint.
    fn environment(&self, function: &str) -> BTreeMap<String, String> {
        let mut env = self.deployed.environments[function].clone();
        let stack = &self.deployed.stack;
        for value in env.values_mut() {
            let own =
                TABLES.iter().find(|role| stack.value(&format!("TABLE_{}", role.to_uppercase())) == value);
            if let Some(role) = own {
                *value = self.table(role);
            } else if value == stack.value("BUCKET") || value == stack.value("FAILURE_BUCKET") {
                value.clone_from(&self.bucket);
            }
        }
        env.insert("LOG_GROUP_PREFIX".to_owned(), format!("/own/{}", self.id));
        env.insert("AWS_ENDPOINT_URL".to_owned(), format!("http://{}", self.relay.address));
        for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            env.insert(name.to_owned(), stack.value(name).to_owned());
        }
        env
    }

    async fn process(&mut self, function: &'static str) -> &Process {
        let alive = self.processes.get(function).is_some_and(|process| !process.is_dead());
        if !alive {
            let binary = self.deployed.binaries.join(function).join("bootstrap");
            let process = Process::start(function, &binary, &self.environment(function)).await;
            self.processes.insert(function, process);
        }
        &self.processes[function]
    }

    /// Runs one invocation, in a new process if there is none.
    pub(super) async fn invoke(&mut self, function: &'static str, event: &Value, harm: Option<Harm>) -> Ran {
        self.relay.take_calls();
        let process = self.process(function).await;
        let killer = process.killer();
        match harm {
            None => {}
            Some(Harm::Faults(planned)) => {
                self.relay.plan(&planned);
                self.harmed = Some(function);
            }
            Some(Harm::Kill(number, moment)) => self.relay.plan_kill(number, moment, killer),
        }
        if self.harmed == Some(function) {
            self.relay.be_harmful();
        }
        let mut end = self.processes[function].invoke(event, INVOCATION).await;
        let fired = self.relay.calm_down().await;
        if self.processes[function].is_dead() {
            end = Invoked::Died;
        }
        let calls = self.relay.take_calls();
        let rows = self.rows().await;
        self.watch(&rows);
        Ran { end, fired, calls, rows }
    }

    /// Stops faults. Returns the planned ones that did not occur.
    pub(super) fn end_of_harm(&mut self) -> Vec<Planned> {
        self.harmed = None;
        self.relay.unfired()
    }

    /// Returns the latest output of a function's process, for the report of a failure.
    pub(super) fn output(&self, function: &str) -> String {
        self.processes.get(function).map(Process::output).unwrap_or_default()
    }

    async fn scan(&self, role: &str) -> Vec<Item> {
        let scan = self.dynamodb().scan().table_name(self.table(role)).consistent_read(true);
        scan.into_paginator().items().send().collect::<Result<_, _>>().await.unwrap()
    }

    /// Returns the rows of the ledger, of objects and of waiting grants.
    pub(super) async fn rows(&self) -> Vec<FileRow> {
        let items = self.scan("files").await;
        let own = items.iter().filter(|item| item.contains_key("status") && !item.contains_key("used_by"));
        own.map(|item| row_from_item(item).unwrap()).collect()
    }

    /// Checks that fences only rise, and that an end keeps its fence.
    fn watch(&mut self, rows: &[FileRow]) {
        for row in rows {
            let version = row.object.as_ref().map_or("", |object| object.version.as_str());
            let key = (row.key.clone(), version.to_owned());
            if let Some((fence, status)) = self.watched.insert(key, (row.fence, row.status)) {
                assert!(row.fence >= fence, "the fence fell from {fence}: {row:?}");
                assert!(!status.is_terminal() || row.status == status, "it left {status:?}: {row:?}");
            }
        }
    }

    /// Ends every lease of a file or of a removal: its holder is dead or has given up.
    pub(super) async fn let_leases_end(&self) {
        let past_ms = SystemClock.now_ms() - 1000;
        for item in self.scan("apps").await.iter().filter(|item| item.contains_key("due_ms")) {
            let update = self.dynamodb().update_item().table_name(self.table("apps"));
            let update = update
                .set_key(Some(key(item.text("pk").unwrap(), item.text("sk").unwrap())))
                .update_expression("SET due_ms = :past")
                .expression_attribute_values(":past", n(past_ms));
            update.send().await.unwrap();
        }
        for row in self.rows().await {
            if row.status != FileStatus::Processing {
                continue;
            }
            let update = self.dynamodb().update_item().table_name(self.table("files"));
            let update = update
                .set_key(row.object.as_ref().map(file_key))
                .update_expression("SET lease_until = :past, due_at = :past")
                .expression_attribute_values(":past", n(past_ms));
            update.send().await.unwrap();
        }
    }

    /// Returns all records of an app, and their counts per day, from its blocks.
    pub(super) async fn stored(&self, app_id: &AppId) -> (Vec<Stored>, BTreeMap<Day, LevelCounts>) {
        let (mut records, mut days) = (Vec::new(), BTreeMap::<Day, LevelCounts>::new());
        for mut item in self.scan("logs").await {
            let Some((block, extents)) = block_from_item(&mut item).unwrap() else { continue };
            if block.header.app_id != *app_id {
                continue;
            }
            let mut data = block.data;
            if extents > 0 {
                data = self.blocks().with_extents(&block.header, data, extents).await.unwrap();
            }
            let payload = Payload::decode(&data).unwrap();
            assert_eq!(payload.len(), block.header.count as usize);
            for entry in payload.entries() {
                records.push((block.header.source.clone(), entry.ordinal, entry.raw.to_owned()));
            }
            *days.entry(block.header.day()).or_default() += block.header.levels;
        }
        records.sort();
        (records, days)
    }

    /// Returns the counters of an app per day.
    pub(super) async fn counted(&self, app_id: &AppId) -> BTreeMap<Day, LevelCounts> {
        let mut days = BTreeMap::<Day, LevelCounts>::new();
        for item in self.scan("stats").await {
            if item.text_opt("pk") == Some(app_id.as_str()) {
                let (day, ..) = parse_sort_key(item.text("sk").unwrap()).unwrap();
                *days.entry(day).or_default() += expiring_from(&item).total().levels;
            }
        }
        days.retain(|_, levels| !levels.is_zero());
        days
    }

    /// Whether anything is counted for a day.
    pub(super) async fn has_counted(&self, app_id: &AppId, day: Day) -> bool {
        self.counted(app_id).await.contains_key(&day)
    }

    /// Returns the bad records of an object.
    pub(super) async fn quarantined(&self, object: &ObjectRef) -> BTreeMap<u64, QuarantineReason> {
        use logferry_core::ledger::files::Files as _;
        let page = self.files().quarantined(object, 1000, None).await.unwrap();
        page.rows.iter().map(|record| (record.ordinal, record.reason)).collect()
    }

    /// Returns the stream event for all stored blocks of an app.
    pub(super) async fn stream_event(&self, app_id: &AppId) -> Value {
        let own = format!("{app_id}#");
        let mut items = self.scan("logs").await;
        items.retain(|item| item.text_opt("pk").is_some_and(|pk| pk.starts_with(&own)));
        items.sort_by_key(|item| [item.text("pk").unwrap().to_owned(), item.text("sk").unwrap().to_owned()]);
        let created_secs = SystemClock.now_ms() / 1000;
        let record = |(number, item): (u64, &Item)| {
            let image: Map<_, _> = item.iter().map(|(name, value)| (name.clone(), to_json(value))).collect();
            let keys = json!({"pk": image["pk"], "sk": image["sk"]});
            let sequence = (100_000_000_000_000_000_000_u128 + u128::from(number)).to_string();
            json!({
                "eventID": sequence, "eventName": "INSERT", "eventVersion": "1.1",
                "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
                "dynamodb": {"ApproximateCreationDateTime": created_secs, "Keys": keys, "NewImage": image,
                             "SequenceNumber": sequence, "StreamViewType": "NEW_IMAGE"},
            })
        };
        json!({"Records": (0..).zip(&items).map(record).collect::<Vec<_>>()})
    }

    /// Returns the ids of an app's records.
    pub(super) async fn ids(&self, app_id: &AppId) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for mut item in self.scan("logs").await {
            let Some((block, extents)) = block_from_item(&mut item).unwrap() else { continue };
            if block.header.app_id == *app_id {
                let data = self.blocks().with_extents(&block.header, block.data, extents).await.unwrap();
                ids.extend(Payload::decode(&data).unwrap().records().map(|record| record.id.to_string()));
            }
        }
        ids
    }

    /// Returns the `logId`s of all events of an app in CloudWatch Logs.
    pub(super) async fn forwarded(&self, app_id: &AppId) -> BTreeSet<String> {
        let group = format!("/own/{}/{app_id}", self.id);
        let read = self.deployed.logs.filter_log_events().log_group_name(group);
        let pages = read.into_paginator().send().collect::<Result<Vec<_>, _>>().await.unwrap();
        let events = pages.iter().flat_map(|page| page.events());
        events.map(|event| log_id(event.message().unwrap())).collect()
    }

    /// Returns the retention of the app's log group in days.
    pub(super) async fn retention_days(&self, app_id: &AppId) -> Option<i32> {
        let group = format!("/own/{}/{app_id}", self.id);
        let found = self.deployed.logs.describe_log_groups().log_group_name_prefix(group).send().await;
        found.unwrap().log_groups().first().and_then(|group| group.retention_in_days)
    }

    pub(super) fn deployed_retention_days(&self) -> i32 {
        self.deployed.environments["flush"]["LOG_RETENTION_DAYS"].parse().unwrap()
    }
}

/// The `logId` of a line. Pieces of a long record name it, too.
pub(super) fn log_id(message: &str) -> String {
    let line: Value = serde_json::from_str(message).unwrap();
    line["logId"].as_str().unwrap().to_owned()
}

/// An attribute as an event of the stream shows it.
fn to_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::B(bytes) => json!({"B": STANDARD.encode(bytes)}),
        AttributeValue::M(map) => {
            let map: Map<_, _> = map.iter().map(|(name, value)| (name.clone(), to_json(value))).collect();
            json!({"M": map})
        }
        other => panic!("no block has such an attribute: {other:?}"),
    }
}
