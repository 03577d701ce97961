//! The health function's own binary, and the API's, with separate tables in the local stack: a run of the
//! function covers all apps, so each test has its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logferry_aws::apps::DynamoApps;
use logferry_core::model::time::rfc3339_ms;
use logferry_core::ports::app_admin::{AppAdmin as _, AppChange};
use logferry_health_checks::guard::forms::FORMS;
use logferry_tests::function::Function;
use logferry_tests::stack::{Stack, encode, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::health::Inbox;

/// Five minutes, the schedule's default.
const SLOT_MS: i64 = 300_000;
/// The function's own time-out.
const PLENTY: Duration = Duration::from_secs(270);

/// Both functions with two tables of their own, and an app.
struct World {
    stack: Stack,
    health: Function,
    api: Function,
    tables: [String; 2],
    app_id: String,
    api_key: String,
    /// The slot before the first one that is run: the current one.
    slot_ms: i64,
}

impl World {
    async fn new(changes: &[(&str, &str)]) -> Option<World> {
        let stack = Stack::running()?;
        let id = ulid::Ulid::generate().to_string().to_lowercase();
        let tables = ["apps", "checks"].map(|kind| format!("own-{kind}-{id}"));
        for table in &tables {
            create_table(&stack, table).await;
        }
        let mut all = vec![("TABLE_APPS", tables[0].as_str()), ("TABLE_CHECKS", tables[1].as_str())];
        all.extend_from_slice(changes);
        let health = Function::start(&stack, "health", &all).await;
        let api = Function::start(&stack, "api", &all).await;
        let now_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        let slot_ms = now_ms / SLOT_MS * SLOT_MS;
        let app_id = format!("own-{id}");
        let mut world = World { stack, health, api, tables, app_id, api_key: String::new(), slot_ms };
        let admin = world.stack.value("ADMIN_KEY").to_owned();
        let body = json!({"app_id": world.app_id, "name": "own"});
        let made = world.call("POST", "/apps", ("x-admin-key", &admin), &body).await;
        assert_eq!(made.0, 201, "{}", made.1);
        world.api_key = made.1["data"]["api_key"].as_str().unwrap().to_owned();
        Some(world)
    }

    /// Sends a request as API Gateway does. Returns status and body.
    async fn call(&mut self, method: &str, path: &str, key: (&str, &str), body: &Value) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut headers = serde_json::Map::new();
        headers.insert(key.0.to_owned(), key.1.into());
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": headers,
            "requestContext": {
                "accountId": "000000000000", "apiId": "own", "domainName": "own", "domainPrefix": "own",
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.10", "userAgent": "test"},
                "requestId": "r", "routeKey": "$default", "stage": "$default",
                "time": "01/Mar/2024:12:00:00 +0000", "timeEpoch": 1_709_294_400_000_i64,
            },
            "body": if body.is_null() { Value::Null } else { body.to_string().into() }, "isBase64Encoded": false,
        });
        let answer = self.api.invoke(&event, Duration::from_secs(29)).await.unwrap();
        let status = answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap();
        let text = answer["body"].as_str().unwrap_or_default();
        (status, serde_json::from_str(text).unwrap_or_else(|_| text.into()))
    }

    async fn app(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let key = self.api_key.clone();
        self.call(method, path, ("x-api-key", &key), body).await
    }

    /// Returns the `data` of a successful response of an app route.
    async fn data(&mut self, path: &str) -> Value {
        let (status, mut answer) = self.app("GET", path, &Value::Null).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer["data"].take()
    }

    async fn set(&mut self, urls: Value) {
        let path = format!("/apps/{}/health-urls", self.app_id);
        let (status, answer) = self.app("POST", &path, &json!({"urls": urls})).await;
        assert_eq!(status, 200, "{answer}");
    }

    fn nth(&self, slot: i64) -> i64 {
        self.slot_ms + slot * SLOT_MS
    }

    /// Sends the schedule's event for the nth slot from now on, some time into it.
    async fn fire(&mut self, slot: i64, budget: Duration) {
        let event = json!({
            "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602", "detail-type": "Scheduled Event",
            "source": "aws.events", "account": "000000000000", "time": rfc3339_ms(self.nth(slot) + 17_000),
            "region": "us-east-1", "resources": [], "detail": {},
        });
        self.health.invoke(&event, budget).await.unwrap();
    }

    /// The rows of the nth slot, by URL.
    async fn rows(&mut self, slot: i64) -> BTreeMap<String, Value> {
        let path = format!("/health/{}?limit=1000", self.app_id);
        let (rows, slot) = (self.data(&path).await, rfc3339_ms(self.nth(slot)));
        let of_slot = rows.as_array().unwrap().iter().filter(|row| row["slot"] == slot);
        of_slot.map(|row| (row["url"].as_str().unwrap().to_owned(), row.clone())).collect()
    }

    async fn end(self) {
        for table in &self.tables {
            let deleted = self.stack.aws.dynamodb().delete_table().table_name(table).send().await;
            deleted.unwrap();
        }
    }
}

