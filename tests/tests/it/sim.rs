//! The simulated cloud keeps the same contract as the adapters.

use logferry_core::ledger::bucket::{ListPage, ListPosition, Listing};
use logferry_core::model::fault::Fault;
use logferry_core::model::object::ObjectRef;
use logferry_sim::contract::{
    alerts, apps, arrivals, backlog, blocks, bucket, counts, files, ledger, records, sessions, usage,
};
use logferry_sim::{SimCloud, UNVERSIONED};

macro_rules! keeps {
    ($module:ident; $($promise:ident,)*) => {
        $(#[tokio::test]
        async fn $promise() {
            $module::$promise(&SimCloud::default()).await;
        })*
    };
}

keeps! { blocks;
    blocks_come_back_newest_first_and_only_those_of_the_range,
    a_block_larger_than_an_item_comes_back_whole,
}

keeps! { ledger;
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
    quarantined_records_can_be_written_again,
}

keeps! { apps;
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
    let cloud = SimCloud::default();
    apps::a_key_is_shown_where_its_id_was_unknown(&cloud, &cloud).await;
}

keeps! { records;
    a_write_is_stored_and_counted,
    a_memo_lets_one_write_pass,
    writes_at_once_are_all_counted,
    removals_are_counted_once,
    an_erasure_changes_a_block_as_it_was_read,
    headers_come_in_pages_and_blocks_with_extents_go_whole,
}

keeps! { sessions;
    a_session_is_found_by_its_app_alone_and_ends_once,
    open_sessions_stay_within_their_limits,
    an_apps_sessions_are_listed_in_pages,
    overdue_sessions_are_returned_in_pages,
    requests_are_counted_by_the_minute,
}

keeps! { alerts;
    a_block_counts_once_per_rule,
    blocks_counted_at_once_count_once,
    a_window_keeps_the_samples_of_several_blocks,
    a_change_is_made_whole_and_once,
    a_notification_is_claimed_by_one_sender,
    an_alert_is_active_until_it_is_settled,
}

keeps! { arrivals;
    a_number_is_given_to_one_row,
    one_of_many_writers_gets_a_number,
    rows_are_read_in_both_directions,
}

keeps! { usage;
    usage_adds_up_per_app_registration_and_day,
    a_quota_is_met_exactly_and_not_exceeded,
    charges_at_once_stay_within_the_quota,
}

#[tokio::test]
async fn files_are_listed_newest_first() {
    let cloud = SimCloud::default();
    files::files_are_listed_newest_first(&cloud, &cloud).await;
}

#[tokio::test]
async fn a_key_has_its_objects_and_their_bad_records() {
    let cloud = SimCloud::default();
    files::a_key_has_its_objects_and_their_bad_records(&cloud, &cloud).await;
}

#[tokio::test]
async fn a_list_by_key_depends_on_its_owners_files_alone() {
    let cloud = SimCloud::default();
    files::a_list_by_key_depends_on_its_owners_files_alone(&cloud, &cloud).await;
}

#[tokio::test]
async fn failed_files_are_found() {
    let cloud = SimCloud::default();
    files::failed_files_are_found(&cloud, &cloud).await;
}

#[tokio::test]
async fn keys_of_any_legal_length_are_claimed_and_listed() {
    let cloud = SimCloud::default();
    files::keys_of_any_legal_length_are_claimed_and_listed(&cloud, &cloud).await;
}

#[tokio::test]
async fn a_file_is_started_over_once() {
    let cloud = SimCloud::default();
    files::a_file_is_started_over_once(&cloud, &cloud).await;
}

#[tokio::test]
async fn what_is_hidden_is_not_counted_any_more() {
    let cloud = SimCloud::default();
    counts::what_is_hidden_is_not_counted_any_more(&cloud, &cloud).await;
}

#[tokio::test]
async fn a_removal_takes_from_the_file_too() {
    let cloud = SimCloud::default();
    counts::a_removal_takes_from_the_file_too(&cloud, &cloud, &cloud).await;
}

#[tokio::test]
async fn counts_stand_apart_by_their_expiry() {
    counts::counts_stand_apart_by_their_expiry(&SimCloud::default()).await;
}

#[tokio::test]
async fn a_files_counts_move_with_their_expiry() {
    let cloud = SimCloud::default();
    counts::a_files_counts_move_with_their_expiry(&cloud, &cloud, &cloud).await;
}

#[tokio::test]
async fn an_app_of_the_same_id_counts_from_nothing() {
    let cloud = SimCloud::default();
    counts::an_app_of_the_same_id_counts_from_nothing(&cloud, &cloud, &cloud).await;
}

#[tokio::test]
async fn a_removal_spares_what_took_the_place() {
    let cloud = SimCloud::default();
    counts::a_removal_spares_what_took_the_place(&cloud, &cloud).await;
}

/// The simulated bucket without versions.
struct Unversioned(SimCloud);

impl Listing for Unversioned {
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&ListPosition>,
    ) -> Result<ListPage, Fault> {
        self.0.list(bucket, prefix, after).await
    }
}

impl bucket::Upload for Unversioned {
    fn bucket(&self) -> &str {
        UNVERSIONED
    }

    async fn upload(&self, key: &str) -> ObjectRef {
        self.0.put_object(UNVERSIONED, key, "x")
    }
}

#[tokio::test]
async fn objects_without_a_version_are_listed_from_any_place() {
    bucket::objects_without_a_version_are_listed_from_any_place(&Unversioned(SimCloud::default())).await;
}

#[tokio::test]
async fn grants_and_files_are_due_in_queues_of_their_own() {
    let cloud = SimCloud::default();
    backlog::grants_and_files_are_due_in_queues_of_their_own(&cloud, &cloud).await;
}

#[tokio::test]
async fn objects_without_a_row_are_returned() {
    let cloud = SimCloud::default();
    backlog::objects_without_a_row_are_returned(&cloud, &cloud).await;
}

keeps! { bucket;
    a_days_objects_are_listed_in_order_and_from_any_place,
    a_bookmark_stays_where_it_was_put,
}
