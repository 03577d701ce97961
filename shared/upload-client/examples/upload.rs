//! Uploads a file in parts. After an interruption, the same command resumes.
//!
//! `API_URL=http://… LOGFERRY_API_KEY=… cargo run --example upload -- FILE`
#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::error::Error;

use logferry_upload_client::{Client, Credential, Event, Upload};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: upload FILE")?;
    let key = std::env::var("LOGFERRY_API_KEY")?;
    let client = Client::new(&std::env::var("API_URL")?, Credential::ApiKey(key))?;
    // The folder keeps what a resumed upload needs: upload id, part size, the file's size and time of change.
    let upload = Upload::new(client, file, std::env::temp_dir().join("logferry-uploads")).on_event(|event| {
        if let Event::Progress { bytes } = event {
            println!("{bytes} bytes are uploaded");
        }
    });
    let uploaded = upload.run().await?;
    println!("{} is at {}", uploaded.key, uploaded.location);
    Ok(())
}
