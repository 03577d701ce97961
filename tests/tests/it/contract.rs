//! The adapters on the local stack keep the ports' contract.

use std::collections::{BTreeMap, BTreeSet};

use logferry_aws::alerts::DynamoAlerts;
use logferry_aws::apps::DynamoApps;
use logferry_aws::arrivals::DynamoArrivals;
use logferry_aws::backlog::DynamoBacklog;
use logferry_aws::blocks::DynamoBlocks;
use logferry_aws::bookmarks::DynamoBookmarks;
use logferry_aws::files::DynamoFiles;
use logferry_aws::item::{Get, s};
use logferry_aws::ledger::DynamoLedger;
use logferry_aws::listing::S3Listing;
use logferry_aws::records::DynamoRecords;
use logferry_aws::sessions::DynamoSessions;
use logferry_aws::usage::DynamoUsage;
use logferry_core::ledger::bucket::{ListPage, ListPosition, Listing};
use logferry_core::ledger::checkpoint::Checkpoint;
use logferry_core::ledger::claim::{Claim, Claimed, EndedBy, Finished, Lease, Ledger};
use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::{FileRow, Grant, StoredSoFar};
use logferry_core::logbook::counter_keys::parse_sort_key;
use logferry_core::logbook::records::Records;
use logferry_core::logfile::outcome::Outcome;
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::model::app::AppId;
use logferry_core::model::fault::Fault;
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::object::{ObjectRef, ObjectVersion};
use logferry_core::model::time::Day;
use logferry_sim::contract::ledger::CountedDays;
use logferry_sim::contract::{
    alerts, apps, arrivals, backlog, blocks, bucket, counts, files, ledger, records, sessions, usage,
};
use logferry_tests::stack::Stack;

fn table() -> Option<DynamoBlocks> {
    let stack = Stack::running()?;
    Some(DynamoBlocks::new(stack.aws.dynamodb(), stack.value("TABLE_LOGS")))
}

/// The adapter, and the counters that it changes.
struct Real {
    stack: Stack,
    ledger: DynamoLedger,
}

fn real() -> Option<Real> {
    let stack = Stack::running()?;
    let ledger =
        DynamoLedger::new(stack.aws.dynamodb(), stack.value("TABLE_FILES"), stack.value("TABLE_STATS"));
    Some(Real { stack, ledger })
}

impl CountedDays for Real {
    async fn counted(&self, app_id: &AppId, registered_ms: i64) -> BTreeMap<Day, i64> {
        let query = self.stack.aws.dynamodb().query().table_name(self.stack.value("TABLE_STATS"));
        let query = query.key_condition_expression("pk = :pk").consistent_read(true);
        let query = query.expression_attribute_values(":pk", s(app_id.as_str()));
        let items = query.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.unwrap();
        let mut days = BTreeMap::new();
        for item in items {
            let (day, epoch, _) = parse_sort_key(item.text("sk").unwrap()).unwrap();
            assert_eq!(epoch, registered_ms);
            // The contract's files all have the same retention: one set of attributes.
            *days.entry(day).or_default() += item.number::<i64>("i40000").unwrap();
            assert_eq!(item.number::<i64>("expires_at").unwrap(), 40_000 * 86_400);
        }
        days
    }
}

impl Grants for Real {
    async fn grant(&self, grant: &Grant) -> Result<(), Fault> {
        self.ledger.grant(grant).await
    }

    async fn find_grant(&self, bucket: &str, key: &str) -> Result<Option<Grant>, Fault> {
        self.ledger.find_grant(bucket, key).await
    }

    async fn find_waiting(&self, bucket: &str, key: &str) -> Result<Option<FileRow>, Fault> {
        self.ledger.find_waiting(bucket, key).await
    }

    async fn find(&self, object: &ObjectRef) -> Result<Option<FileRow>, Fault> {
        self.ledger.find(object).await
    }
}

impl Ledger for Real {
    async fn claim(&self, claim: &Claim) -> Result<Claimed, Fault> {
        self.ledger.claim(claim).await
    }

    async fn quarantine(&self, lease: &Lease, records: &[Quarantined]) -> Result<(), Fault> {
        self.ledger.quarantine(lease, records).await
    }

