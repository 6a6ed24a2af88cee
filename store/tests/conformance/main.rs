//! One suite over every database: each check is a plain function of an open, empty store.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod archive;
mod broker;
mod change;
mod children;
mod claim;
mod condition;
mod fault;
mod fixture;
mod handover;
mod host;
mod insert;
mod leader;
mod life;
mod list;
mod list_all;
mod lock;
mod log;
mod operation;
mod operation_faults;
mod operation_fixture;
mod placed;
mod reap;
mod reconcile;
mod retention;
mod schedule;
mod schedule_faults;
mod schedule_fixture;
mod schedules;
mod settle;
mod shard;
mod task_type;
mod twin;
mod twin_faults;
mod worker;
mod workflow;
mod workflow_faults;
mod workflow_fixture;

use asyncflow_store::{
    Store, StoreOptions,
    testing::{SqliteFile, fresh_database, mariadb, postgres},
};

/// Runs each check on each database, as tests of their own.
macro_rules! conformance {
    ($($module:ident :: $check:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let file = super::SqliteFile::new();
                let store = super::open(&file.url()).await;
                super::$module::$check(store.clone()).await;
                super::fixture::check_counts(&store).await;
                store.close().await;
            })*
        }
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let store = super::open(&super::fresh_database(super::mariadb()).await).await;
                super::$module::$check(store.clone()).await;
                super::fixture::check_counts(&store).await;
                store.close().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let store = super::open(&super::fresh_database(super::postgres()).await).await;
                super::$module::$check(store.clone()).await;
                super::fixture::check_counts(&store).await;
                store.close().await;
            })*
        }
    };
}

