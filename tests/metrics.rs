//! What a store tells the `metrics` facade.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use cloakroom::{
    Expiry, ManualClock, OnFull, OnLimit, SessionStore, StoreMetrics, StoreStats, Subject,
};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
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
    let builder = SessionStore::<Vec<u8>>::builder().ttl(Duration::from_secs(60)).max_sessions(30);
    // Whoever has a second byte is a user, who may have two sessions.
    let builder = builder.index_by(|data| data.get(1).map(|user| Subject::from(*user)));
    let builder = builder.max_per_subject(2, OnLimit::RevokeOldest).max_bytes(1000, Vec::len);
    let builder = builder.on_end(|end| assert!(end.data.first() != Some(&13), "planted"));
    let store = builder.clock(clock.clone()).shards(2).build().unwrap();
    let times = |times: usize, act: &dyn Fn()| (0..times).for_each(|_| act());
    let end = |data: Vec<u8>| assert!(store.destroy(store.create_with(data).id()));
    let mut mine = store.create();
    times(3, &|| assert!(store.load(mine.id()).is_some()));
    times(4, &|| assert!(store.load("unknown").is_none()));
    times(5, &|| assert!(store.save(&mine)));
    mine.push(1);
    assert!(store.update(mine.id(), |_| ()).is_some());
    (0..7).for_each(|_| assert!(store.try_save(&mut mine).is_err()));
    (0..8).for_each(|_| assert!(store.rotate(&mut mine)));
    times(9, &|| end(vec![]));
    times(2, &|| end(vec![13]));
    assert!(store.destroy(mine.id()));
    (0..13).for_each(|_| assert!(!store.save(&mine)));
    times(14, &|| assert!(store.try_create_with(vec![0; 1001]).is_err()));
    times(15, &|| drop(store.create()));
    store.clear();
    times(8, &|| {
        store.create_with(vec![0, 7]);
        store.create_with(vec![0, 7]);
        assert_eq!(store.revoke_all(7), 2);
    });
    times(19, &|| drop(store.create_with(vec![0, 7])));
    times(30 + 18, &|| drop(store.create()));
    times(6, &|| assert!(store.set_expiry(store.create().id(), Expiry::After(Duration::ZERO))));
    clock.advance(Duration::from_secs(60));
    store.purge_expired();
    store.create_with(vec![0; 40]);
    times(20, &|| drop(store.create()));
    let second = Duration::from_secs(1);
    times(5, &|| assert!(store.set_expiry(store.create().id(), Expiry::After(second))));
    clock.advance(second);
    store
}

fn figures(stats: &StoreStats) -> [(&'static str, u64); 19] {
    [
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
    ]
}

fn are_different(figures: &[(&str, u64)]) -> bool {
    let numbers: HashSet<u64> = figures.iter().map(|(_, value)| *value).collect();
    numbers.len() == figures.len() && !numbers.contains(&0)
}

#[test]
fn every_counter_is_published_as_the_store_counts_it() {
    // Ids are random, and so is how many sessions are swept before one has to make room.
    let mut stores = (0..100).map(|_| eventful(&ManualClock::new()));
    let store = stores.find(|store| are_different(&figures(&store.stats())));
    let store = store.expect("two figures are the same each time, or one is 0");
    let page = page(|| StoreMetrics::new(&store).publish());
    for (name, value) in figures(&store.stats()) {
        assert_eq!(figure(&page, &format!("cloakroom_sessions_{name}")), value, "{name}");
    }
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
    let ended = store.create();
    store.destroy(ended.id());
    assert!(!store.save(&ended));
    store.create();
    let metrics = StoreMetrics::new(&store);
    let page = page(|| {
        (0..3).for_each(|_| metrics.publish());
        store.create();
        assert!(!store.save(&ended));
        metrics.publish();
    });
    assert_eq!(figure(&page, "cloakroom_sessions_created_total"), 3);
    assert_eq!(figure(&page, "cloakroom_sessions_live"), 2);
    assert_eq!(figure(&page, "cloakroom_sessions_refused_total{what=\"save\"}"), 2);
}

#[test]
fn two_stores_are_told_apart_by_their_names() {
    let (shop, admin) = (SessionStore::new(60), SessionStore::new(60));
    shop.create();
    let page = page(|| {
        // A clone has the name too.
        StoreMetrics::new(&shop).named("shop").clone().publish();
        StoreMetrics::new(&admin).named("admin").publish();
    });
    assert_eq!(figure(&page, "cloakroom_sessions_live{store=\"shop\"}"), 1);
    assert_eq!(figure(&page, "cloakroom_sessions_live{store=\"admin\"}"), 0);
    assert_eq!(figure(&page, "cloakroom_sessions_created_total{store=\"shop\"}"), 1);
    assert_eq!(figure(&page, "cloakroom_sessions_created_total{store=\"admin\"}"), 0);
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

/// The units that a recorder is told, by name.
#[derive(Default)]
struct Units(Mutex<HashMap<String, Unit>>);

impl Recorder for Units {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe_gauge(name, unit, "".into());
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.0.lock().unwrap().insert(name.as_str().to_owned(), unit.unwrap());
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn bytes_are_bytes_and_all_else_is_a_count() {
    let units = Units::default();
    metrics::with_local_recorder(&units, || StoreMetrics::new(&SessionStore::new(60)).publish());
    let units = units.0.into_inner().unwrap();
    assert_eq!(units.len(), 18);
    for (name, unit) in units {
        let bytes = name == "cloakroom_sessions_bytes";
        assert_eq!(unit, if bytes { Unit::Bytes } else { Unit::Count }, "{name}");
    }
}
