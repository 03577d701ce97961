//! Rules about the code itself that the compiler does not check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn rust_files(dir: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(dir)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(!files.is_empty(), "no Rust files under {dir}");
    files
}

fn offenders(dirs: &[&str], forbidden: &[&str]) -> Vec<String> {
    let files = dirs.iter().flat_map(|dir| rust_files(dir));
    files
        .flat_map(|(path, text)| {
            let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let code = code.join("\n");
            forbidden
                .iter()
                .filter(|word| code.contains(**word))
                .map(|word| format!("{}: {word}", path.display()))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn only_the_aws_crate_names_the_sdk() {
    let dirs = [
        "functions",
        "shared/batch-buffer",
        "shared/core",
        "shared/health",
        "shared/presigner",
        "shared/service",
        "shared/sim",
        "shared/upload-client",
        "cli/src",
    ];
    assert_eq!(offenders(&dirs, &["aws_sdk_"]), [""; 0]);
}

#[test]
fn the_libraries_for_others_know_nothing_of_logferry_or_aws() {
    for name in ["batch-buffer", "upload-client"] {
        let manifest = std::fs::read_to_string(root().join(format!("shared/{name}/Cargo.toml"))).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap();
        let own: Vec<_> = dependencies
            .lines()
            .filter(|line| line.starts_with("logferry-") || line.starts_with("aws"))
            .collect();
        assert_eq!(own, [""; 0], "{name}");
    }
}

#[test]
fn the_model_and_the_way_of_a_log_file_have_no_async_no_clock_and_no_environment() {
    let forbidden =
        ["async fn", ".await", "SystemTime::now", "Timestamp::now", "Instant::now", "std::env", "tokio::"];
    assert_eq!(offenders(&["shared/core/src/model", "shared/core/src/logfile"], &forbidden), [""; 0]);
}

#[test]
fn core_knows_no_environment_and_no_clock() {
    let forbidden = ["SystemTime::now", "Timestamp::now", "std::env"];
    assert_eq!(offenders(&["shared/core/src"], &forbidden), [""; 0]);
}

#[test]
fn functions_name_the_adapters_only_in_main() {
    let names = ["presign", "ingest", "flush", "api", "rpc", "health", "sweep"];
    let sources = names.map(|name| format!("functions/{name}/src"));
    let files = sources.iter().flat_map(|source| rust_files(source));
    let naming: Vec<_> = files
        .filter(|(path, code)| !path.ends_with("main.rs") && code.contains("logferry_aws"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(naming, Vec::<PathBuf>::new());
}

#[test]
fn functions_never_depend_on_functions() {
    let names = ["presign", "ingest", "flush", "api", "rpc", "health", "sweep"];
    for name in names {
        let manifest = std::fs::read_to_string(root().join(format!("functions/{name}/Cargo.toml"))).unwrap();
        for other in names.iter().filter(|other| **other != name) {
            assert!(!manifest.contains(&format!("logferry-{other} ")), "{name} depends on {other}");
        }
    }
}

/// A name shared by several crates is ambiguous. `Config` is an exception: each function has its own.
#[test]
fn no_public_type_name_is_used_twice_in_the_shared_crates() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let crates = ["core", "health", "service", "aws"].map(|name| format!("shared/{name}/src"));
    for (path, code) in crates.iter().flat_map(|source| rust_files(source)) {
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines() {
            let mut words = line.split_whitespace();
            let is_type = words.next() == Some("pub")
                && words.next().is_some_and(|kind| ["struct", "enum", "trait", "type"].contains(&kind));
            let name = words.next().and_then(|name| name.split(|c: char| !c.is_alphanumeric()).next());
            if let Some(name) = name.filter(|name| is_type && !name.is_empty() && *name != "Config") {
                places.entry(name.to_owned()).or_default().push(path.display().to_string());
            }
        }
    }
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}

#[test]
fn each_main_is_wiring_only() {
    for name in ["presign", "ingest", "flush", "api", "rpc", "health", "sweep"] {
        let path = root().join(format!("functions/{name}/src/main.rs"));
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("use ")).count();
        assert!(lines <= 55, "functions/{name}/src/main.rs has {lines} lines: its story belongs in lib.rs");
    }
}

#[test]
fn the_operations_page_lists_the_metrics_of_the_catalogue_and_no_others() {
    let page = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let section = page.split("## Metrics").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let catalogue: Vec<_> = logferry_service::metrics::CATALOGUE
        .iter()
        .map(|metric| format!("| `{}` | {} | {} |", metric.name, metric.unit.as_str(), metric.meaning))
        .collect();
    assert_eq!(listed, catalogue);
}

#[test]
fn the_template_and_the_code_have_the_same_default_retention() {
    let of_template = logferry_tests::template::default_of("RetentionDaysDefault");
    assert_eq!(of_template, logferry_core::model::app::DEFAULT_RETENTION_DAYS.to_string());
}

#[test]
fn secrets_are_compared_in_constant_time() {
    for file in ["shared/service/src/api_key.rs", "functions/presign/src/sender.rs"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let comparisons: Vec<_> = code
            .lines()
            .filter(|line| line.contains(" == ") || line.contains(" != "))
            .filter(|line| !line.contains("version_id"))
            .filter(|line| {
                ["secret", "hash", "token", "digest", "shown"].iter().any(|word| line.contains(word))
            })
            .collect();
        assert_eq!(comparisons, [""; 0], "{file}");
        assert!(code.contains(".ct_eq("), "{file} compares nothing in constant time");
    }
}

/// `tests/planted/planted.py` plants them; this test only checks that it still can.
#[test]
fn every_planted_bug_fits_the_tree_and_names_a_test_that_is_there() {
    let bugs = std::fs::read_to_string(root().join("tests/planted/bugs.json")).unwrap();
    let bugs: Vec<serde_json::Value> = serde_json::from_str(&bugs).unwrap();
    assert!(bugs.len() >= 12);
    let tests: Vec<_> = ["functions", "shared", "tests"].into_iter().flat_map(rust_files).collect();
    for bug in &bugs {
        let text = |field: &str| bug[field].as_str().unwrap_or_default();
        let name = text("name");
        let places: Vec<_> = rust_files(text("in"))
            .into_iter()
            .filter_map(|(path, code)| {
                let rest = code.split_once(text("after")).map(|(_, rest)| rest.to_owned())?;
                let times = rest.matches(text("find")).count();
                assert!(
                    times <= 1 || bug.get("after").is_some(),
                    "{name}: {times} times in {}",
                    path.display()
                );
                (times > 0).then_some(path)
            })
            .collect();
        assert_eq!(places.len(), 1, "{name}: it would go into {places:?}");
        let declared = format!("fn {}(", text("found_by"));
        let found = tests.iter().any(|(_, code)| code.contains(&declared));
        assert!(found, "{name}: no test {}", text("found_by"));
    }
}
