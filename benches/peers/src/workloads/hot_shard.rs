//! A writer among looping readers of one session: a lock that lets readers pass keeps the writer out.
//!
//! Stores that can be told get two shards, so that every other create and destroy is on the shard
//! that is read. Each latency includes the reading of a clock, some 25 ns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Figures;
use super::storm::histogram;
use crate::peer::{Payload, Peer, Settings};
use crate::report::{Column, Unit};

pub const COLUMNS: &[Column] = &[
    Column::new("writes", Unit::PerSecond),
    Column::new("save p50", Unit::Nanos),
    Column::new("save p99", Unit::Nanos),
    Column::new("save max", Unit::Nanos),
    Column::new("create p99", Unit::Nanos),
    Column::new("create max", Unit::Nanos),
    Column::new("destroy p99", Unit::Nanos),
    Column::new("destroy max", Unit::Nanos),
];

/// Loads between two looks at whether it is over.
const LOADS: usize = 64;

pub struct HotShardPlan {
    pub readers: usize,
    pub duration: Duration,
}

impl HotShardPlan {
    pub fn title(&self) -> String {
        format!("hot shard, one writer, {} reading", self.readers)
    }
}

/// Ends the readers when it goes, in a panic too.
struct Finally<'a>(&'a AtomicBool);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub fn run<P: Peer>(plan: &HotShardPlan) -> Figures {
    let mut settings = Settings::lasting(1000);
    settings.shards = Some(2);
    let store = P::open(&settings);
    let hot = store.create(Payload::naming(0));
    let stop = AtomicBool::new(false);
    let read = || {
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..LOADS {
                let handle = store.load(std::hint::black_box(&hot));
                let handle = handle.expect("the hot session was lost");
                std::hint::black_box(P::next(&handle));
            }
        }
    };
    let mut latencies = [histogram(), histogram(), histogram()];
    let spent = thread::scope(|scope| {
        let finally = Finally(&stop);
        for _ in 0..plan.readers {
            scope.spawn(read);
        }
        let spent = write(&store, &hot, plan.duration, &mut latencies);
        drop(finally);
        spent
    });
    let [saves, creates, destroys] = &latencies;
    let writes = saves.len() + creates.len() + destroys.len();
    let at = |of: &Histogram<u64>, quantile| Some(of.value_at_quantile(quantile) as f64);
    let max = |of: &Histogram<u64>| Some(of.max() as f64);
    vec![
        Some(writes as f64 / spent.as_secs_f64()),
        at(saves, 0.5),
        at(saves, 0.99),
        max(saves),
        at(creates, 0.99),
        max(creates),
        at(destroys, 0.99),
        max(destroys),
    ]
}

/// Saves the hot session, creates one, and destroys that, for as long as it is told.
fn write<P: Peer>(
    store: &P,
    hot: &P::Id,
    duration: Duration,
    [saves, creates, destroys]: &mut [Histogram<u64>; 3],
) -> Duration {
    let mut handle = store.load(hot).expect("the hot session was lost");
    let begin = Instant::now();
    while begin.elapsed() < duration {
        timed(saves, || store.save(&mut handle, Payload::naming(0)));
        let id = timed(creates, || store.create(Payload::naming(0)));
        timed(destroys, || store.destroy(&id));
    }
    begin.elapsed()
}

fn timed<R>(latencies: &mut Histogram<u64>, work: impl FnOnce() -> R) -> R {
    let begin = Instant::now();
    let result = work();
    latencies.saturating_record(begin.elapsed().as_nanos() as u64);
    result
}
