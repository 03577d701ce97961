//! `logferry alerts`: notifications of many matching records.

use std::error::Error;
use std::process::ExitCode;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::apps::{elements, encoded, print, print_list, text};
use super::condition::parameter;
use super::files::Common;
use super::{Role, Service};

/// List, create and delete alerts on an app's own records.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AlertsArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Create(CreateArgs),
    /// Delete an alert and its history.
    Delete {
        name: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Create an alert: it notifies when a window of time has --threshold matching records.
#[derive(Debug, clap::Args)]
struct CreateArgs {
    name: String,
    /// Conditions, as of query: res.statusCode>=500, err.type~card. Without any, and without the options, every record
    /// counts.
    #[arg(value_name = "CONDITION", value_parser = parameter)]
    conditions: Vec<(String, String)>,
    /// Levels, such as WARN,ERROR.
    #[arg(long, short)]
    level: Option<String>,
    /// A part of the message, in any case.
    #[arg(long, short, value_name = "TEXT")]
    search: Option<String>,
    /// Records of a window.
    #[arg(long, value_name = "N")]
    threshold: u32,
    /// Minutes of a window.
    #[arg(long, default_value_t = 5, value_name = "MINUTES")]
    window: u32,
    /// Minutes without such records after which the alert is resolved. Without it: those of a window.
    #[arg(long, value_name = "MINUTES")]
    quiet: Option<u32>,
    /// URL that gets a POST. Without it, the deployment's SNS topic is notified.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl CreateArgs {
    fn body(&self) -> Value {
        let options = [("level", &self.level), ("search", &self.search)];
        let options = options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        let filter: Map<String, Value> = self
            .conditions
            .iter()
            .cloned()
            .chain(options)
            .map(|(name, value)| (name, Value::String(value)))
            .collect();
        let notify = self.webhook.as_ref().map_or(json!({"sns": true}), |url| json!({"webhook": url}));
        let mut body = json!({
            "name": self.name, "filter": filter, "threshold": self.threshold, "window_minutes": self.window,
            "notify": notify,
        });
        if let Some(minutes) = self.quiet {
            body["quiet_minutes"] = minutes.into();
        }
        body
    }
}

pub(crate) async fn run(args: &AlertsArgs) -> Result<ExitCode, Box<dyn Error>> {
    let common = match &args.action {
        None => &args.common,
        Some(Action::Create(create)) => &create.common,
        Some(Action::Delete { common, .. }) => common,
    };
    let service = Service::new(&common.remote)?;
    let app = service.own_app(Role::App, common.app.as_deref()).await?;
    let path = format!("/v1/apps/{app}/alerts");
    match &args.action {
        None => {
            let answer = service.call(Role::App, Method::GET, &path, &[], None).await?;
            let titles = ["ALERT", "STATE", "SINCE", "RECORDS", "MINUTES", "FILTER"];
            print_list(common, &elements(&answer), &titles, |alert| {
                ["name", "state", "since", "threshold", "window_minutes", "filter"]
                    .map(|name| text(&alert[name]))
                    .to_vec()
            })
        }
        Some(Action::Create(create)) => {
            let answer = service.call(Role::App, Method::POST, &path, &[], Some(&create.body())).await?;
            print(common, &answer["data"])
        }
        Some(Action::Delete { name, .. }) => {
            let path = format!("{path}/{}", encoded(name));
            let answer = service.call(Role::App, Method::DELETE, &path, &[], None).await?;
            print(common, &answer["data"])
        }
    }
}
