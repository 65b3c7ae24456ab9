//! The conformance suite: on the core and on the adapters, which pass; on the frameworks' own memory
//! stores and on a store with flaws, which must not, because a suite that everything passes proves
//! nothing.

#[path = "conformance/contracts.rs"]
mod contracts;
#[path = "conformance/flawed.rs"]
mod flawed;
#[path = "conformance/flaws.rs"]
mod flaws;

use std::collections::HashSet;
use std::fmt::Debug;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cloakroom::adapters::{actix_session, async_session, tower_sessions};
use cloakroom::conformance::{Lifetime, Report, Subject, Suite, block_on};
use cloakroom::{Builder, ManualClock, Session, SessionId, SessionStore};
use contracts::{Row, of_actix_session, of_async_session, of_tower_sessions};
use flawed::Flawed;
use flaws::{FLAWS, Flaw};

fn builder<T>(clock: &ManualClock) -> Builder<T> {
    SessionStore::builder().clock(clock.clone())
}

#[track_caller]
fn assert_passes_all_but(report: &Report, skipped: &[&str]) {
    report.assert_passed();
    assert_eq!(report.skipped(), skipped, "\n{report}");
}

#[test]
fn core_passes() {
    let suite = Suite::new();
    let report = suite.run(|clock| Core(builder(clock).build().unwrap()));
    // A handle is only had by creating or loading.
    assert_passes_all_but(&report, &["save_under_a_planted_key_creates_nothing"]);
}

#[test]
fn tower_sessions_adapter_passes() {
    let report = Suite::new().tower_sessions_with_deletion(|clock| {
        tower_sessions::Store::from(builder(clock).build().unwrap())
    });
    let not_in_the_interface = [
        "malformed_key_is_a_plain_miss",
        "cleared_store_is_empty_and_late_saves_leave_it_so",
        "save_unless_changed_refuses_the_second_of_two",
        "late_save_unless_changed_brings_nothing_back",
        "addition_changes_what_is_there_and_brings_nothing_back",
        "touch_moves_the_end",
        "touch_brings_nothing_back",
        "expired_sessions_do_not_pile_up",
        "racing_rotations_leave_one_good_key",
        "rotation_racing_a_clearing_brings_nothing_back",
        "save_racing_a_clearing_brings_nothing_back",
        "touch_racing_a_destroy_brings_nothing_back",
        "one_of_two_racing_saves_unless_changed_is_refused",
        "racing_additions_all_count",
        "addition_racing_a_destroy_brings_nothing_back",
        "touch_racing_the_sweep_is_kept_or_refused",
    ];
    assert_passes_all_but(&report, &not_in_the_interface);
}

#[test]
fn actix_session_adapter_passes() {
    let report = Suite::new()
        .actix_session(|clock| actix_session::Store::from(builder(clock).build().unwrap()));
    let not_in_the_interface = [
        "taken_key_is_not_handed_out_again",
        "cleared_store_is_empty_and_late_saves_leave_it_so",
        "save_unless_changed_refuses_the_second_of_two",
        "late_save_unless_changed_brings_nothing_back",
        "addition_changes_what_is_there_and_brings_nothing_back",
        "sweep_removes_the_expired_and_nothing_else",
        "expired_sessions_do_not_pile_up",
        "racing_creates_under_one_key_get_different_keys",
        "racing_rotations_leave_one_good_key",
        "rotation_racing_a_clearing_brings_nothing_back",
        "save_racing_a_clearing_brings_nothing_back",
        "one_of_two_racing_saves_unless_changed_is_refused",
        "racing_additions_all_count",
        "addition_racing_a_destroy_brings_nothing_back",
        "save_racing_the_sweep_is_kept_or_refused",
        "touch_racing_the_sweep_is_kept_or_refused",
        "loads_during_a_sweep_find_every_live_session",
    ];
    assert_passes_all_but(&report, &not_in_the_interface);
}

