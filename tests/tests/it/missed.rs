//! Sweep's look for objects whose event was lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use logferry_domain::fault::Fault;
use logferry_ports::Listing;
use logferry_ports::bucket::{ListPage, ListPosition};
use logferry_sweep::missed::{Missed, PAGES_OF_DAYS};
use logferry_tests::ingest::BUCKET;
use logferry_tests::sim::SimCloud;

/// Folders of a day that were listed.
#[derive(Debug, Clone)]
struct Listed(SimCloud, Arc<Mutex<Vec<String>>>);

impl Listing for Listed {
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&ListPosition>,
    ) -> Result<ListPage, Fault> {
        if prefix.ends_with('/') && prefix.split('/').count() == 6 {
            self.1.lock().unwrap().push(prefix.to_owned());
        }
        self.0.list(bucket, prefix, after).await
    }
}

#[tokio::test(start_paused = true)]
async fn apps_have_their_turn_however_many_there_are() {
    let cloud = SimCloud::default();
    for n in 0..13 {
        cloud.add_app(&format!("app-{n:02}"));
    }
    let listing = Listed(cloud.clone(), Arc::default());
    let missed = Missed {
        bucket: BUCKET.to_owned(),
        bookmarks: cloud.clone(),
        listing: listing.clone(),
        ledger: cloud.clone(),
        apps: cloud.clone(),
        starter: cloud.clone(),
        clock: cloud.clock(),
    };
    let mut folders = BTreeSet::new();
    for run in 1..=3 {
        missed.run().await.unwrap();
        let listed = std::mem::take(&mut *listing.1.lock().unwrap());
        assert_eq!(listed.len(), PAGES_OF_DAYS as usize, "run {run}");
        folders.extend(listed);
    }
    assert_eq!(folders.len(), 13 * 2, "two days of each app: {folders:?}");
}
