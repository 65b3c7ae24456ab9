//! What a store tells the `metrics` facade.

use std::time::Duration;

use cloakroom::{ManualClock, OnFull, OnLimit, SessionStore, StoreMetrics, Subject};
use metrics_exporter_prometheus::PrometheusBuilder;

/// Publishes some metrics to a new recorder, and returns the page that Prometheus would get.
fn page(publish: impl FnOnce()) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, publish);
    recorder.handle().render()
}

fn figure(page: &str, name: &str) -> u64 {
    let lines = page.lines().filter_map(|line| line.strip_prefix(name));
    let values: Vec<&str> = lines.filter_map(|rest| rest.strip_prefix(' ')).collect();
    assert_eq!(values.len(), 1, "{name} in {page}");
    values[0].parse().unwrap()
}

/// A store in which everything that is counted has happened, each another number of times.
fn eventful(clock: &ManualClock) -> SessionStore<Vec<u8>> {
    let builder = SessionStore::<Vec<u8>>::builder().ttl(Duration::from_secs(60)).max_sessions(3);
    // Whoever has a second byte is a user, who may have two sessions.
    let builder = builder.index_by(|data| data.get(1).map(|user| Subject::from(*user)));
    let builder = builder.max_per_subject(2, OnLimit::RevokeOldest).max_bytes(100, Vec::len);
    let store = builder.clock(clock.clone()).shards(2).build().unwrap();
    let ids: Vec<_> = (0..3).map(|_| *store.create().id()).collect();
    (0..5).for_each(|_| assert!(store.load(&ids[0]).is_some()));
    (0..2).for_each(|_| assert!(store.load("unknown").is_none()));
    let mut mine = store.peek(&ids[0]).unwrap();
    mine.push(1);
    store.save(&store.peek(&ids[0]).unwrap());
    assert!(store.try_save(&mut mine).is_err());
    store.rotate(&mut mine);
    store.destroy(&ids[1]);
    (0..4).for_each(|_| drop(store.create()));
    (0..5).for_each(|_| drop(store.create_with(vec![0, 7])));
    assert_eq!(store.revoke_all(7), 2);
    store.create();
    clock.advance(Duration::from_secs(60));
    store.create_with(vec![1]);
    store.purge_expired();
    store
}

#[test]
fn every_counter_is_published_as_the_store_counts_it() {
    let clock = ManualClock::new();
    let store = eventful(&clock);
    let page = page(|| StoreMetrics::new(&store).publish());
    let stats = store.stats();
    for (name, value) in [
        ("live", stats.live),
        ("stored", stats.stored),
        ("bytes", stats.bytes),
        ("created_total", stats.created),
        ("loaded_total", stats.loaded),
        ("missed_total", stats.missed),
        ("saved_total", stats.saved),
        ("rotated_total", stats.rotated),
        ("destroyed_total", stats.destroyed),
        ("expired_total", stats.expired),
        ("evicted_total", stats.evicted),
        ("cleared_total", stats.cleared),
        ("revoked_total", stats.revoked),
        ("displaced_total", stats.displaced),
        ("swept_total", stats.swept),
        ("conflicts_total", stats.conflicts),
        ("refused_total{what=\"save\"}", stats.saves_refused),
        ("refused_total{what=\"create\"}", stats.creates_refused),
        ("panics_total", stats.panics),
    ] {
        assert_eq!(figure(&page, &format!("cloakroom_sessions_{name}")), value, "{name}");
    }
    let seen = [stats.created, stats.loaded, stats.missed, stats.saved, stats.rotated];
    assert!(seen.iter().all(|count| *count > 0), "{stats:?}");
    let seen = [stats.destroyed, stats.expired, stats.evicted, stats.swept, stats.conflicts];
    assert!(seen.iter().all(|count| *count > 0), "{stats:?}");
    assert_eq!([stats.revoked, stats.displaced, stats.bytes], [2, 3, 1]);
}

#[test]
fn refused_saves_and_creates_are_told_apart() {
    let store = SessionStore::<u8>::builder().max_sessions(1).on_full(OnFull::Refuse);
    let store = store.build().unwrap();
    let session = store.create();
    (0..3).for_each(|_| drop(store.create()));
    store.destroy(session.id());
    (0..2).for_each(|_| assert!(!store.save(&session)));
    let page = page(|| StoreMetrics::new(&store).publish());
    assert_eq!(figure(&page, "cloakroom_sessions_refused_total{what=\"create\"}"), 3);
    assert_eq!(figure(&page, "cloakroom_sessions_refused_total{what=\"save\"}"), 2);
}

#[test]
fn publishing_again_sets_and_does_not_add() {
    let store = SessionStore::new(60);
    store.create();
    let metrics = StoreMetrics::new(&store);
    let page = page(|| {
        (0..3).for_each(|_| metrics.publish());
        store.destroy(store.create().id());
        metrics.publish();
    });
    assert_eq!(figure(&page, "cloakroom_sessions_created_total"), 2);
    assert_eq!(figure(&page, "cloakroom_sessions_live"), 1);
}

#[test]
fn two_stores_are_told_apart_by_their_names() {
    let (shop, admin) = (SessionStore::new(60), SessionStore::new(60));
    shop.create();
    let page = page(|| {
        StoreMetrics::new(&shop).named("shop").publish();
        StoreMetrics::new(&admin).named("admin").publish();
    });
    assert_eq!(figure(&page, "cloakroom_sessions_live{store=\"shop\"}"), 1);
    assert_eq!(figure(&page, "cloakroom_sessions_live{store=\"admin\"}"), 0);
    assert_eq!(figure(&page, "cloakroom_sessions_refused_total{store=\"shop\",what=\"save\"}"), 0);
}

#[test]
fn every_metric_is_described_and_its_type_told() {
    let page = page(|| StoreMetrics::new(&SessionStore::new(60)).publish());
    let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut kinds = Vec::new();
    for line in names {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(page.contains(&format!("# HELP {name} ")), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        kinds.push(kind);
    }
    assert_eq!(kinds.iter().filter(|kind| **kind == "gauge").count(), 3);
    assert_eq!(kinds.len(), 18);
}

#[test]
fn neither_ids_nor_data_are_published() {
    let store = SessionStore::<Vec<&str>>::builder().build().unwrap();
    let session = store.create_with(vec!["secret-data"]);
    let metrics = StoreMetrics::new(&store).named("shop");
    let mut shown = page(|| metrics.publish());
    shown += &format!("{metrics:?}");
    assert!(!shown.contains("secret") && !shown.contains(&session.id().to_token().as_str()[..6]));
}
