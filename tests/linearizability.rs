//! Histories of the store, recorded from real threads, could have come from an atomic store; and the
//! checker that says so is not easily pleased.
//!
//! `CLOAKROOM_LINEAR_OPS` sets how many operations are recorded; `ci/linearizability` runs more.

mod linear;

use std::time::Duration;

use cloakroom::{ManualClock, OnLimit, SessionId, SessionStore};

use linear::check::{Effect, Needs, Op, check, overlapping};
use linear::desk::{CountThenCreate, Desk, LIMIT, ListThenDestroy, desk};
use linear::record::{Report, run};
use linear::subject::{self, DestroyForAll, LoadThenSave, RotateInTwoSteps, SaveInserts, Subject};
use linear::visits;
use linear::worker::named;

/// Operations if the environment does not say: a few seconds in a debug build.
const DEFAULT_OPERATIONS: u64 = 300_000;

/// The idle timeout where there is one, in nanoseconds: a minute.
const IDLE: u64 = 60_000_000_000;

/// A planted fault must be found within this many operations.
const PATIENCE: u64 = 200_000;

/// A history with fewer overlapping operations than this proves nothing about races, in percent.
const LEAST_OVERLAP: f64 = 5.0;

/// Each operation that can turn out in a way, with that way. All must have been recorded.
const OUTCOMES: [(&str, &str); 21] = [
    ("contains", "done"),
    ("contains", "gone"),
    ("create", "done"),
    ("create", "taken"),
    ("destroy", "done"),
    ("destroy", "gone"),
    ("load", "done"),
    ("load", "gone"),
    ("peek", "done"),
    ("peek", "gone"),
    ("rotate", "done"),
    ("rotate", "gone"),
    ("save", "done"),
    ("save", "gone"),
    ("touch", "done"),
    ("touch", "gone"),
    ("try_save", "conflict"),
    ("try_save", "done"),
    ("try_save", "gone"),
    ("update", "done"),
    ("update", "gone"),
];

/// Half of the operations asked for: there are two histories.
fn operations() -> u64 {
    let asked = std::env::var("CLOAKROOM_LINEAR_OPS").ok();
    let asked = asked.map(|text| text.parse().expect("CLOAKROOM_LINEAR_OPS is a number"));
    asked.unwrap_or(DEFAULT_OPERATIONS).div_ceil(2)
}

fn accept(name: &str, result: Result<Report, String>) {
    let report = result.unwrap_or_else(|reason| panic!("{name}: {reason}"));
    let overlap = report.overlap_percent();
    println!("{name}: {} operations, {overlap:.1} % overlapping", report.operations);
    let seen: Vec<_> = report.outcomes.keys().copied().collect();
    assert_eq!(seen, OUTCOMES, "{name}: {:?}", report.outcomes);
    assert!(overlap >= LEAST_OVERLAP, "{name}: only {overlap:.1} % of the operations overlap");
    assert_eq!(report.leaked, 0, "{name}: sessions are left that no id leads to");
}

#[test]
fn histories_of_sessions_that_never_expire_are_linearizable() {
    let clock = ManualClock::new();
    let store = subject::store(&clock, None);
    accept("no expiry", run(store, clock, None, operations()));
}

#[test]
fn histories_of_sessions_that_expire_are_linearizable() {
    let clock = ManualClock::new();
    let store = subject::store(&clock, Some(IDLE));
    accept("idle timeout", run(store, clock, Some(IDLE), operations()));
}

/// Each operation on a subject's sessions, with the ways in which it can turn out. At a limit that makes room
/// the two that end with "limit" do not occur.
const SUBJECTS_OUTCOMES: [&str; 14] = [
    "create",
    "create a guest",
    "create: limit",
    "destroy",
    "destroy: gone",
    "list",
    "revoke all",
    "revoke others",
    "rotate",
    "rotate: gone",
    "sign in",
    "sign in: gone",
    "sign in: limit",
    "sign out",
];

fn accept_subjects(name: &str, then: OnLimit) {
    // Fewer operations: some say something of each session.
    let result = visits::run(desk(Some(then)), LIMIT as u64, operations().div_ceil(10));
    let report = result.unwrap_or_else(|reason| panic!("{name}: {reason}"));
    let overlap = 100.0 * report.overlapping as f64 / report.operations as f64;
    println!("{name}: {} operations, {overlap:.1} % overlapping", report.operations);
    let mut missing = SUBJECTS_OUTCOMES.to_vec();
    missing.retain(|outcome| !report.outcomes.contains_key(outcome));
    missing.retain(|outcome| then == OnLimit::Reject || !outcome.ends_with("limit"));
    assert_eq!(missing, [""; 0], "{name}: {:?}", report.outcomes);
    assert!(overlap >= LEAST_OVERLAP, "{name}: only {overlap:.1} % of the operations overlap");
    assert_eq!(report.leaked, 0, "{name}: sessions are left that no list leads to");
}

