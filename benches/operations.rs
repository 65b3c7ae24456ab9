//! Owns the measurement of each operation by itself, on one thread.
//!
//! `cargo bench --bench operations`; add a word to run only the benchmarks whose name holds it.

#![allow(missing_docs, reason = "`criterion_group` makes a function without documentation")]

use std::hint::black_box;
use std::time::Duration;

use cloakroom::{Expiry, IdSource, ManualClock, SessionId, SessionStore};
use criterion::measurement::{Measurement as _, WallTime};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};

/// 56 bytes of data: with the record's own 8, one cache line.
type Payload = [u64; 7];

fn store() -> SessionStore<Payload> {
    let hour = Duration::from_secs(3600);
    let builder = SessionStore::builder().ttl(12 * hour).idle_timeout(hour);
    builder.build().expect("the settings are valid")
}

fn filled(sessions: usize) -> (SessionStore<Payload>, Vec<SessionId>) {
    let store = store();
    let ids = (0..sessions).map(|_| *store.create().id()).collect();
    (store, ids)
}

/// Steps through `len` places in an order that no prefetcher guesses.
fn shuffled(len: usize) -> impl FnMut() -> usize {
    let mut state = 1_u64;
    move || {
        // Knuth's MMIX generator.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % len
    }
}

fn loads(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    for sessions in [1_000, 100_000, 1_000_000] {
        let (store, ids) = filled(sessions);
        let mut next = shuffled(sessions);
        group.bench_function(BenchmarkId::new("hit", sessions), |b| {
            b.iter(|| store.load(black_box(&ids[next()])));
        });
    }
    let (store, ids) = filled(1_000);
    let (other, _) = filled(1_000);
    let token = ids[0].to_token();
    group.bench_function("hit by token", |b| b.iter(|| store.load(black_box(token.as_str()))));
    group.bench_function("miss", |b| b.iter(|| other.load(black_box(&ids[0]))));
    group.bench_function("malformed", |b| b.iter(|| store.load(black_box("no such session"))));
    group.finish();
}

fn changes(c: &mut Criterion) {
    let (store, ids) = filled(1_000);
    let mut next = shuffled(ids.len());
    c.bench_function("touch", |b| b.iter(|| store.touch(&ids[next()])));
    let sessions: Vec<_> = ids.iter().filter_map(|id| store.load(id)).collect();
    c.bench_function("save", |b| b.iter(|| store.save(&sessions[next()])));
    c.bench_function("load, change, save", |b| {
        b.iter(|| {
            let mut session = store.load(&ids[next()]).expect("it is live");
            session[0] += 1;
            store.save(&session)
        });
    });
    c.bench_function("update", |b| b.iter(|| store.update(&ids[next()], |data| data[0] += 1)));
    let mut session = store.create();
    c.bench_function("rotate", |b| b.iter(|| store.rotate(&mut session)));
}

fn lives(c: &mut Criterion) {
    for source in [IdSource::Os, IdSource::Buffered] {
        let builder = SessionStore::<Payload>::builder().id_source(source);
        let store = builder.ttl(Duration::from_secs(3600)).build().expect("the settings are valid");
        c.bench_function(&format!("create, ids {source:?}"), |b| {
            b.iter_custom(|times| create_and_destroy(&store, times).0);
        });
        if source == IdSource::Os {
            c.bench_function("destroy", |b| {
                b.iter_custom(|times| create_and_destroy(&store, times).1);
            });
        }
        c.bench_function(&format!("create and destroy, ids {source:?}"), |b| {
            b.iter(|| store.destroy(store.create().id()));
        });
    }
}

/// Returns how long all the creates took, and how long all the destroys, a thousand of each in turn,
/// so that the table neither grows nor is empty.
fn create_and_destroy(store: &SessionStore<Payload>, times: u64) -> (Duration, Duration) {
    let mut ids = Vec::with_capacity(1_000);
    let (mut creating, mut destroying) = (Duration::ZERO, Duration::ZERO);
    let mut left = times;
    while left > 0 {
        let some = left.min(1_000);
        let start = WallTime.start();
        ids.extend((0..some).map(|_| *store.create().id()));
        creating += WallTime.end(start);
        let start = WallTime.start();
        ids.drain(..).for_each(|id| assert!(store.destroy(&id)));
        destroying += WallTime.end(start);
        left -= some;
    }
    (creating, destroying)
}

/// Beyond the longest time between two slices, so that the next operation runs one.
const UNTIL_A_SLICE: Duration = Duration::from_secs(2);

fn slices(c: &mut Criterion) {
    let clock = ManualClock::new();
    let builder = SessionStore::<Payload>::builder().ttl(cloakroom::MAX_LIFETIME);
    let store = builder.clock(clock.clone()).build().expect("the settings are valid");
    let ids: Vec<_> = (0..100_000).map(|_| *store.create().id()).collect();
    c.bench_function("load with a sweep slice, all live", |b| {
        b.iter(|| {
            clock.advance(UNTIL_A_SLICE);
            store.load(black_box(&ids[0]))
        });
    });
    let load = |(store, id): (SessionStore<Payload>, SessionId)| {
        store.load(black_box(&id));
        store
    };
    assert_ne!(load(expired()).stats().swept, 0, "the load has run no slice");
    c.bench_function("load with a sweep slice, all expired", |b| {
        b.iter_batched(expired, load, BatchSize::LargeInput);
    });
}

/// Returns a store of 10,000 sessions that have expired, and one that never does.
fn expired() -> (SessionStore<Payload>, SessionId) {
    let clock = ManualClock::new();
    let builder = SessionStore::<Payload>::builder().ttl(Duration::from_secs(60));
    let store = builder.clock(clock.clone()).build().expect("the settings are valid");
    let id = *store.create().id();
    assert!(store.set_expiry(&id, Expiry::Never));
    (0..10_000).for_each(|_| drop(store.create()));
    clock.advance(Duration::from_secs(61));
    (store, id)
}

fn purge(c: &mut Criterion) {
    c.bench_function("purge 10,000 expired", |b| {
        b.iter_batched(expired, |(store, _)| store.purge_expired(), BatchSize::LargeInput);
    });
}

criterion_group!(benches, loads, changes, lives, slices, purge);
criterion_main!(benches);