    async fn release(
        &self,
        lease: &Lease,
        at: Checkpoint,
        by: EndedBy,
        due_at_ms: i64,
        now_ms: i64,
    ) -> Result<(), Fault> {
        self.ledger.release(lease, at, by, due_at_ms, now_ms).await
    }

    async fn stored_so_far(&self, object: &ObjectRef) -> Result<StoredSoFar, Fault> {
        self.ledger.stored_so_far(object).await
    }

    async fn note_hours(&self, lease: &Lease, hours: &BTreeSet<i64>, expires_on: Day) -> Result<(), Fault> {
        self.ledger.note_hours(lease, hours, expires_on).await
    }

    async fn restart(&self, lease: &Lease, packing: &PackFingerprint, now_ms: i64) -> Result<(), Fault> {
        self.ledger.restart(lease, packing, now_ms).await
    }

    async fn finish(&self, lease: &Lease, outcome: &Outcome, now_ms: i64) -> Result<Finished, Fault> {
        self.ledger.finish(lease, outcome, now_ms).await
    }
}

fn real_apps() -> Option<DynamoApps> {
    let stack = Stack::running()?;
    Some(DynamoApps::new(stack.aws.dynamodb(), stack.value("TABLE_APPS")))
}

fn book() -> Option<DynamoRecords> {
    let stack = Stack::running()?;
    Some(
        DynamoRecords::new(stack.aws.dynamodb(), stack.value("TABLE_LOGS"), stack.value("TABLE_STATS"))
            .with_files(stack.value("TABLE_FILES")),
    )
}

macro_rules! keeps {
    ($module:ident on $subject:expr; $($promise:ident,)*) => {
        $(#[tokio::test]
        async fn $promise() {
            let Some(subject) = $subject else { return };
            $module::$promise(&subject).await;
        })*
    };
}

keeps! { blocks on table();
    blocks_come_back_newest_first_and_only_those_of_the_range,
    a_block_larger_than_an_item_comes_back_whole,
}

keeps! { ledger on real();
    one_of_many_claims_wins_and_an_expired_lease_can_be_taken_over,
    a_claim_repeated_by_its_owner_is_the_same_claim,
    a_worker_without_its_lease_can_change_nothing,
    a_released_file_is_resumed_when_due,
    attempts_are_counted_from_where_a_run_got_further,
    what_is_kept_of_an_object_is_known,
    an_end_is_counted_once_and_stays,
    a_file_of_very_many_days_is_counted_once,
    ends_at_once_are_all_counted,
    a_key_is_granted_once_and_its_grant_outlives_the_claim,
    a_grant_remembers_the_first_of_many_objects_that_come_at_once,
    a_run_that_was_ended_from_outside_is_no_attempt,
    quarantined_records_can_be_written_again,
}

keeps! { apps on real_apps();
    an_app_is_registered_once_and_found,
    settings_change_one_by_one,
    keys_come_and_go_and_are_never_too_many,
    a_deleted_app_leaves_a_job,
    a_watermark_only_rises_and_its_job_has_one_holder,
    a_prune_keeps_the_bound_of_the_unfinished_one,
    of_prunes_at_once_the_largest_bound_holds,
    an_erasure_has_one_holder_and_is_kept_when_complete,
}

#[tokio::test]
async fn a_key_is_shown_where_its_id_was_unknown() {
    let (Some(first), Some(second)) = (real_apps(), real_apps()) else { return };
    apps::a_key_is_shown_where_its_id_was_unknown(&first, &second).await;
}

keeps! { records on book();
    a_write_is_stored_and_counted,
    a_memo_lets_one_write_pass,
    writes_at_once_are_all_counted,
    removals_are_counted_once,
    an_erasure_changes_a_block_as_it_was_read,
    headers_come_in_pages_and_blocks_with_extents_go_whole,
}

fn real_sessions() -> Option<DynamoSessions> {
    let stack = Stack::running()?;
    Some(DynamoSessions::new(stack.aws.dynamodb(), stack.value("TABLE_UPLOADS")))
}

keeps! { sessions on real_sessions();
    a_session_is_found_by_its_app_alone_and_ends_once,
    open_sessions_stay_within_their_limits,
    an_apps_sessions_are_listed_in_pages,
    overdue_sessions_are_returned_in_pages,
    requests_are_counted_by_the_minute,
}

