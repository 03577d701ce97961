//! The documents describe exactly the router's routes.

use std::collections::BTreeSet;

use logferry_api::{OPENAPI, ROUTES};
use serde_json::Value;

#[test]
fn the_openapi_document_has_every_route_and_no_other() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let served: BTreeSet<_> =
        ROUTES.iter().map(|(method, path, _)| (method.to_string(), (*path).to_owned())).collect();
    assert_eq!(documented, served);
    let codes = logferry_core::logfile::outcome::ReasonCode::ALL.map(|code| Value::from(code.as_str()));
    assert_eq!(document["components"]["schemas"]["ReasonCode"]["enum"], Value::from(codes.to_vec()));
}

#[test]
fn the_openapi_document_names_every_query_parameter_and_no_other() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    for (method, path, action) in ROUTES {
        let operation = &document["paths"][path][method.as_str().to_lowercase()];
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let named = |place: &str| -> BTreeSet<String> {
            let own = parameters.iter().filter(|parameter| parameter["in"] == place);
            own.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
        };
        if let Some(known) = action.params() {
            // The documents describe context paths in words.
            let known = known.iter().filter(|name| **name != "context.").map(|name| (*name).to_owned());
            assert_eq!(named("query"), known.collect(), "{method} {path}");
        }
        let in_path: BTreeSet<String> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}').map(str::to_owned))
            .collect();
        assert_eq!(named("path"), in_path, "{method} {path}");
    }
}

#[test]
fn the_api_page_has_a_curl_for_every_route() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md")).unwrap();
    for (method, path, _) in ROUTES {
        let heading = format!("### `{method} {path}`");
        let section = page.split(&heading).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
        let section = section.split("\n### ").next().unwrap();
        assert!(section.contains("curl "), "{heading} has no curl");
    }
}
