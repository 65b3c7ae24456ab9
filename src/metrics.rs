//! Owns what a store tells the `metrics` facade, and under which names.
//!
//! Nothing is published by itself and nothing is counted twice: the store counts as it always does, and
//! whoever collects asks for the figures. No label ever holds an id.

use std::fmt;

use metrics::{Label, Unit};

use crate::stats::StoreStats;
use crate::store::SessionStore;

/// Publishes a store's gauges and counters to the `metrics` facade, whenever it is asked to.
///
/// Call [`publish`](Self::publish) right before each scrape, or from a timer. Between two calls it costs
/// nothing, and no operation of the store is slower for it.
///
/// | name | what it is |
/// |---|---|
/// | `cloakroom_sessions_live` | gauge: sessions that can be loaded |
/// | `cloakroom_sessions_stored` | gauge: sessions in the table, expired ones that are not yet swept among them |
/// | `cloakroom_sessions_bytes` | gauge: what these weigh, in a store with [`max_bytes`](crate::Builder::max_bytes) |
/// | `cloakroom_sessions_created_total` | sessions created |
/// | `cloakroom_sessions_loaded_total` | look-ups that found a session |
/// | `cloakroom_sessions_missed_total` | look-ups that found none |
/// | `cloakroom_sessions_saved_total` | changes stored |
/// | `cloakroom_sessions_rotated_total` | ids replaced |
/// | `cloakroom_sessions_destroyed_total` | sessions destroyed |
/// | `cloakroom_sessions_expired_total` | sessions removed because they had expired |
/// | `cloakroom_sessions_evicted_total` | live sessions removed to make room |
/// | `cloakroom_sessions_cleared_total` | sessions removed by `clear` |
/// | `cloakroom_sessions_revoked_total` | sessions ended by `revoke_all` or `revoke_others` |
/// | `cloakroom_sessions_displaced_total` | live sessions ended for another of their subject |
/// | `cloakroom_sessions_swept_total` | dead sessions removed by sweeping |
/// | `cloakroom_sessions_conflicts_total` | changes that met a change of somebody else |
/// | `cloakroom_sessions_refused_total` | what was refused, with the label `what`: a `save` of a session that had ended, a `create` for which there was no room, or whose subject had its sessions |
/// | `cloakroom_sessions_panics_total` | panics of user code that the store caught |
///
/// What exactly each of them counts is said at [`StoreStats`].
///
/// # Examples
///
/// ```
/// use cloakroom::{SessionStore, StoreMetrics};
/// use metrics_exporter_prometheus::PrometheusBuilder;
///
/// let prometheus = PrometheusBuilder::new().build_recorder();
/// let handle = prometheus.handle();
/// metrics::set_global_recorder(prometheus)?;
///
/// let store = SessionStore::new(3600);
/// let metrics = StoreMetrics::new(&store).named("shop");
/// store.create();
///
/// // In the handler of `GET /metrics`:
/// metrics.publish();
/// let page = handle.render();
/// assert!(page.contains("cloakroom_sessions_live{store=\"shop\"} 1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is published until `publish` is called"]
pub struct StoreMetrics<T> {
    store: SessionStore<T>,
    labels: Vec<Label>,
}

impl<T> StoreMetrics<T> {
    /// Returns the metrics of a store, without a label.
    pub fn new(store: &SessionStore<T>) -> Self {
        Self { store: store.clone(), labels: Vec::new() }
    }

    /// Gives every metric the label `store`, for a process with more than one store.
    ///
    /// # Security
    ///
    /// Labels are public to whoever can scrape: take a name from the code, never one from a request.
    pub fn named(mut self, store: &'static str) -> Self {
        self.labels = vec![Label::from_static_parts("store", store)];
        self
    }

    /// Sets every gauge and counter of the current recorder to what the store says now, and describes
    /// them.
    ///
    /// The recorder is looked up each time, so it may be installed or replaced at any moment.
    ///
    /// # Locking
    ///
    /// None: see [`SessionStore::stats`], which it calls once.
    pub fn publish(&self) {
        let stats = self.store.stats();
        for ((name, what, value), unit) in gauges(&stats) {
            metrics::describe_gauge!(name, unit, what);
            // Exact up to 2^53.
            metrics::gauge!(name, self.labels.iter()).set(value as f64);
        }
        for (name, what, value) in counters(&stats) {
            metrics::describe_counter!(name, Unit::Count, what);
            metrics::counter!(name, self.labels.iter()).absolute(value);
        }
        self.publish_refused(&stats);
    }

    fn publish_refused(&self, stats: &StoreStats) {
        let name = "cloakroom_sessions_refused_total";
        let what = "Saves of sessions that had ended, and creates for which there was no room, \
                    or whose subject had as many sessions as it may.";
        metrics::describe_counter!(name, Unit::Count, what);
        for (what, value) in [("save", stats.saves_refused), ("create", stats.creates_refused)] {
            let label = Label::from_static_parts("what", what);
            let labels: Vec<Label> = self.labels.iter().cloned().chain([label]).collect();
            metrics::counter!(name, labels).absolute(value);
        }
    }
}

type Figure = (&'static str, &'static str, u64);

#[rustfmt::skip] // A table.
fn gauges(stats: &StoreStats) -> [(Figure, Unit); 3] {
    let stored = "Sessions in the table, expired ones that are not yet swept among them.";
    [
        (("cloakroom_sessions_live", "Sessions that can be loaded.", stats.live), Unit::Count),
        (("cloakroom_sessions_stored", stored, stats.stored), Unit::Count),
        (("cloakroom_sessions_bytes", "What the sessions in the table weigh.", stats.bytes), Unit::Bytes),
    ]
}

#[rustfmt::skip] // A table.
fn counters(stats: &StoreStats) -> [Figure; 14] {
    [
        ("cloakroom_sessions_created_total", "Sessions created.", stats.created),
        ("cloakroom_sessions_loaded_total", "Look-ups that found a session.", stats.loaded),
        ("cloakroom_sessions_missed_total", "Look-ups that found no session.", stats.missed),
        ("cloakroom_sessions_saved_total", "Changes stored.", stats.saved),
        ("cloakroom_sessions_rotated_total", "Session ids replaced.", stats.rotated),
        ("cloakroom_sessions_destroyed_total", "Sessions destroyed.", stats.destroyed),
        ("cloakroom_sessions_expired_total", "Sessions removed because they had expired.", stats.expired),
        ("cloakroom_sessions_evicted_total", "Live sessions removed to make room.", stats.evicted),
        ("cloakroom_sessions_cleared_total", "Sessions removed by clearing the store.", stats.cleared),
        ("cloakroom_sessions_revoked_total", "Sessions ended by revoking those of a subject.", stats.revoked),
        ("cloakroom_sessions_displaced_total", "Live sessions ended for another of their subject.", stats.displaced),
        ("cloakroom_sessions_swept_total", "Dead sessions removed by sweeping.", stats.swept),
        ("cloakroom_sessions_conflicts_total", "Changes that met a change of somebody else.", stats.conflicts),
        ("cloakroom_sessions_panics_total", "Panics of user code that the store caught.", stats.panics),
    ]
}

impl<T> Clone for StoreMetrics<T> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), labels: self.labels.clone() }
    }
}

impl<T> fmt::Debug for StoreMetrics<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreMetrics")
            .field("store", &self.store)
            .field("labels", &self.labels)
            .finish()
    }
}