fn real_alerts() -> Option<DynamoAlerts> {
    let stack = Stack::running()?;
    Some(DynamoAlerts::new(stack.aws.dynamodb(), stack.value("TABLE_CHECKS")))
}

keeps! { alerts on real_alerts();
    a_block_counts_once_per_rule,
    blocks_counted_at_once_count_once,
    a_window_keeps_the_samples_of_several_blocks,
    a_change_is_made_whole_and_once,
    a_notification_is_claimed_by_one_sender,
    an_alert_is_active_until_it_is_settled,
}

fn real_arrivals() -> Option<DynamoArrivals> {
    let stack = Stack::running()?;
    Some(DynamoArrivals::new(stack.aws.dynamodb(), stack.value("TABLE_FILES")))
}

keeps! { arrivals on real_arrivals();
    a_number_is_given_to_one_row,
    one_of_many_writers_gets_a_number,
    rows_are_read_in_both_directions,
}

fn real_usage() -> Option<DynamoUsage> {
    let stack = Stack::running()?;
    Some(DynamoUsage::new(stack.aws.dynamodb(), stack.value("TABLE_STATS")))
}

keeps! { usage on real_usage();
    usage_adds_up_per_app_registration_and_day,
    a_quota_is_met_exactly_and_not_exceeded,
    charges_at_once_stay_within_the_quota,
}

fn real_files() -> Option<(DynamoLedger, DynamoFiles)> {
    let stack = Stack::running()?;
    let (client, table) = (stack.aws.dynamodb(), stack.value("TABLE_FILES"));
    Some((
        DynamoLedger::new(client.clone(), table, stack.value("TABLE_STATS")),
        DynamoFiles::new(client, table),
    ))
}

#[tokio::test]
async fn files_are_listed_newest_first() {
    let Some((ledger, real)) = real_files() else { return };
    files::files_are_listed_newest_first(&ledger, &real).await;
}

#[tokio::test]
async fn a_key_has_its_objects_and_their_bad_records() {
    let Some((ledger, real)) = real_files() else { return };
    files::a_key_has_its_objects_and_their_bad_records(&ledger, &real).await;
}

#[tokio::test]
async fn a_list_by_key_depends_on_its_owners_files_alone() {
    let Some((ledger, real)) = real_files() else { return };
    files::a_list_by_key_depends_on_its_owners_files_alone(&ledger, &real).await;
}

#[tokio::test]
async fn failed_files_are_found() {
    let Some((ledger, real)) = real_files() else { return };
    files::failed_files_are_found(&ledger, &real).await;
}

#[tokio::test]
async fn keys_of_any_legal_length_are_claimed_and_listed() {
    let Some((ledger, real)) = real_files() else { return };
    files::keys_of_any_legal_length_are_claimed_and_listed(&ledger, &real).await;
}

#[tokio::test]
async fn a_file_is_started_over_once() {
    let Some((ledger, real)) = real_files() else { return };
    files::a_file_is_started_over_once(&ledger, &real).await;
}

#[tokio::test]
async fn what_is_hidden_is_not_counted_any_more() {
    let (Some((ledger, _)), Some(book)) = (real_files(), book()) else { return };
    counts::what_is_hidden_is_not_counted_any_more(&ledger, &book).await;
}

#[tokio::test]
async fn a_removal_takes_from_the_file_too() {
    let Some((ledger, files)) = real_files() else { return };
    let Some(book) = book() else { return };
    counts::a_removal_takes_from_the_file_too(&ledger, &files, &book).await;
}

#[tokio::test]
async fn counts_stand_apart_by_their_expiry() {
    let Some(book) = book() else { return };
    counts::counts_stand_apart_by_their_expiry(&book).await;
}

#[tokio::test]
async fn a_files_counts_move_with_their_expiry() {
    let Some((ledger, files)) = real_files() else { return };
    let Some(book) = book() else { return };
    counts::a_files_counts_move_with_their_expiry(&ledger, &files, &book).await;
}