async fn create_table(stack: &Stack, name: &str) {
    let attribute = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    let body = json!({
        "TableName": name, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [attribute("pk"), attribute("sk")], "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
    });
    let scope = "Credential=test/20260101/us-east-1/dynamodb/aws4_request";
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http
        .post(stack.value("AWS_ENDPOINT_URL"))
        .header("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=x"))
        .header("x-amz-target", "DynamoDB_20120810.CreateTable")
        .header("content-type", "application/x-amz-json-1.0")
        .body(body.to_string());
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

/// A server on loopback with a function from a request's head to a response; `None` never answers.
struct Server {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    most_at_once: Arc<Mutex<(usize, usize)>>,
}

impl Server {
    async fn new(
        answer: impl Fn(&str) -> Option<(&'static str, Duration)> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            heads: Arc::default(),
            most_at_once: Arc::default(),
        };
        let (heads, open, answer) =
            (Arc::clone(&server.heads), Arc::clone(&server.most_at_once), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (heads, open, answer) = (Arc::clone(&heads), Arc::clone(&open), Arc::clone(&answer));
                tokio::spawn(async move {
                    {
                        let mut open = open.lock().unwrap();
                        open.0 += 1;
                        open.1 = open.1.max(open.0);
                    }
                    let request = read_request(&mut stream).await;
                    heads.lock().unwrap().push(request.clone());
                    match answer(&request) {
                        Some((status, pause)) => {
                            tokio::time::sleep(pause).await;
                            let text =
                                format!("HTTP/1.1 {status}\r\nContent-Length: 11\r\n\r\n{{\"up\":true}}");
                            let _ = stream.write_all(text.as_bytes()).await;
                        }
                        // until the other side closes
                        None => while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {},
                    }
                    open.lock().unwrap().0 -= 1;
                });
            }
        });
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Reads a request's head and its body, if any.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0_usize) {
                return text;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(read @ 1..) => bytes.extend_from_slice(&buffer[..read]),
            _ => return text,
        }
    }
}

const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test]
async fn two_hundred_urls_some_slow_and_some_hanging_are_recorded_in_one_run() {
    let Some(mut world) = World::new(&[]).await else { return };
    let server = Server::new(|head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        match path.split('/').nth(1) {
            Some("hang") => None,
            Some("slow") => Some(("200 OK", Duration::from_millis(300))),
            _ => Some(("200 OK", AT_ONCE)),
        }
    })
    .await;
    let check = |n: usize| match n % 10 {
        0 => json!({"url": server.url(&format!("/hang/{n}")), "timeout_ms": 500}),
        1 | 2 => json!(server.url(&format!("/slow/{n}"))),
        _ => json!(server.url(&format!("/{n}"))),
    };
    world.set((0..200).map(check).collect()).await;
    world.fire(1, PLENTY).await;
    let rows = world.rows(1).await;
    assert_eq!(rows.len(), 200);
    for (url, row) in &rows {
        let error = row["error"].as_str().unwrap_or_default();
        let hangs = url.contains("/hang/");
        assert_eq!((row["ok"] == true, error.starts_with("time-out: ")), (!hangs, hangs), "{row}");
        assert_eq!(row.get("skipped"), None);
        assert!(!url.contains("/slow/") || row["latency_ms"].as_i64() >= Some(300), "{row}");
    }
    let most = server.most_at_once.lock().unwrap().1;
    assert!(most <= 50, "{most}");
    // The same event again finds nothing to do.
    let asked = server.heads().len();
    world.fire(1, PLENTY).await;
    assert_eq!((server.heads().len(), world.rows(1).await), (asked, rows));
    world.end().await;
}