#[test]
fn histories_of_a_subject_at_a_limit_that_rejects_have_an_order() {
    accept_subjects("reject", OnLimit::Reject);
}

#[test]
fn histories_of_a_subject_at_a_limit_that_makes_room_have_an_order() {
    accept_subjects("revoke the oldest", OnLimit::RevokeOldest);
}

fn is_refused_for_subjects(planted: impl Desk) {
    let reason = visits::run(planted, LIMIT as u64, PATIENCE).err();
    let reason = reason.expect("the planted fault is found");
    assert!(reason.starts_with("no order of these operations is possible"), "{reason}");
}

#[test]
fn limit_that_is_counted_before_the_session_is_created_is_refused() {
    is_refused_for_subjects(CountThenCreate(desk(None)));
}

#[test]
fn revocation_of_what_was_listed_is_refused() {
    is_refused_for_subjects(ListThenDestroy(desk(Some(OnLimit::Reject))));
}

#[test]
fn update_that_has_to_run_again_has_not_touched_the_session_yet() {
    let clock = ManualClock::new();
    let idle = Duration::from_secs(60);
    let builder = SessionStore::<u64>::builder().idle_timeout(idle);
    let store = builder.clock(clock.clone()).build().unwrap();
    let id = *store.create_with(0).id();
    let mut left = Vec::new();
    store.update(&id, |_| {
        if left.is_empty() {
            store.update(&id, |held| *held += 1);
            clock.advance(Duration::from_secs(20));
        }
        left.push(store.expires_in(&id));
    });
    assert_eq!(left, [Some(Duration::from_secs(40)); 2]);
    assert_eq!(store.expires_in(&id), Some(idle));
}

fn is_refused<S: Subject>(planted: impl FnOnce(SessionStore<subject::Value>) -> S) {
    let clock = ManualClock::new();
    let subject = planted(subject::store(&clock, None));
    let reason = run(subject, clock, None, PATIENCE).err().expect("the planted fault is found");
    assert!(reason.starts_with("no order of these operations is possible"), "{reason}");
}

#[test]
fn update_made_of_load_and_save_is_refused() {
    is_refused(LoadThenSave);
}

#[test]
fn save_that_brings_a_session_back_is_refused() {
    is_refused(SaveInserts);
}

#[test]
fn rotate_in_two_steps_is_refused() {
    is_refused(RotateInTwoSteps);
}

#[test]
fn destroy_with_two_winners_is_refused() {
    is_refused(DestroyForAll);
}

/// An operation on family 0's chosen id between two stamps, at time 0.
fn op(call: u64, ret: u64, needs: Needs, effect: Effect) -> Op {
    Op { what: "", id: named(0), needs, effect, call, ret, before: 0, after: 0 }
}

fn is_linearizable(ops: &[Op]) -> bool {
    check(u64::MAX, &[Vec::new()], ops).is_ok()
}

fn created(call: u64, ret: u64) -> Op {
    op(call, ret, Needs::Gone, Effect::Put(1))
}

fn saw(call: u64, ret: u64, value: u64) -> Op {
    op(call, ret, Needs::Holds(value), Effect::Nothing)
}

fn wrote(call: u64, ret: u64, value: u64) -> Op {
    op(call, ret, Needs::Live, Effect::Put(value))
}

fn missed(call: u64, ret: u64) -> Op {
    op(call, ret, Needs::Gone, Effect::Nothing)
}

fn destroyed(call: u64, ret: u64) -> Op {
    op(call, ret, Needs::Live, Effect::End)
}

#[test]
fn correct_sequential_history_is_accepted() {
    let ops = [
        missed(0, 1),
        created(2, 3),
        saw(4, 5, 1),
        wrote(6, 7, 2),
        saw(8, 9, 2),
        destroyed(10, 11),
        missed(12, 13),
        created(14, 15),
    ];
    assert!(is_linearizable(&ops));
}

#[test]
fn reads_on_both_sides_of_an_overlapping_write_are_accepted() {
    // While a write is under way, one reader sees the new value and a later one still may not: the
    // two overlap, so the second may come first.
    let ops = [created(0, 1), wrote(2, 9, 2), saw(3, 6, 2), saw(4, 7, 1), saw(10, 11, 2)];
    assert!(is_linearizable(&ops));
}