#[tokio::test]
async fn a_counters_row_lives_as_long_as_what_it_counts() {
    let (Some(stack), Some(book)) = (Stack::running(), book()) else { return };
    let app_id: AppId = format!("x{}", ulid::Ulid::generate().to_string().to_lowercase()).parse().unwrap();
    let lives = async || {
        let query = stack.aws.dynamodb().query().table_name(stack.value("TABLE_STATS"));
        let query = query.key_condition_expression("pk = :pk").consistent_read(true);
        let answer = query.expression_attribute_values(":pk", s(app_id.as_str())).send().await.unwrap();
        let items = answer.items.unwrap();
        assert_eq!(items.len(), 1);
        items[0].number::<i64>("expires_at").unwrap()
    };
    for (name, expires_at, lives_until) in [
        ("a", 3_999_974_400, 3_999_974_400),
        ("b", 3_999_801_600, 3_999_974_400),
        ("c", 4_000_060_800, 4_000_060_800),
        ("d", 3_999_974_400, 4_000_060_800),
    ] {
        book.write(&records::one_that_expires(&app_id, name, expires_at)).await.unwrap();
        assert_eq!(lives().await, lives_until, "{name}");
    }
}

#[tokio::test]
async fn an_app_of_the_same_id_counts_from_nothing() {
    let Some((ledger, files)) = real_files() else { return };
    let Some(book) = book() else { return };
    counts::an_app_of_the_same_id_counts_from_nothing(&ledger, &files, &book).await;
}

#[tokio::test]
async fn a_removal_spares_what_took_the_place() {
    let (Some((ledger, _)), Some(book)) = (real_files(), book()) else { return };
    counts::a_removal_spares_what_took_the_place(&ledger, &book).await;
}

/// The bucket, for putting and listing objects.
struct Bucket {
    stack: Stack,
    listing: S3Listing,
    name: String,
}

fn real_bucket() -> Option<Bucket> {
    let stack = Stack::running()?;
    Some(Bucket { listing: S3Listing::new(stack.aws.s3()), name: stack.value("BUCKET").to_owned(), stack })
}

impl Listing for Bucket {
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&ListPosition>,
    ) -> Result<ListPage, Fault> {
        self.listing.list(bucket, prefix, after).await
    }
}

impl bucket::Upload for Bucket {
    fn bucket(&self) -> &str {
        &self.name
    }

    async fn upload(&self, key: &str) -> ObjectRef {
        let bucket = self.name.clone();
        let put = self.stack.aws.s3().put_object().bucket(&bucket).key(key);
        let put = put.body(b"x".to_vec().into()).send().await.unwrap();
        let etag = || put.e_tag.as_deref().unwrap().trim_matches('"').to_owned();
        let version = put.version_id.clone().map_or_else(|| ObjectVersion::ETag(etag()), ObjectVersion::Id);
        ObjectRef { bucket, key: key.to_owned(), version }
    }
}

#[tokio::test]
async fn objects_without_a_version_are_listed_from_any_place() {
    let name = format!("contract-{}", ulid::Ulid::generate().to_string().to_lowercase());
    let Some(bucket) = real_bucket() else { return };
    let unversioned = Bucket { name: name.clone(), ..bucket };
    unversioned.stack.aws.s3().create_bucket().bucket(&name).send().await.unwrap();
    bucket::objects_without_a_version_are_listed_from_any_place(&unversioned).await;
}

fn real_backlog() -> Option<(DynamoLedger, DynamoBacklog)> {
    let stack = Stack::running()?;
    let (client, table) = (stack.aws.dynamodb(), stack.value("TABLE_FILES"));
    Some((
        DynamoLedger::new(client.clone(), table, stack.value("TABLE_STATS")),
        DynamoBacklog::new(client, table),
    ))
}

#[tokio::test]
async fn grants_and_files_are_due_in_queues_of_their_own() {
    let Some((ledger, real)) = real_backlog() else { return };
    backlog::grants_and_files_are_due_in_queues_of_their_own(&ledger, &real).await;
}

#[tokio::test]
async fn objects_without_a_row_are_returned() {
    let Some((ledger, real)) = real_backlog() else { return };
    backlog::objects_without_a_row_are_returned(&ledger, &real).await;
}

fn real_bookmarks() -> Option<DynamoBookmarks> {
    let stack = Stack::running()?;
    Some(DynamoBookmarks::new(stack.aws.dynamodb(), stack.value("TABLE_FILES")))
}

keeps! { bucket on real_bucket();
    a_days_objects_are_listed_in_order_and_from_any_place,
}

keeps! { bucket on real_bookmarks();
    a_bookmark_stays_where_it_was_put,
}