#[test]
fn async_session_adapter_passes() {
    let report = Suite::new()
        .async_session(|clock| async_session::Store::from(builder(clock).build().unwrap()));
    let not_in_the_interface = [
        "save_unless_changed_refuses_the_second_of_two",
        "late_save_unless_changed_brings_nothing_back",
        "addition_changes_what_is_there_and_brings_nothing_back",
        "touch_moves_the_end",
        "touch_brings_nothing_back",
        "sweep_removes_the_expired_and_nothing_else",
        "expired_sessions_do_not_pile_up",
        "racing_rotations_leave_one_good_key",
        "rotation_racing_a_clearing_brings_nothing_back",
        "touch_racing_a_destroy_brings_nothing_back",
        "one_of_two_racing_saves_unless_changed_is_refused",
        "racing_additions_all_count",
        "addition_racing_a_destroy_brings_nothing_back",
        "save_racing_the_sweep_is_kept_or_refused",
        "touch_racing_the_sweep_is_kept_or_refused",
        "loads_during_a_sweep_find_every_live_session",
    ];
    assert_passes_all_but(&report, &not_in_the_interface);
}

#[test]
fn memory_store_of_tower_sessions_fails() {
    let suite = Suite::new().without_clock();
    let report = suite.tower_sessions(|_| ::tower_sessions::MemoryStore::default());
    let failed = [
        "save_after_destroy_brings_nothing_back",
        "save_under_a_planted_key_creates_nothing",
        "save_after_the_end_brings_nothing_back",
        "save_under_the_old_key_after_a_rotation_brings_nothing_back",
        "save_racing_a_destroy_brings_nothing_back",
        "save_racing_a_rotation_leaves_one_good_key",
        "id_that_has_ended_is_not_handed_out_again",
        "clear_and_save_adopt_no_id_of_a_client",
        "flush_and_insert_get_a_new_id",
        "flush_of_an_unknown_session_and_insert_adopt_no_id_of_a_client",
        "request_after_a_flush_of_another_saves_nothing",
    ];
    assert_eq!(report.failed(), failed, "\n{report}");
}

#[test]
fn memory_store_of_async_session_fails() {
    let suite = Suite::new().without_clock();
    let report = suite.async_session(|_| ::async_session::MemoryStore::new());
    let failed = [
        "taken_key_is_not_handed_out_again",
        "malformed_key_is_a_plain_miss",
        "unsaved_change_is_not_found",
        "last_of_two_saves_wins",
        "save_after_destroy_brings_nothing_back",
        "save_under_a_planted_key_creates_nothing",
        "save_after_the_end_brings_nothing_back",
        "save_under_the_old_key_after_a_rotation_brings_nothing_back",
        "unsaved_change_of_a_rotated_session_does_not_show_under_the_old_key",
        "cleared_store_is_empty_and_late_saves_leave_it_so",
        "racing_creates_under_one_key_get_different_keys",
        "save_racing_a_destroy_brings_nothing_back",
        "save_racing_a_rotation_leaves_one_good_key",
        "save_racing_a_clearing_brings_nothing_back",
        "flags_of_one_request_are_not_those_of_another",
        "clone_of_what_was_stored_does_not_change_it",
    ];
    assert_eq!(report.failed(), failed, "\n{report}");
}

#[test]
fn each_check_finds_the_flaw_that_it_looks_for() {
    let mut run = HashSet::new();
    for (flaw, failed) in FLAWS {
        let report = Suite::new().run(|clock| Flawed::new(flaw, clock));
        assert_eq!(report.failed(), failed, "{flaw:?}\n{report}");
        // Those that only a store can pass which refuses to rotate what has ended.
        let of_refusals = [
            "racing_rotations_leave_one_good_key",
            "rotation_racing_a_clearing_brings_nothing_back",
        ];
        let may_skip = |check: &&str| flaw != Flaw::None && of_refusals.contains(check);
        assert!(report.skipped().iter().all(may_skip), "\n{report}");
        run.extend(report.passed().iter().copied());
    }
    let proven: HashSet<_> = FLAWS.iter().flat_map(|(_, failed)| failed.iter().copied()).collect();
    let unproven: Vec<_> = run.difference(&proven).collect();
    assert!(unproven.is_empty(), "no flaw fails {unproven:?}");
}

