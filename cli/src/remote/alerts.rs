//! `logferry alerts`: notifications of many matching records.

use std::error::Error;
use std::process::ExitCode;

use reqwest::Method;
use serde_json::{Value, json};

use super::apps::{elements, encoded, print, print_list, text};
use super::files::Common;
use super::matching::{Matching, shown_filter};
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
///
/// Without conditions and without --level and --search, every record counts.
#[derive(Debug, clap::Args)]
struct CreateArgs {
    name: String,
    #[command(flatten)]
    matching: Matching,
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
    /// # Errors
    /// Two conditions are on one path.
    fn body(&self) -> Result<Value, Box<dyn Error>> {
        let notify = self.webhook.as_ref().map_or(json!({"sns": true}), |url| json!({"webhook": url}));
        let mut body = json!({
            "name": self.name, "filter": self.matching.filter()?, "threshold": self.threshold, "window_minutes": self.window,
            "notify": notify,
        });
        if let Some(minutes) = self.quiet {
            body["quiet_minutes"] = minutes.into();
        }
        Ok(body)
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
            let titles = ["ALERT", "STATE", "SINCE", "THRESHOLD", "MINUTES", "NOTIFIED", "FILTER"];
            print_list(common, &elements(&answer), &titles, |alert| {
                let own = |name: &str| text(&alert[name]);
                let last = &alert["history"][0];
                let notified = match last["error"].as_str() {
                    Some(error) => format!("{}: {error}", text(&last["notification"])),
                    None => text(&last["notification"]),
                };
                vec![
                    own("name"),
                    own("state"),
                    own("since"),
                    own("threshold"),
                    own("window_minutes"),
                    notified,
                    shown_filter(&alert["filter"]),
                ]
            })
        }
        Some(Action::Create(create)) => {
            let answer = service.call(Role::App, Method::POST, &path, &[], Some(&create.body()?)).await?;
            print(common, &answer["data"])
        }
        Some(Action::Delete { name, .. }) => {
            let path = format!("{path}/{}", encoded(name));
            let answer = service.call(Role::App, Method::DELETE, &path, &[], None).await?;
            print(common, &answer["data"])
        }
    }
}
