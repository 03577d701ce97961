//! `logferry apps`, `logferry keys` and `logferry health`.

use std::error::Error;
use std::process::ExitCode;

use reqwest::Method;
use serde_json::{Value, json};

use super::files::{Common, all_of};
use super::output::Output;
use super::{Pairs, Role, Service};

/// List, show and register apps.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AppsArgs {
    #[command(subcommand)]
    action: Option<AppsAction>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Subcommand)]
enum AppsAction {
    /// Show an app's settings.
    Show(OneApp),
    /// Register an app and print its key, which is shown this once. Needs the administrator's key.
    Create(CreateApp),
    /// Count an app's records per day and level.
    Stats(StatsArgs),
    /// Show what an app has stored today and this month.
    Usage(OneApp),
    /// Show or change which records are forwarded to CloudWatch Logs. To change it, the key needs the scope
    /// `manage`.
    Flush(FlushArgs),
}

#[derive(Debug, clap::Args)]
struct OneApp {
    /// The app's id. Without it: the app of the key.
    #[arg(value_name = "APP", conflicts_with = "app")]
    app_id: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct FlushArgs {
    /// Forward nothing.
    #[arg(long, conflicts_with_all = ["on", "min_level"])]
    off: bool,
    /// Forward records.
    #[arg(long)]
    on: bool,
    /// Forward records of this level and above: DEBUG, INFO, WARN, ERROR.
    #[arg(long, value_name = "LEVEL")]
    min_level: Option<String>,
    #[command(flatten)]
    of: OneApp,
}

#[derive(Debug, clap::Args)]
struct StatsArgs {
    /// Days, today first.
    #[arg(long, default_value_t = 7, value_name = "N")]
    days: u32,
    #[command(flatten)]
    of: OneApp,
}

#[derive(Debug, clap::Args)]
struct CreateApp {
    /// The app's id: lower-case letters, digits and hyphens.
    app_id: String,
    #[arg(long)]
    name: Option<String>,
    /// Days to keep records.
    #[arg(long, value_name = "DAYS")]
    retention_days: Option<u32>,
    #[command(flatten)]
    common: Common,
}

/// List, create and revoke an app's keys.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    action: Option<KeysAction>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Subcommand)]
enum KeysAction {
    /// Create a key and print it; it is shown this once.
    Create(CreateKey),
    /// Revoke a key.
    Revoke(RevokeKey),
}

#[derive(Debug, clap::Args)]
struct CreateKey {
    /// What the key is for.
    #[arg(long)]
    name: Option<String>,
    /// What the key may do: read, write, manage; several with commas. Without it: write and read.
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', value_parser = ["read", "write", "manage"])]
    scopes: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct RevokeKey {
    key_id: String,
    #[command(flatten)]
    common: Common,
}

/// Show the state and uptime of an app's health checks, or the results of one.
#[derive(Debug, clap::Args)]
pub(crate) struct HealthArgs {
    /// URL or name of a check: its results, newest first.
    check: Option<String>,
    /// The most results.
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N")]
    limit: u32,
    #[command(flatten)]
    common: Common,
}

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Prints an object: a line of JSON, or its members below each other.
pub(super) fn print(common: &Common, object: &Value) -> Result<ExitCode, Box<dyn Error>> {
    let mut output = Output::new(common.format);
    if output.json {
        output.line(&crate::terminal::json_shown(&object.to_string()))?;
    } else {
        let members = object.as_object().into_iter().flatten();
        let rows: Vec<_> = members.map(|(name, value)| vec![name.clone(), text(value)]).collect();
        output.table(&["", ""], &rows)?;
    }
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a list: a line of JSON per element, or a table.
pub(super) fn print_list(
    common: &Common,
    list: &[Value],
    titles: &[&str],
    row: impl Fn(&Value) -> Vec<String>,
) -> Result<ExitCode, Box<dyn Error>> {
    let mut output = Output::new(common.format);
    if output.json {
        for element in list {
            output.line(&crate::terminal::json_shown(&element.to_string()))?;
        }
    } else {
        output.table(titles, &list.iter().map(row).collect::<Vec<_>>())?;
    }
    output.flush()?;
    if list.is_empty() {
        eprintln!("none");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn elements(answer: &Value) -> Vec<Value> {
    answer["data"].as_array().cloned().unwrap_or_default()
}

/// Calls a route of an app, `{id}` standing for it.
async fn of_app(
    of: &OneApp,
    method: Method,
    route: &str,
    pairs: Pairs,
    body: Option<&Value>,
) -> Result<Value, Box<dyn Error>> {
    let service = Service::new(&of.common.remote)?;
    let named = of.app_id.as_deref().or(of.common.app.as_deref());
    let app = service.own_app(Role::App, named).await?;
    service.call(Role::App, method, &route.replace("{id}", &encoded(&app)), &pairs, body).await
}

pub(crate) async fn apps(args: &AppsArgs) -> Result<ExitCode, Box<dyn Error>> {
    let get = async |of, route, pairs| of_app(of, Method::GET, route, pairs, None).await;
    match &args.action {
        None => {
            let service = Service::new(&args.common.remote)?;
            let answer = service.call(Role::Admin, Method::GET, "/v1/apps", &[], None).await?;
            print_list(&args.common, &elements(&answer), &["APP"], |id| vec![text(id)])
        }
        Some(AppsAction::Show(of)) => print(&of.common, &get(of, "/v1/apps/{id}", Vec::new()).await?["data"]),
        Some(AppsAction::Usage(of)) => {
            print(&of.common, &get(of, "/v1/apps/{id}/usage", Vec::new()).await?["data"])
        }
        Some(AppsAction::Stats(StatsArgs { days, of })) => {
            let pairs = vec![("days".to_owned(), days.to_string())];
            let answer = get(of, "/v1/stats/{id}", pairs).await?;
            print_list(&of.common, &elements(&answer), &["DAY", "DEBUG", "INFO", "WARN", "ERROR"], |day| {
                ["date", "debug", "info", "warn", "error"].map(|name| text(&day[name])).to_vec()
            })
        }
        Some(AppsAction::Flush(flush)) => {
            let mut settings = get(&flush.of, "/v1/apps/{id}", Vec::new()).await?["data"]["flush"].take();
            if flush.off || flush.on {
                settings["enabled"] = flush.on.into();
            }
            if let Some(level) = &flush.min_level {
                settings["min_level"] = level.to_ascii_uppercase().into();
            }
            if flush.off || flush.on || flush.min_level.is_some() {
                let body = json!({ "flush": settings });
                let answer =
                    of_app(&flush.of, Method::PATCH, "/v1/apps/{id}", Vec::new(), Some(&body)).await?;
                settings = answer["data"]["flush"].clone();
            }
            print(&flush.of.common, &settings)
        }
        Some(AppsAction::Create(CreateApp { app_id, name, retention_days, common })) => {
            let service = Service::new(&common.remote)?;
            if !service.is_admin(Role::Admin) {
                return Err(
                    "which administrator's key? Set LOGFERRY_ADMIN_KEY, or name it in a profile".into()
                );
            }
            let mut body = json!({"app_id": app_id, "name": name.as_ref().unwrap_or(app_id)});
            if let Some(days) = retention_days {
                body["retention_days"] = (*days).into();
            }
            let answer = service.create(Role::Admin, "/v1/apps", &body).await?;
            print(common, &answer["data"])
        }
    }
}

pub(crate) async fn keys(args: &KeysArgs) -> Result<ExitCode, Box<dyn Error>> {
    let common = match &args.action {
        None => &args.common,
        Some(KeysAction::Create(create)) => &create.common,
        Some(KeysAction::Revoke(revoke)) => &revoke.common,
    };
    let service = Service::new(&common.remote)?;
    let app = service.own_app(Role::App, common.app.as_deref()).await?;
    match &args.action {
        None => {
            let answer = service.call(Role::App, Method::GET, &format!("/v1/apps/{app}"), &[], None).await?;
            let keys = answer["data"]["keys"].as_array().cloned().unwrap_or_default();
            print_list(common, &keys, &["KEY", "NAME", "SCOPES", "CREATED"], |key| {
                let scopes = key["scopes"].as_array().into_iter().flatten();
                let scopes: Vec<_> = scopes.filter_map(Value::as_str).collect();
                vec![text(&key["key_id"]), text(&key["name"]), scopes.join(","), text(&key["created_at"])]
            })
        }
        Some(KeysAction::Create(CreateKey { name, scopes, .. })) => {
            let mut body = json!({});
            if let Some(name) = name {
                body["name"] = name.as_str().into();
            }
            if !scopes.is_empty() {
                body["scopes"] = json!(scopes);
            }
            let answer = service.create(Role::App, &format!("/v1/apps/{app}/keys"), &body).await?;
            print(common, &answer["data"])
        }
        Some(KeysAction::Revoke(RevokeKey { key_id, .. })) => {
            let path = format!("/v1/apps/{app}/keys/{}", encoded(key_id));
            let answer = service.call(Role::App, Method::DELETE, &path, &[], None).await?;
            print(common, &answer["data"])
        }
    }
}

pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

pub(crate) async fn health(args: &HealthArgs) -> Result<ExitCode, Box<dyn Error>> {
    let common = &args.common;
    let service = Service::new(&common.remote)?;
    let app = service.own_app(Role::App, common.app.as_deref()).await?;
    if let Some(check) = &args.check {
        let pairs = vec![("url".to_owned(), check.clone())];
        let path = format!("/v1/health/{app}");
        let rows = all_of(&service, Role::App, &path, &pairs, usize::try_from(args.limit)?).await?;
        let rows: Vec<Value> = rows.iter().filter_map(|row| serde_json::from_str(row.get()).ok()).collect();
        return print_list(common, &rows, &["CHECKED", "OK", "STATUS", "MS", "ERROR"], |row| {
            ["checked_at", "ok", "status", "latency_ms", "error"].map(|name| text(&row[name])).to_vec()
        });
    }
    let answer = service.call(Role::App, Method::GET, &format!("/v1/health/{app}/uptime"), &[], None).await?;
    let titles = ["CHECK", "STATE", "SINCE", "24H", "7D", "30D"];
    print_list(common, &elements(&answer), &titles, |check| {
        let uptime = |window: &str| {
            let of = check["uptime"].as_array().into_iter().flatten();
            let found = of.into_iter().find(|uptime| uptime["window"] == window);
            found
                .and_then(|uptime| uptime["uptime"].as_f64())
                .map_or("-".to_owned(), |part| format!("{:.2} %", part * 100.0))
        };
        let name = check["name"].as_str().or_else(|| check["url"].as_str()).unwrap_or_default();
        vec![
            name.to_owned(),
            text(&check["state"]),
            text(&check["since"]),
            uptime("24h"),
            uptime("7d"),
            uptime("30d"),
        ]
    })
}
