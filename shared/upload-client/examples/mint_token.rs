//! What your server does for the browser clients: it mints short-lived tokens with the API key, which no browser gets
//! to see. `web/examples/tokens.mjs` is the same for Node.js.
//!
//! ```sh
//! export LOGFERRY_URL=https://abc123.execute-api.eu-central-1.amazonaws.com LOGFERRY_APP=shop LOGFERRY_API_KEY=…
//! cargo run --package logferry-upload-client --example mint_token join meeting-123 attendee-456
//! cargo run --package logferry-upload-client --example mint_token upload user-7
//! ```

use std::error::Error;
use std::io::Write;

use serde_json::{Value, json};

/// A part of your server's state.
struct Tokens {
    http: reqwest::Client,
    url: String,
    app: String,
    key: String,
}

impl Tokens {
    /// For `createLogger`: what the browser logs is of this meeting and attendee.
    async fn join(&self, meeting: &str, attendee: &str) -> Result<String, Box<dyn Error>> {
        self.mint("join-tokens", json!({"meetingId": meeting, "attendeeId": attendee, "ttl_secs": 900})).await
    }

    /// For `createUploads`: what the browser uploads is of this subject, such as your user's id.
    async fn upload(&self, subject: &str) -> Result<String, Box<dyn Error>> {
        self.mint("upload-tokens", json!({"sub": subject, "ttl_secs": 900})).await
    }

    async fn mint(&self, kind: &str, body: Value) -> Result<String, Box<dyn Error>> {
        let url = format!("{}/v1/apps/{}/{kind}", self.url, self.app);
        let request = self.http.post(url).header("X-API-Key", &self.key).json(&body);
        let answer: Value = request.send().await?.error_for_status()?.json().await?;
        Ok(answer["data"]["token"].as_str().ok_or("the answer has no token")?.to_owned())
    }
}

/// Stands for the handlers of your web framework, which know the user from the session.
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Where the process has a provider already, that one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tokens = Tokens {
        http: reqwest::Client::builder().build()?,
        url: std::env::var("LOGFERRY_URL")?,
        app: std::env::var("LOGFERRY_APP")?,
        key: std::env::var("LOGFERRY_API_KEY")?,
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let token = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["join", meeting, attendee] => tokens.join(meeting, attendee).await?,
        ["upload", subject] => tokens.upload(subject).await?,
        _ => return Err("usage: mint_token join MEETING ATTENDEE | upload SUBJECT".into()),
    };
    writeln!(std::io::stdout(), "{token}")?;
    Ok(())
}