/// Runs the suite on stores with flaws, and looks at the checks that only this framework has. `elsewhere` are those
/// of them that the framework's own memory store fails, above.
fn assert_each_is_found<F: Copy + Debug>(
    flaws: &[Row<F>],
    report: impl Fn(&Suite, F) -> Report,
    elsewhere: &[&str],
) {
    let suite = Suite::new().rounds(1);
    let of_all = suite.run(|clock| Flawed::new(Flaw::None, clock));
    let mut unproven: HashSet<_> = HashSet::new();
    for (flaw, expected) in flaws {
        let report = report(&suite, *flaw);
        let own = |checks: Vec<&'static str>| {
            let own = checks.into_iter().filter(|check| !of_all.passed().contains(check));
            own.collect::<Vec<_>>()
        };
        assert_eq!(own(report.failed()), *expected, "{flaw:?}\n{report}");
        unproven.extend(own(report.passed().to_vec()));
    }
    let proven = flaws.iter().flat_map(|(_, failed)| *failed).chain(elsewhere);
    proven.for_each(|check| _ = unproven.remove(check));
    assert!(unproven.is_empty(), "no flaw fails {unproven:?}");
}

#[test]
fn each_check_of_tower_sessions_contract_finds_the_flaw_that_it_looks_for() {
    let elsewhere = [
        "id_that_has_ended_is_not_handed_out_again",
        "clear_and_save_adopt_no_id_of_a_client",
        "flush_of_an_unknown_session_and_insert_adopt_no_id_of_a_client",
    ];
    assert_each_is_found(&of_tower_sessions::FLAWS, of_tower_sessions::report, &elsewhere);
}

#[test]
fn each_check_of_actix_sessions_contract_finds_the_flaw_that_it_looks_for() {
    assert_each_is_found(&of_actix_session::FLAWS, of_actix_session::report, &[]);
}

#[test]
fn each_check_of_async_sessions_contract_finds_the_flaw_that_it_looks_for() {
    let elsewhere = [
        "flags_of_one_request_are_not_those_of_another",
        "clone_of_what_was_stored_does_not_change_it",
    ];
    assert_each_is_found(&of_async_session::FLAWS, of_async_session::report, &elsewhere);
}

#[test]
fn checks_of_all_stores_reach_each_framework_in_its_own_form() {
    let suite = Suite::new().rounds(1);
    let finds = of_actix_session::report(&suite, of_actix_session::Flaw::LoadFindsAnyKey).failed();
    assert!(finds.contains(&"malformed_key_is_a_plain_miss"), "{finds:?}");
    for report in [
        of_actix_session::report(&suite, of_actix_session::Flaw::LoadFindsKeysOfItsForm),
        of_async_session::report(&suite, of_async_session::Flaw::LoadFindsKeysOfItsForm),
    ] {
        assert!(report.failed().contains(&"planted_key_finds_nothing"), "\n{report}");
        assert!(report.passed().contains(&"malformed_key_is_a_plain_miss"), "\n{report}");
    }
    let flaw = of_tower_sessions::Flaw::DeletionOfTheExpiredEndsAll;
    let report = of_tower_sessions::report(&suite, flaw);
    let sweep = "sweep_removes_the_expired_and_nothing_else";
    assert!(report.failed().contains(&sweep), "\n{report}");
}

#[test]
fn race_that_is_to_run_no_round_runs_one() {
    let suite = Suite::new().rounds(0);
    let report = suite.run(|clock| Flawed::new(Flaw::DestroyDoesNothing, clock));
    let race = "save_racing_a_destroy_brings_nothing_back";
    assert!(report.failed().contains(&race), "\n{report}");
}

