//! The bound on garbage: under steady traffic at most a tenth of what is stored has expired.

use std::collections::VecDeque;
use std::time::Duration;

use cloakroom::{Builder, IdSource, ManualClock, SessionId, SessionStore};

const TTL: Duration = Duration::from_secs(600);

fn build(clock: &ManualClock, set: impl Fn(Builder<u64>) -> Builder<u64>) -> SessionStore<u64> {
    let builder = SessionStore::<u64>::builder().id_source(IdSource::Buffered);
    set(builder.clock(clock.clone())).build().unwrap()
}

fn percent(garbage: usize, stored: usize) -> f64 {
    garbage as f64 / stored as f64 * 100.0
}

/// Runs traffic that keeps so many sessions live, one created each time the oldest expires and some
/// loads after each, and returns the worst part of garbage after a warm-up, in percent.
fn worst_under_ttl(store: &SessionStore<u64>, clock: &ManualClock, live: u32, loads: u32) -> f64 {
    let step = TTL / live;
    let mut alive: VecDeque<SessionId> = VecDeque::new();
    let mut worst: f64 = 0.0;
    for n in 0..live * 4 {
        clock.advance(step);
        if alive.len() == live as usize {
            alive.pop_front();
        }
        alive.push_back(*store.create().id());
        for load in 0..loads {
            let id = alive[(n * 7 + load * 13) as usize % alive.len()];
            assert!(store.load(&id).is_some());
        }
        if n > live * 2 {
            worst = worst.max(percent(store.len() - alive.len(), store.len()));
        }
    }
    worst
}

#[test]
fn at_most_a_tenth_is_garbage_when_sessions_are_only_created() {
    for shards in [2, 16, 64, 256] {
        for live in [20, 100, 1000, 5000] {
            let clock = ManualClock::new();
            let store = build(&clock, |b| b.ttl(TTL).shards(shards));
            let worst = worst_under_ttl(&store, &clock, live, 0);
            assert!(worst <= 10.0, "{worst:.1} % with {shards} shards, {live} live");
        }
    }
}

#[test]
fn at_most_a_tenth_is_garbage_when_sessions_are_created_and_loaded() {
    for shards in [2, 256, 1024] {
        for live in [100, 2000] {
            let clock = ManualClock::new();
            let store = build(&clock, |b| b.ttl(TTL).shards(shards));
            let worst = worst_under_ttl(&store, &clock, live, 3);
            assert!(worst <= 10.0, "{worst:.1} % with {shards} shards, {live} live");
        }
    }
}

#[test]
fn at_most_a_tenth_is_garbage_in_a_large_store() {
    let clock = ManualClock::new();
    let store = build(&clock, |b| b.ttl(TTL));
    let worst = worst_under_ttl(&store, &clock, 60_000, 0);
    assert!(worst <= 10.0, "{worst:.1} %");
}

#[test]
fn at_most_a_tenth_is_garbage_with_a_smaller_budget() {
    for budget in [32, 128] {
        let clock = ManualClock::new();
        let store = build(&clock, |b| b.ttl(TTL).shards(16).sweep_budget(budget));
        let worst = worst_under_ttl(&store, &clock, 2000, 1);
        assert!(worst <= 10.0, "{worst:.1} % with a budget of {budget}");
    }
}

/// The slices are due more often than a clock of milliseconds ticks, and the tables are as sparse as what was
/// once stored leaves them.
#[test]
fn at_most_a_tenth_is_garbage_when_a_store_of_brief_lifetimes_was_once_fuller() {
    const STEP: Duration = Duration::from_millis(1);
    for (live, ttl) in [(20_000, 1_000), (60_000, 1_000), (20_000, 100), (20_000, 20)] {
        let clock = ManualClock::new();
        let store = build(&clock, |b| b.ttl(STEP * ttl));
        let a_step = live / ttl as usize;
        for step in 0..ttl * 4 {
            clock.advance(STEP);
            let full = step < ttl;
            (0..a_step * if full { 2 } else { 1 }).for_each(|_| _ = store.create());
            let part = percent(store.len().saturating_sub(live), store.len());
            assert!(step < ttl * 3 || part <= 10.0, "{part:.1} % of {live} that live {ttl} ms");
        }
    }
}

#[test]
fn at_most_a_tenth_is_garbage_when_sessions_have_brief_lifetimes_of_their_own() {
    const BRIEF: Duration = Duration::from_secs(2);
    for (shards, live) in [(2, 1000), (16, 2000), (64, 5000)] {
        let clock = ManualClock::new();
        let store = build(&clock, |b| b.ttl(TTL).shards(shards));
        for n in 0..live * 4 {
            clock.advance(BRIEF / live);
            assert!(store.set_expiry(store.create().id(), BRIEF));
            let part = percent(store.len().saturating_sub(live as usize), store.len());
            assert!(n < live * 2 || part <= 10.0, "{part:.1} % with {shards} shards, {live} live");
        }
    }
}

#[test]
fn at_most_a_tenth_is_garbage_when_idle_sessions_are_abandoned() {
    /// How many of the newest sessions are still used.
    const USED: usize = 50;
    for (shards, idle_steps) in [(2, 200), (64, 200), (256, 2000)] {
        let clock = ManualClock::new();
        let step = Duration::from_millis(50);
        let store = build(&clock, |b| b.idle_timeout(step * idle_steps).shards(shards));
        let mut used: VecDeque<SessionId> = VecDeque::new();
        let live = USED + idle_steps as usize;
        for n in 0..live * 4 {
            clock.advance(step);
            used.push_back(*store.create().id());
            if used.len() > USED {
                used.pop_front();
            }
            assert!(used.iter().all(|id| store.touch(id)));
            if n > live * 2 {
                let part = percent(store.len().saturating_sub(live), store.len());
                assert!(part <= 10.0, "{part:.1} % with {shards} shards");
            }
        }
    }
}

#[test]
fn at_most_a_tenth_is_garbage_when_traffic_is_of_few_sessions_and_time_goes_on() {
    // Nobody creates: 20,000 sessions expire one by one, and one session is used.
    let clock = ManualClock::new();
    let store = build(&clock, |b| b.ttl(TTL));
    let keep = *store.create().id();
    assert!(store.set_expiry(&keep, cloakroom::Expiry::Never));
    let count = 20_000_u32;
    for _ in 0..count {
        store.create();
        clock.advance(TTL / count);
    }
    for expired in 1..count {
        clock.advance(TTL / count);
        assert!(store.load(&keep).is_some());
        let live = (count - expired) as usize;
        let garbage = store.len().saturating_sub(live);
        // Of what was stored when traffic was steady; the store is emptying.
        assert!(percent(garbage, count as usize) <= 10.0, "{garbage} of {live}");
    }
}