#[test]
fn old_value_after_a_new_one_was_seen_is_refused() {
    // The same, but the reader of the old value was called after the other had returned.
    let ops = [created(0, 1), wrote(2, 9, 2), saw(3, 4, 2), saw(5, 6, 1)];
    assert!(!is_linearizable(&ops));
}

#[test]
fn two_updates_of_the_same_version_are_refused() {
    let updated = |call, ret, value| op(call, ret, Needs::Holds(1), Effect::Put(value));
    assert!(is_linearizable(&[created(0, 1), updated(2, 4, 2)]));
    assert!(!is_linearizable(&[created(0, 1), updated(2, 4, 2), updated(3, 5, 3)]));
}

#[test]
fn lost_write_is_refused_even_when_everything_overlaps() {
    let ops = [created(0, 1), wrote(2, 5, 2), wrote(3, 6, 3), saw(7, 8, 2), saw(9, 10, 3)];
    assert!(!is_linearizable(&ops));
    assert!(is_linearizable(&ops[..4]));
}

#[test]
fn session_seen_after_its_destroy_is_refused() {
    assert!(is_linearizable(&[created(0, 1), destroyed(2, 4), saw(3, 5, 1)]));
    assert!(!is_linearizable(&[created(0, 1), destroyed(2, 3), saw(4, 5, 1)]));
}

#[test]
fn rotated_session_lives_under_one_id_at_a_time() {
    let new = named(1);
    let at_new = |op: Op| Op { id: new, ..op };
    let rotated = op(2, 5, Needs::Live, Effect::Move(new));
    let history = |last: Op| [created(0, 1), rotated, saw(3, 4, 1), last];
    assert!(is_linearizable(&history(at_new(saw(6, 7, 1)))));
    assert!(is_linearizable(&history(missed(6, 7))));
    assert!(!is_linearizable(&history(saw(6, 7, 1))));
    assert!(!is_linearizable(&history(at_new(missed(6, 7)))));
    assert!(!is_linearizable(&history(at_new(saw(6, 7, 2)))));
}

/// The same operation, during which the clock went from `before` to `after`.
fn at(before: u64, after: u64, op: Op) -> Op {
    Op { before, after, ..op }
}

#[test]
fn session_may_expire_only_when_its_deadline_can_have_passed() {
    let expires = |ops: &[Op]| check(10, &[Vec::new()], ops).is_ok();
    let touched = |call, ret| op(call, ret, Needs::Live, Effect::Touch);
    // Its deadline lies between 10 and 15.
    let first = at(0, 5, created(0, 1));
    assert!(!expires(&[first, at(9, 9, missed(2, 3))]));
    assert!(expires(&[first, at(9, 10, missed(2, 3))]));
    assert!(expires(&[first, at(14, 20, saw(2, 3, 1))]));
    assert!(!expires(&[first, at(15, 15, saw(2, 3, 1))]));
    // What was seen expired stays so, and a touch moves the deadline.
    assert!(!expires(&[first, at(12, 12, missed(2, 3)), at(12, 12, saw(4, 5, 1))]));
    assert!(!expires(&[first, at(9, 9, touched(2, 3)), at(18, 18, missed(4, 5))]));
    assert!(expires(&[first, at(9, 9, touched(2, 3)), at(18, 18, saw(4, 5, 1))]));
}

#[test]
fn states_are_carried_from_window_to_window() {
    let unsettled = [created(0, 1), wrote(2, 4, 2), wrote(3, 5, 3)];
    let states = check(u64::MAX, &[Vec::new()], &unsettled).unwrap();
    assert_eq!(states.len(), 2);
    for (last, other) in [(2, 3), (3, 2)] {
        let settled = check(u64::MAX, &states, &[saw(6, 7, last)]).unwrap();
        assert!(check(u64::MAX, &settled, &[saw(8, 9, other)]).is_err());
    }
}

#[test]
fn only_operations_on_the_same_id_at_the_same_time_overlap() {
    let elsewhere = |op: Op| -> Op { Op { id: elsewhere_id(), ..op } };
    assert_eq!(overlapping(&[created(0, 1), saw(2, 3, 1)]), 0);
    assert_eq!(overlapping(&[created(0, 2), saw(1, 3, 1), saw(4, 5, 1)]), 2);
    assert_eq!(overlapping(&[created(0, 2), elsewhere(saw(1, 3, 1))]), 0);
}

fn elsewhere_id() -> SessionId {
    named(1)
}