#[tokio::test]
async fn what_one_run_has_no_time_for_is_recorded_as_skipped_and_comes_first_in_the_next() {
    let Some(mut world) = World::new(&[]).await else { return };
    let server = Server::new(|_| None).await;
    let check = |n: usize| json!({"url": server.url(&format!("/{n}")), "timeout_ms": 4000});
    world.set((0..100).map(check).collect()).await;
    // 8 s of this are reserved for the end, and 6 s must be left to start a probe: the first fifty start in
    // the remaining 3 s, and take longer than that.
    let short = Duration::from_secs(8 + 6 + 3);
    let mut probed = Vec::new();
    for slot in [1, 2] {
        world.fire(slot, short).await;
        let rows = world.rows(slot).await;
        assert_eq!(rows.len(), 100);
        let (skipped, done): (Vec<_>, Vec<_>) = rows.values().partition(|row| row["skipped"] == true);
        assert_eq!((skipped.len(), done.len()), (50, 50), "slot {slot}");
        assert!(
            skipped
                .iter()
                .all(|row| row["status"] == 0 && row["error"] == "skipped: the run had no time left for it")
        );
        probed.push(done.iter().map(|row| row["url"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>());
    }
    assert!(probed[0].is_disjoint(&probed[1]), "what was skipped comes first");
    // Skipped slots count neither as up nor as down.
    let uptime = world.data(&format!("/health/{}/uptime", world.app_id)).await;
    assert!(uptime.as_array().unwrap().iter().all(|check| check["state"] == "unknown"));
    world.end().await;
}

#[tokio::test]
async fn every_setting_of_a_check_does_what_it_says() {
    let Some(mut world) = World::new(&[]).await else { return };
    let inbox = Inbox::subscribed(&world.stack).await;
    let up = Arc::new(Mutex::new(true));
    let switch = Arc::clone(&up);
    let server = Server::new(move |head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        match path {
            "/hang" => None,
            "/no-head" if head.starts_with("HEAD ") => Some(("405 Method Not Allowed", AT_ONCE)),
            "/created" => Some(("201 Created", AT_ONCE)),
            "/switch" | "/switch/eager" | "/switch/patient" | "/switch/named" if !*switch.lock().unwrap() => {
                Some(("503 Service Unavailable", AT_ONCE))
            }
            _ => Some(("200 OK", AT_ONCE)),
        }
    })
    .await;
    let url = |path: &str| server.url(path);
    world.set(json!([
        url("/plain"),
        url("/no-head"),
        {"url": url("/post"), "method": "post", "headers": {"X-Probe": "yes", "Authorization": "Bearer t"}, "body": "{\"n\":1}",
         "conditions": ["[BODY].up == true", "[STATUS] < 300", "[RESPONSE_TIME] < 10s", "[CONNECTED] == true"]},
        {"url": url("/put"), "method": "PUT"},
        {"url": url("/hang"), "timeout_ms": 300},
        {"url": url("/created"), "conditions": ["[STATUS] == 200", "len([BODY]) > 100", "[BODY].up == pat(tr*)"]},
        {"url": url("/rare"), "interval": "15m"},
        url("/switch"),
        {"url": url("/switch/eager"), "failure_threshold": 1, "success_threshold": 1},
        {"url": url("/switch/patient"), "failure_threshold": 3, "success_threshold": 3},
        {"url": url("/switch/named"), "name": "Shop"},
    ]))
    .await;

    // flaps, is down for three slots, flaps while it is down, and recovers
    let results = "++-+-+---+-+++";
    for (slot, result) in (1..).zip(results.chars()) {
        *up.lock().unwrap() = result == '+';
        world.fire(slot, PLENTY).await;
    }
    let rows = world.rows(1).await;
    let row = |path: &str| &rows[&url(path)];
    assert_eq!((&row("/plain")["status"], &row("/plain")["ok"]), (&json!(200), &json!(true)));
    assert_eq!((&row("/no-head")["status"], &row("/no-head")["ok"]), (&json!(200), &json!(true)));
    assert_eq!((&row("/post")["ok"], &row("/put")["ok"]), (&json!(true), &json!(true)));
    assert_eq!(row("/hang")["error"], "time-out: no answer within 300 ms, while waiting for the answer");
    assert_eq!(
        row("/created")["failed_conditions"],
        json!(["[STATUS] (201) == 200", "len([BODY]) (11) > 100"])
    );
    assert_eq!(row("/switch/named")["name"], "Shop");
    let heads = server.heads();
    let asked = |path: &str| {
        let of_path = heads.iter().filter(move |head| head.split(' ').nth(1) == Some(path));
        of_path.map(|head| head.split(' ').next().unwrap_or_default()).collect::<Vec<_>>()
    };
    let slots = results.len();
    assert_eq!(asked("/plain"), vec!["HEAD"; slots]);
    assert_eq!(asked("/no-head"), ["HEAD", "GET"].repeat(slots));
    assert_eq!((asked("/post"), asked("/put")), (vec!["POST"; slots], vec!["PUT"; slots]));
    let post = heads.iter().find(|head| head.starts_with("POST /post ")).unwrap();
    assert!(
        post.contains("\r\nx-probe: yes\r\n") && post.contains("\r\nauthorization: Bearer t\r\n"),
        "{post}"
    );
    assert!(post.ends_with("\r\n\r\n{\"n\":1}"), "{post}");
    // fourteen slots of five minutes touch five or six quarters of an hour
    assert!([5, 6].contains(&asked("/rare").len()), "{:?}", asked("/rare"));

    // Exactly the changes that the thresholds define, none for the flaps.
    let slot = |n: usize| rfc3339_ms(world.nth(i64::try_from(n).unwrap()));
    let expected = [
        ("/switch", vec![(8, "down"), (13, "up")]),
        (
            "/switch/eager",
            vec![
                (3, "down"),
                (4, "up"),
                (5, "down"),
                (6, "up"),
                (7, "down"),
                (10, "up"),
                (11, "down"),
                (12, "up"),
            ],
        ),
        ("/switch/patient", vec![(9, "down"), (14, "up")]),
        ("/switch/named", vec![(8, "down"), (13, "up")]),
        ("/hang", vec![(2, "down")]),
        ("/created", vec![(2, "down")]),
    ];
    let count: usize = expected.iter().map(|(_, changes)| changes.len()).sum();
    let notified = until("all messages", async || {
        let notified = inbox.about(&world.app_id).await;
        (notified.len() >= count).then_some(notified)
    })
    .await;
    assert_eq!(notified.len(), count, "{notified:#?}");
    for (path, changes) in expected {
        let found: Vec<_> = notified
            .iter()
            .filter(|message| message["url"] == url(path))
            .map(|message| (message["at"].as_str().unwrap().to_owned(), message["to"].as_str().unwrap()))
            .collect();
        let changes: Vec<_> = changes.into_iter().map(|(n, to)| (slot(n), to)).collect();
        assert_eq!(found, changes, "{path}");
    }
    let created = notified.iter().find(|message| message["url"] == url("/created")).unwrap();
    assert_eq!(created["failed_conditions"], json!(["[STATUS] (201) == 200", "len([BODY]) (11) > 100"]));
    assert_eq!(created["last_results"].as_array().unwrap().len(), 2);
    let named = notified.iter().find(|message| message["url"] == url("/switch/named")).unwrap();
    assert_eq!((&named["name"], &named["last_results"][0]["status"]), (&json!("Shop"), &json!(503)));
    world.end().await;
}

#[tokio::test]
async fn a_job_whose_heartbeat_is_late_goes_down_and_is_notified() {
    let Some(mut world) = World::new(&[]).await else { return };
    let inbox = Inbox::subscribed(&world.stack).await;
    let job =
        |name: &str| json!({"name": name, "heartbeat": "5m", "failure_threshold": 1, "success_threshold": 1});
    world.set(json!([job("backup"), job("broken"), job("silent")])).await;
    let push = |name: &str| format!("/health/{}/{name}/push", world.app_id);
    let (backup, broken, other) = (push("backup"), push("broken"), push("other"));
    assert_eq!(world.app("POST", &backup, &Value::Null).await.0, 200);
    let report = json!({"ok": false, "error": "disk full", "duration_ms": 7});
    assert_eq!(world.app("POST", &broken, &report).await.0, 200);
    assert_eq!(world.app("POST", &other, &Value::Null).await.0, 404);
    let states = async |world: &mut World| {
        let checks = world.data(&format!("/health/{}/uptime", world.app_id)).await;
        let checks = checks.as_array().cloned().unwrap();
        checks.iter().map(|check| check["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    world.fire(1, PLENTY).await;
    assert_eq!(states(&mut world).await, ["up", "down", "unknown"]);
    world.fire(2, PLENTY).await;
    world.fire(3, PLENTY).await;
    assert_eq!(states(&mut world).await, ["down", "down", "down"]);
    let notified = until("three messages", async || {
        let notified = inbox.about(&world.app_id).await;
        (notified.len() >= 3).then_some(notified)
    })
    .await;
    let notified: BTreeMap<_, _> =
        notified.iter().map(|message| (message["name"].as_str().unwrap(), &message["error"])).collect();
    let late = json!("heartbeat: no report for 5m");
    assert_eq!(
        notified,
        BTreeMap::from([("backup", &late), ("broken", &json!("disk full")), ("silent", &late)])
    );
    world.end().await;
}

#[tokio::test]
async fn without_the_parameter_no_form_of_a_private_target_is_registered_or_reached() {
    let private = Server::new(|_| Some(("200 OK", AT_ONCE))).await;
    let port = private.address.port().to_string();
    let ports = format!("80,443,{port}");
    let Some(mut world) =
        World::new(&[("ALLOW_PRIVATE_HEALTH_TARGETS", "false"), ("HEALTH_PORTS", &ports)]).await
    else {
        return;
    };
    let path = format!("/apps/{}/health-urls", world.app_id);
    let forms: BTreeSet<String> = FORMS.iter().map(|(form, _)| form.replace("{p}", &port)).collect();
    for form in &forms {
        let (status, answer) = world.app("POST", &path, &json!({"urls": [form]})).await;
        let error = &answer["error"];
        assert_eq!((status, &error["details"]["field"]), (400, &json!("urls[0]")), "{form}: {answer}");
        assert!(error["message"].as_str().unwrap().len() > 20, "{form}: {answer}");
    }
    // and as if each had been stored before the parameter was reset
    let apps = DynamoApps::new(world.stack.aws.dynamodb(), world.tables[0].as_str());
    let app =
        logferry_core::ports::apps::Apps::find(&apps, &world.app_id.parse().unwrap()).await.unwrap().unwrap();
    let change = AppChange { health_checks: Some(json!(forms)), ..AppChange::default() };
    apps.change(&app.app_id, app.registered_ms, &change).await.unwrap().unwrap();
    world.fire(1, PLENTY).await;
    let rows = world.rows(1).await;
    assert_eq!(rows.len(), forms.len());
    for row in rows.values() {
        let error = row["error"].as_str().unwrap();
        assert!(row["status"] == 0 && row["ok"] == false && error.starts_with("refused: "), "{row}");
    }
    assert_eq!(private.heads(), [""; 0]);
    world.end().await;
}

#[tokio::test]
async fn metrics_are_as_detailed_as_the_environment_says() {
    let server = Server::new(|_| Some(("200 OK", AT_ONCE))).await;
    for (detail, of_apps, of_urls) in [("url", 1, 2), ("app", 1, 0), ("off", 0, 0)] {
        let Some(mut world) = World::new(&[("HEALTH_METRICS", detail)]).await else { return };
        world.set(json!([server.url("/a?token=secret"), server.url("/b")])).await;
        world.fire(1, PLENTY).await;
        let found = until("the run's last line", async || {
            let lines = world.health.printed();
            lines.iter().any(|line| line.contains("slot finished")).then_some(lines)
        })
        .await;
        assert!(!found.iter().any(|line| line.contains("secret")), "{found:#?}");
        let of_url = found.iter().filter(|line| line.contains("\"Url\":")).count();
        let of_app = found.iter().filter(|line| line.contains("\"ChecksSkipped\":")).count();
        assert_eq!((of_app, of_url), (of_apps, of_urls), "{detail}: {found:#?}");
        let url =
            format!("/health/{}/response-times?window=1h&url={}", world.app_id, encode(&server.url("/b")));
        assert_eq!(world.data(&url).await["window"], "1h");
        world.end().await;
    }
}