#[test]
fn settings_of_a_suite_add_up() {
    let suite = Suite::new().without_clock().rounds(7);
    assert_eq!(format!("{suite:?}"), "Suite { rounds: 7, has_clock: false, .. }");
}

#[test]
fn futures_are_run_by_the_driver_that_was_set() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let suite = Suite::new().rounds(1).block_on_with(|future| {
        RUNS.fetch_add(1, Ordering::SeqCst);
        block_on(future);
    });
    let store = |clock: &ManualClock| async_session::Store::from(builder(clock).build().unwrap());
    suite.async_session(store).assert_passed();
    assert!(RUNS.load(Ordering::SeqCst) > 0);
}

#[test]
fn report_of_what_failed_is_a_panic_that_says_why() {
    let panics: [fn(); 3] = [
        || panic!("no connection"),
        || panic!("no {}", String::from("connection")),
        || std::panic::panic_any(7),
    ];
    for (panic, why) in panics.into_iter().zip(["no connection", "no connection", "it panicked"]) {
        let report = Suite::new().rounds(1).run(|clock| {
            panic();
            Core(builder(clock).build().unwrap())
        });
        let told = catch_unwind(|| report.assert_passed()).unwrap_err();
        let told = told.downcast::<String>().unwrap();
        let line = format!("FAILED  created_session_is_found_with_its_data: {why}\n");
        assert!(told.contains(&line) && report.passed().is_empty(), "{told}");
    }
}

/// The core itself, in the suite's words: what an adapter's author writes.
struct Core(SessionStore<u64>);

impl Core {
    fn set_end(&self, id: &SessionId, lifetime: Lifetime) {
        let lifetime = match lifetime {
            Lifetime::For(lifetime) => lifetime,
            _ => Duration::ZERO,
        };
        self.0.set_expiry(id, lifetime);
    }
}

impl Subject for Core {
    type Key = SessionId;
    type Handle = Session<u64>;

    fn create(&self, value: u64, lifetime: Lifetime) -> SessionId {
        let id = *self.0.create_with(value).id();
        self.set_end(&id, lifetime);
        id
    }

    fn load(&self, key: &SessionId) -> Option<Session<u64>> {
        self.0.load(key)
    }

    fn value(handle: &Session<u64>) -> u64 {
        **handle
    }

    fn set(handle: &mut Session<u64>, value: u64) {
        **handle = value;
    }

    fn save(&self, handle: Session<u64>, lifetime: Lifetime) {
        if self.0.save(&handle) {
            self.set_end(handle.id(), lifetime);
        }
    }

    fn destroy(&self, key: &SessionId) {
        self.0.destroy(key);
    }

    fn rotate(&self, mut handle: Session<u64>) -> SessionId {
        self.0.rotate(&mut handle);
        *handle.id()
    }

    fn planted_key(&self) -> SessionId {
        *SessionStore::<()>::default().create().id()
    }

    fn create_under(&self, key: &SessionId, value: u64) -> Option<SessionId> {
        let created = self.0.try_create_with_id(key, value);
        let session = created.unwrap_or_else(|rejected| self.0.create_with(rejected.value));
        Some(*session.id())
    }

    fn save_unless_changed(&self, mut handle: Session<u64>) -> Option<bool> {
        Some(self.0.try_save(&mut handle).is_ok())
    }

    fn add(&self, key: &SessionId, number: u64) -> Option<bool> {
        Some(self.0.update(key, |value| *value += number).is_some())
    }

    fn touch(&self, key: &SessionId, lifetime: Duration) -> Option<()> {
        self.0.set_expiry(key, lifetime);
        Some(())
    }

    fn finds_text(&self, text: &str) -> Option<bool> {
        Some(self.0.contains(text))
    }

    fn sweep(&self) -> Option<()> {
        self.0.purge_expired();
        Some(())
    }

    fn stored(&self) -> Option<usize> {
        Some(self.0.len())
    }

    fn clear(&self) -> Option<()> {
        self.0.clear();
        Some(())
    }
}
