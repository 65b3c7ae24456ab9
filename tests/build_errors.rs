//! Settings that make no store: the error names the setting, its value and the limit.

use std::time::Duration;

use cloakroom::{Builder, SessionStore};

const SECOND: Duration = Duration::from_secs(1);

/// Asserts that the settings are refused, and what the message says.
fn assert_refused(set: impl Fn(Builder<u8>) -> Builder<u8>, setting: &str, says: &[&str]) {
    let error = set(SessionStore::builder()).build().unwrap_err();
    assert_eq!(error.setting(), setting);
    let message = error.to_string();
    assert!(message.starts_with(setting), "{message}");
    for part in says {
        assert!(message.contains(part), "{message} does not say {part}");
    }
    assert!(!message.ends_with('.') && !message.contains('\n'), "{message}");
}

fn assert_built(set: impl Fn(Builder<u8>) -> Builder<u8>) {
    let store = set(SessionStore::builder()).build().unwrap();
    assert!(store.load(store.create().id()).is_some());
}

#[test]
fn lifetimes_of_zero_are_refused() {
    assert_refused(|b| b.ttl(Duration::ZERO), "ttl", &["0ns", "more than zero"]);
    let idle = |b: Builder<u8>| b.idle_timeout(Duration::ZERO);
    assert_refused(idle, "idle_timeout", &["0ns", "more than zero"]);
    assert_refused(|b| idle(b).ttl(SECOND), "idle_timeout", &["0ns"]);
}

#[test]
fn idle_timeout_longer_than_ttl_is_refused_in_either_order() {
    let says = ["31s", "at most ttl", "30s"];
    let (ttl, idle) = (SECOND * 30, SECOND * 31);
    assert_refused(|b| b.ttl(ttl).idle_timeout(idle), "idle_timeout", &says);
    assert_refused(|b| b.idle_timeout(idle).ttl(ttl), "idle_timeout", &says);
    let nano = Duration::from_nanos(1);
    assert_refused(|b| b.ttl(ttl).idle_timeout(ttl + nano), "idle_timeout", &["30.000000001s"]);
    assert_built(|b| b.ttl(ttl).idle_timeout(ttl));
}

#[test]
fn bound_of_zero_is_refused() {
    assert_refused(|b| b.max_sessions(0), "max_sessions", &["is 0", "at least 1"]);
    assert_built(|b| b.max_sessions(1));
    assert_built(|b| b.max_sessions(usize::MAX));
}

#[test]
fn shard_counts_that_are_no_power_of_two_or_out_of_range_are_refused() {
    let wrong = [0, 1, 3, 5, 6, 7, 100, 65_535, 65_537, 131_072, usize::MAX, 1 << 63];
    for shards in wrong {
        let value = format!("is {shards},");
        let says = [value.as_str(), "a power of two", "from 2 to 65536"];
        assert_refused(|b| b.shards(shards), "shards", &says);
    }
    for shards in [2, 4, 64, 65_536] {
        assert_built(|b| b.shards(shards));
    }
}

#[test]
fn sweep_budgets_out_of_range_are_refused() {
    for budget in [0, 4097, usize::MAX] {
        let value = format!("is {budget},");
        assert_refused(|b| b.sweep_budget(budget), "sweep_budget", &[&value, "from 1 to 4096"]);
    }
    for budget in [1, 4096] {
        assert_built(|b| b.sweep_budget(budget));
    }
}

#[test]
fn limits_per_subject_out_of_range_or_without_subjects_are_refused() {
    use cloakroom::{OnLimit::Reject, Subject};
    let index = |b: Builder<u8>| b.index_by(|user| Some(Subject::from(*user)));
    for limit in [0, 1025, usize::MAX] {
        let value = format!("is {limit},");
        let set = |b| index(b).max_per_subject(limit, Reject);
        assert_refused(set, "max_per_subject", &[&value, "from 1 to 1024"]);
    }
    assert_refused(|b| b.max_per_subject(1, Reject), "max_per_subject", &["with index_by"]);
    assert_built(|b| index(b.max_per_subject(1, Reject)));
    assert_built(|b| index(b).max_per_subject(1024, Reject));
}

#[test]
fn last_value_of_a_setting_counts() {
    assert_built(|b| b.ttl(Duration::ZERO).ttl(SECOND * 60).shards(3).shards(4));
    assert_refused(|b| b.shards(4).shards(3), "shards", &["is 3"]);
}

#[test]
fn default_settings_make_a_store() {
    assert_built(|b| b);
    let store = SessionStore::<u8>::default();
    let s = store.create_with(3);
    assert_eq!(store.expires_in(s.id()), Some(Duration::MAX));
}

#[test]
fn build_error_is_an_error_that_threads_can_pass_on() {
    fn pass_on<E: std::error::Error + Clone + PartialEq + Send + Sync + 'static>(_: &E) {}
    let error = SessionStore::<u8>::builder().shards(3).build().unwrap_err();
    pass_on(&error);
    assert!(format!("{error:?}").contains("shards"));
}

#[test]
fn byte_bound_of_zero_is_refused() {
    assert_refused(|b| b.max_bytes(0, |_| 1), "max_bytes", &["is 0", "at least 1"]);
    assert_built(|b| b.max_bytes(1, |_| 1));
}
