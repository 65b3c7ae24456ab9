//! Owns what the store counts, as JSON and for Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cloakroom::StoreMetrics;
use serde_json::json;

use crate::answer::line;
use crate::shop::Shop;

pub(crate) async fn stats(shop: State<Shop>) -> Response {
    let stats = shop.sessions.stats();
    line(&json!({
        "live": stats.live, "expired_unswept": stats.expired_unswept,
        "created": stats.created, "loaded": stats.loaded, "missed": stats.missed,
        "saved": stats.saved, "rotated": stats.rotated, "destroyed": stats.destroyed,
        "revoked": stats.revoked, "displaced": stats.displaced,
        "expired": stats.expired, "evicted": stats.evicted, "refused": stats.creates_refused,
    }))
}

/// The gauges and counters are set when somebody asks: between two scrapes they cost nothing.
pub(crate) async fn metrics(shop: State<Shop>) -> Response {
    StoreMetrics::new(&shop.sessions).publish();
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (text, shop.prometheus.render()).into_response()
}
