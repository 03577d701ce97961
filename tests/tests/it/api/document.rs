//! The documents say what the routers do, and nothing else.

use std::path::Path;

use http::Method;
use logferry_api::OPENAPI;
use logferry_aws::apps::DynamoApps;
use logferry_aws::chime::ChimeMeetings;
use logferry_aws::ledger::DynamoLedger;
use logferry_aws::multipart::S3Multipart;
use logferry_aws::secrets::SecretsManager;
use logferry_aws::sessions::DynamoSessions;
use logferry_core::logfile::outcome::ReasonCode;
use logferry_presign::World;
use logferry_service::http::Document;
use logferry_tests::api::{Api, Sim, routes};
use serde_json::{Value, json};

use super::{NONE, is_foreign, path_of};

struct Aws;

impl World for Aws {
    type Apps = DynamoApps;
    type Grants = DynamoLedger;
    type Secrets = SecretsManager;
    type Attendees = ChimeMeetings;
    type Sessions = DynamoSessions;
    type Multipart = S3Multipart;
}

#[test]
fn the_served_document_is_what_the_routes_of_all_functions_say() {
    let presign = logferry_presign::routes::<Aws, _>(Document::default());
    let said = logferry_api::document_of::<Sim>(presign);
    let said = serde_json::to_string_pretty(&said).unwrap() + "\n";
    if said != OPENAPI {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../functions/api/openapi.json");
        std::fs::write(Path::new(path), said).unwrap();
        panic!("functions/api/openapi.json was out of date; the test has written it: review and commit it");
    }
}

#[test]
fn the_document_names_what_programs_need() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "servers") {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{method} {path}");
        }
    }
    let codes = ReasonCode::ALL.map(|code| Value::from(code.as_str()));
    assert_eq!(document["components"]["schemas"]["ReasonCode"]["enum"], json!(codes));
    // Every reference leads somewhere.
    for reference in OPENAPI.split("\"$ref\": \"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[tokio::test]
async fn a_route_takes_the_query_parameters_that_the_document_names_and_no_other() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let api = Api::new();
    let key = api.register("shop").await;
    for (method, pattern, scope) in routes() {
        let operation = &document["paths"][pattern][method.as_str().to_lowercase()];
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let named = |place: &str| -> Vec<String> {
            let own = parameters.iter().filter(|parameter| parameter["in"] == place);
            own.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
        };
        let in_path: Vec<String> = pattern
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}').map(str::to_owned))
            .collect();
        let mut said = named("path");
        said.sort_by_key(|name| in_path.iter().position(|known| known == name));
        assert_eq!(said, in_path, "{method} {pattern}");
        // To open routes and those of other protocols, browsers, proxies and clients add parameters of their own.
        if scope.is_none() || is_foreign(pattern) || pattern.contains("/badges/") || method == Method::DELETE
        {
            continue;
        }
        let path = path_of(pattern, "shop");
        let is_required = |parameter: &&Value| parameter["in"] == "query" && parameter["required"] == true;
        let required = parameters.iter().filter(is_required);
        let required: String = required.map(|one| format!("{}=1&", one["name"].as_str().unwrap())).collect();
        let refusal = async |name: &str| {
            let query = if required.contains(&format!("{name}=")) { "" } else { required.as_str() };
            let path = format!("{path}?{query}{name}=1");
            let answer = api.app(&key, method.as_str(), &path, &NONE).await;
            answer.text.contains("is not a parameter of this request")
        };
        for name in named("query") {
            assert!(!refusal(&name).await, "{method} {pattern} does not take {name}");
        }
        assert!(refusal("unheard-of").await, "{method} {pattern}");
    }
}

#[test]
fn the_api_page_has_a_curl_for_every_route() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md")).unwrap();
    for (method, path, _) in routes() {
        let heading = format!("### `{method} {path}`");
        let section = page.split(&heading).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
        let section = section.split("\n### ").next().unwrap();
        assert!(section.contains("curl "), "{heading} has no curl");
    }
}
