//! The worst create while a store grows: a table that moves to a larger one makes somebody wait.
//! Each latency includes the reading of a clock, some 25 ns.

use std::time::Instant;

use super::Figures;
use super::storm::histogram;
use crate::peer::{Payload, Peer, Settings};
use crate::report::{Column, Unit};

pub const COLUMNS: &[Column] = &[
    Column::new("create p50", Unit::Nanos),
    Column::new("p99", Unit::Nanos),
    Column::new("p99.99", Unit::Nanos),
    Column::new("max", Unit::Nanos),
];

pub struct GrowthPlan {
    pub sessions: usize,
}

pub fn run<P: Peer>(plan: &GrowthPlan) -> Figures {
    let mut latencies = histogram();
    let store = P::open(&Settings::lasting(plan.sessions));
    for next in 0..plan.sessions {
        let begin = Instant::now();
        std::hint::black_box(store.create(Payload::naming(next)));
        latencies.saturating_record(begin.elapsed().as_nanos() as u64);
    }
    let at = |quantile| Some(latencies.value_at_quantile(quantile) as f64);
    vec![at(0.5), at(0.99), at(0.9999), Some(latencies.max() as f64)]
}