conformance! {
    archive::pages_hold_everything_of_every_task_once,
    placed::what_a_task_needs_is_kept,
    placed::who_stands_before_a_task_is_told_by_what_is_needed,
    placed::a_claim_sets_aside_what_needs_more_than_a_slot,
    placed::nobody_is_handed_what_needs_more_than_a_slot,
    placed::a_placed_task_is_claimed_as_it_was_read,
    placed::two_who_place_the_same_tasks_share_them,
    archive::the_archive_is_noted_for_the_version_that_was_written,
    archive::a_task_that_came_after_the_archive_keeps_its_shard,
    archive::a_dropped_task_says_where_it_is,
    change::a_tail_sees_every_edge_once,
    change::what_stands_beside_the_row_is_news,
    change::a_hole_is_waited_for_and_then_passed,
    claim::order_is_seniority_then_id,
    claim::a_mark_starts_behind_what_was_claimed,
    claim::a_repeated_acquire_finds_the_same_tasks,
    claim::an_acquire_id_is_served_once,
    claim::large_tasks_are_leased_a_few_at_a_time,
    claim::two_claimers_never_get_the_same_task,
    claim::a_paused_type_gives_nothing,
    claim::old_shards_come_first,
    claim::marks_of_several_shards_hide_and_show,
    handover::ready_tasks_go_to_who_waits_in_their_order,
    handover::what_was_used_before_is_handed_nothing,
    handover::who_begins_at_once_need_not_say_so,
    handover::what_nobody_takes_leaves_room_for_the_rest,
    host::the_last_report_of_the_session_in_force_is_kept,
    host::orders_replace_each_other_and_are_taken_back,
    host::of_two_who_change_an_order_none_undoes_the_other,
    host::an_order_for_a_process_ends_with_it,
    host::a_drained_host_is_cordoned_for_its_next_worker,
    host::who_is_away_is_listed_while_its_host_is_closed,
    host::orders_are_as_old_as_the_silence_of_their_host,
    host::what_attempts_use_is_kept_and_added_up,
    host::usage_of_one_user_is_added_up_by_many,
    insert::a_batch_is_created_in_order,
    insert::a_request_id_makes_one_task,
    insert::a_request_raced_by_many_makes_one_task,
    insert::a_bad_member_does_not_harm_its_neighbours,
    leader::duties_add_up,
    leader::only_one_leads_and_epochs_fence,
    life::a_shard_lives_and_goes,
    life::a_live_or_retained_row_keeps_its_shard,
    life::a_retry_reopens_a_drained_shard,
    life::a_late_insert_is_found_or_goes_elsewhere,
    life::every_step_is_continued_by_the_next_leader,
    life::an_older_leader_changes_nothing,
    life::what_was_half_emptied_does_not_come_back,
    life::a_dropped_shard_is_not_made_again,
    life::what_came_into_a_drop_that_was_only_begun_is_looked_at,
    life::an_old_view_of_a_dropped_shard_costs_no_look,
    life::a_reader_makes_the_drop_give_up,
    list::pages_meet_every_task_once,
    list::filters_are_conjunctions,
    list::a_value_is_never_sql,
    list::counts_are_right_while_they_are_folded,
    list::the_counts_of_many_users_are_folded_to_the_last,
    list_all::every_combination_of_filters_finds_what_matches,
    list_all::what_is_dense_is_walked_in_parts,
    lock::one_holder_at_a_time,
    log::chunks_are_idempotent_and_bounded,
    operation::waiting_tasks_are_cancelled_and_running_ones_told,
    operation::what_did_not_succeed_is_retried_once,
    operation::what_failed_since_it_began_is_not_retried_again,
    operation::deletes_take_all_that_nobody_runs,
    operation::a_purge_leaves_what_is_live,
    operation::only_what_matches_and_was_there_is_changed,
    operation::a_task_that_left_the_chosen_states_is_left_alone,
    operation::a_task_that_lost_the_chosen_labels_is_left_alone,
    operation::a_user_has_a_few_unfinished_operations,
    operation::it_ends_when_it_has_changed_enough,
    operation::parts_of_live_workflows_are_skipped,
    operation::what_a_live_workflow_may_need_is_not_purged,
    operation::matching_tasks_are_counted_before_anything_is_done,
    operation::a_repeated_request_makes_one_operation,
    operation::ended_operations_go_and_others_stay,
    operation_faults::one_at_a_time_takes_an_operation,
    operation_faults::who_gives_it_back_need_not_be_waited_for,
    operation_faults::a_page_is_done_as_a_whole_or_not_at_all,
    operation_faults::a_holder_that_comes_back_late_is_fenced_off,
    operation_faults::a_page_that_was_done_is_not_done_again,
    operation_faults::a_cancelled_operation_changes_nothing_more,
    operation_faults::a_cancel_comes_before_or_after_a_page,
    operation_faults::a_broken_row_is_left_out_and_told,
    operation_faults::two_operations_on_the_same_tasks_get_along,
    reap::only_silent_leases_are_reaped,
    reap::a_lease_of_a_time_to_come_is_reaped,
    reap::a_restarted_worker_gives_back,
    reconcile::drifts_are_found_and_repaired_exactly,
    reconcile::what_was_written_since_the_look_stays_counted,
    reconcile::of_two_who_saw_the_same_drift_one_repairs,
    reconcile::an_older_term_repairs_nothing,
    reconcile::a_shard_that_moved_on_is_not_repaired,
    reconcile::writers_cause_no_drift,
    retention::terminal_tasks_go_with_everything,
    retention::a_leased_task_is_not_deleted,
    schedule::due_tasks_are_promoted,
    schedule_faults::two_governors_fire_each_time_once,
    schedule_faults::who_dies_before_the_commit_leaves_it_to_the_next,
    schedule_faults::what_was_paused_since_the_look_does_not_fire,
    schedule_faults::what_was_paused_since_the_look_cancels_nothing,
    schedule_faults::an_older_term_fires_nothing,
    schedule_faults::a_back_fill_and_the_governor_fire_each_time_once,
    schedule_faults::a_shard_that_was_dropped_meanwhile_is_left_for_the_next,
    schedule_faults::a_schedule_that_cannot_be_read_harms_no_other,
    schedules::what_is_due_is_made_and_moved_on,
    schedules::after_an_outage_the_window_is_made_up_for,
    schedules::a_clock_that_jumps_fires_nothing_twice,
    schedules::a_run_that_lives_has_its_times_skipped,
    schedules::one_time_waits_for_the_end_of_the_run,
    schedules::a_running_one_is_cancelled_for_the_next,
    schedules::a_workflow_is_made_and_waited_for,
    schedules::what_cannot_be_made_is_said_and_the_schedule_stays,
    schedules::a_run_by_hand_is_made_once_for_a_request,
    schedules::the_past_is_filled_exactly_once,
    schedules::schedules_are_created_changed_paused_and_deleted,
    settle::who_is_given_away_takes_its_context_along,
    settle::a_life_is_written_as_the_state_machine_says,
    settle::what_another_process_did_to_a_leased_task_is_seen,
    settle::stale_writes_are_refused_and_replays_known,
    settle::the_history_is_whole_whatever_row_tells_it,
    settle::a_batch_takes_several_events_of_one_task,
    settle::cancel_races_complete_and_one_wins,
    settle::a_big_batch_of_different_changes,
    shard::many_openers_make_one_shard,
    shard::ids_of_other_shards_are_told_apart,
    shard::sizes_are_told_of_every_shard,
    task_type::types_are_ensured_once_and_changed_by_revision,
    twin::a_twin_that_is_done_first_ends_its_original,
    twin::an_original_that_ends_takes_its_twin_along,
    twin::of_two_who_are_done_at_once_one_counts,
    twin::a_batch_with_both_keeps_one_result,
    twin::what_follows_from_a_task_follows_from_its_twin,
    twin::a_twin_ends_what_nobody_runs_but_not_what_its_owner_holds,
    twin::running_and_ended_tasks_tell_what_is_usual,
    twin_faults::a_governor_that_looked_too_long_ago_makes_no_twin,
    twin_faults::a_governor_that_leads_no_more_makes_no_twin,
    twin_faults::an_original_that_comes_while_it_is_overtaken_is_too_late,
    twin_faults::two_governors_make_one_twin,
    twin_faults::a_twin_of_a_run_that_is_over_ends_nothing,
    twin_faults::twins_are_forgotten_with_their_shard,
    broker::who_lives_is_seen_by_its_counter,
    worker::sessions_follow_incarnations,
    workflow::a_retried_part_waits_for_its_signal,
    workflow::results_flow_along_a_chain,
    workflow::a_chord_calls_back_once_with_all_results,
    workflow::a_group_runs_a_few_at_a_time,
    workflow::a_failure_stops_the_rest_and_starts_what_deals_with_it,
    workflow::trouble_within_a_whole_is_that_of_the_whole,
    workflow::a_map_over_a_result_is_reduced,
    workflow::a_long_map_goes_on_where_it_was,
    workflow::items_may_be_workflows_of_their_own,
    workflow::conditions_and_inputs_are_expressions,
    workflow::results_of_many_are_bounded_together,
    workflow::a_cancelled_workflow_starts_nothing_more,
    workflow::a_request_id_makes_one_workflow,
    workflow::a_part_is_not_changed_behind_its_workflow,
    workflow::a_result_is_not_deleted_while_it_may_be_needed,
    workflow::what_an_inner_workflow_made_is_kept_for_the_outer_one,
    workflow::a_retry_goes_on_where_it_failed,
    workflow::at_least_some_are_enough,
    workflow_faults::two_who_end_the_last_members_count_both,
    workflow_faults::what_was_given_up_is_stopped_by_whoever_looks,
    workflow_faults::what_is_too_much_for_one_transaction_is_started_by_others,
    workflow_faults::what_is_retried_meanwhile_keeps_its_parts,
    workflow_faults::workflows_go_with_all_that_belongs_to_them,
    condition::a_task_waits_for_others,
    condition::who_waits_in_vain_fails,
    condition::a_request_with_conditions_makes_one_task,
    condition::signals_are_kept_if_they_come_early,
    condition::who_was_cancelled_while_it_waited_waits_on,
    condition::a_refused_retry_leaves_the_wait,
    condition::many_who_wait_are_all_taken_up,
    condition::a_wait_that_nobody_ended_is_found,
    condition::a_wait_that_is_cancelled_at_once_is_forgotten,
    condition::nobody_waits_for_what_has_come,
    condition::who_waits_in_a_shard_that_comes_back_is_taken_up,
    condition::a_result_must_hold,
    condition::a_result_is_looked_at_without_locks,
    children::a_task_goes_on_when_its_children_are_done,
    children::who_waits_for_children_that_have_ended_fails_unless_that_is_news,
    children::children_end_with_their_parent,
    children::many_children_are_all_told_to_end,
    children::no_parent_waits_for_children_that_are_done,
    children::callbacks_are_made_when_the_task_ends,
}

async fn open(url: &str) -> Store {
    let mut options = StoreOptions::new(url);
    options.max_connections = 8;
    let store = Store::connect(&options).await.unwrap();
    let other = Store::connect(&options).await.unwrap();
    // Two processes that start together both bring the schema up.
    let (one, two) = tokio::join!(store.migrate(), other.migrate());
    one.unwrap();
    two.unwrap();
    other.close().await;
    store
}
