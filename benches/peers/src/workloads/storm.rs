//! All sessions but a few expire at once, while those few are loaded: how long a load takes, and how
//! long the expired ones take up memory. Each latency includes the reading of a clock, some 25 ns.
//!
//! A store whose sessions can have lifetimes of their own gets one moment for all. In the others they
//! expire in the order in which they were created: the storm begins at the first, and purging and the
//! time until 99 % are reclaimed at the last. Nothing is called to clean cloakroom up; for the others
//! it is what their documentation says.

use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Figures;
use crate::peer::{Cleanup, Lifetimes, Payload, Peer, Settings};
use crate::random::Random;
use crate::report::{Column, Unit};

pub const COLUMNS: &[Column] = &[
    Column::new("quiet p50", Unit::Nanos),
    Column::new("quiet p99.99", Unit::Nanos),
    Column::new("storm p50", Unit::Nanos),
    Column::new("storm p99.99", Unit::Nanos),
    Column::new("storm max", Unit::Nanos),
    Column::new("99 % reclaimed", Unit::Seconds),
];

/// Sessions that stay, for each that expires.
const LIVE_SHARE: usize = 100;

/// Loads of live sessions between two of an expired one.
const LIVE_LOADS: usize = 256;

/// Longer than any clock's tick, so that what should have expired has.
const CERTAINLY: Duration = Duration::from_millis(50);

/// Between two looks at how many sessions are stored.
const LOOK: Duration = Duration::from_millis(2);

pub struct StormPlan {
    pub sessions: usize,
    /// From the first create until all expire.
    pub lifetime: Duration,
    pub readers: usize,
}

impl StormPlan {
    pub fn title(&self) -> String {
        let Self { sessions, readers, .. } = self;
        format!("expiry storm, {sessions} sessions, {readers} reading")
    }

    /// How long loads are measured before anything expires.
    fn quiet(&self) -> Duration {
        self.lifetime / 8
    }

    /// How long they are measured after, at least.
    fn window(&self) -> Duration {
        self.lifetime / 4
    }

    /// How long filling may take, and how long 99 % reclaimed is waited for: so short that the live
    /// sessions, which were created just before the storm, outlive both in all stores.
    fn patience(&self) -> Duration {
        self.lifetime * 3 / 8
    }
}

const QUIET: u8 = 0;
const STORM: u8 = 1;
const OVER: u8 = 2;

/// A store in which all but `live` expire from `first` to `last`.
struct Storm<P: Peer> {
    store: P,
    live: Vec<P::Id>,
    /// Some of those that expire.
    doomed: Vec<P::Id>,
    first: Instant,
    last: Instant,
    phase: AtomicU8,
}

/// Sets the phase when it goes, in a panic too, so that readers end.
struct Finally<'a>(&'a AtomicU8);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(OVER, Ordering::Relaxed);
    }
}

/// Returns a histogram of nanoseconds up to minutes, exact to 3 digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000_000, 3).expect("the bounds are valid")
}

pub fn run<P: Peer>(plan: &StormPlan) -> Result<Figures, String> {
    if P::LIFETIMES == Lifetimes::None {
        return Ok(vec![None; COLUMNS.len()]);
    }
    let ([quiet, loud], reclaimed) = Storm::<P>::prepare(plan)?.pass(plan)?;
    let at = |latencies: &Histogram<u64>, q| Some(latencies.value_at_quantile(q) as f64);
    Ok(vec![
        at(&quiet, 0.5),
        at(&quiet, 0.9999),
        at(&loud, 0.5),
        at(&loud, 0.9999),
        Some(loud.max() as f64),
        reclaimed.map(|reclaimed| reclaimed.as_secs_f64()),
    ])
}

fn until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}

impl<P: Peer> Storm<P> {
    fn prepare(plan: &StormPlan) -> Result<Self, String> {
        let own_lifetimes = P::LIFETIMES == Lifetimes::OfSession;
        let mut settings = Settings::lasting(plan.sessions);
        if !own_lifetimes {
            settings.ttl = plan.lifetime;
        }
        let store = P::open(&settings);
        let begin = Instant::now();
        let mut doomed = Vec::new();
        for next in 0..plan.sessions {
            let payload = Payload::naming(next);
            let id = if own_lifetimes {
                store.create_until(payload, begin + plan.lifetime)
            } else {
                store.create(payload)
            };
            if next % LIVE_LOADS == 0 {
                doomed.push(id);
            }
        }
        let spent = begin.elapsed();
        if spent > plan.patience() {
            return Err(format!(
                "{} took {spent:.1?} to fill, so a lifetime of {:?} is too short: give --storm-lifetime more",
                P::NAME,
                plan.lifetime
            ));
        }
        let late = if own_lifetimes { Duration::ZERO } else { spent };
        let first = begin + plan.lifetime;
        // As late as can be, because in some stores they will expire too.
        until(first - plan.quiet() - CERTAINLY);
        let live = (0..(plan.sessions / LIVE_SHARE).max(1))
            .map(|next| store.create(Payload::naming(next)))
            .collect();
        Ok(Self { store, live, doomed, first, last: first + late, phase: AtomicU8::new(QUIET) })
    }

    /// Returns the latencies of loads before and in the storm, and the time until 99 % are reclaimed.
    fn pass(&self, plan: &StormPlan) -> Result<([Histogram<u64>; 2], Option<Duration>), String> {
        thread::scope(|scope| {
            let finally = Finally(&self.phase);
            let read = |reader| scope.spawn(move || self.read(reader));
            let readers: Vec<_> = (0..plan.readers).map(read).collect();
            until(self.first);
            self.phase.store(STORM, Ordering::Relaxed);
            if P::CLEANUP == Cleanup::ByPurge {
                scope.spawn(|| {
                    until(self.last + CERTAINLY);
                    self.store.purge();
                });
            }
            let reclaimed = self.watch(plan);
            drop(finally);
            let mut latencies = [histogram(), histogram()];
            for reader in readers {
                let read = reader.join();
                let read = read.map_err(|_| format!("{}: a reader failed, see above", P::NAME))?;
                for (all, own) in latencies.iter_mut().zip(read) {
                    *all += own;
                }
            }
            Ok((latencies, reclaimed))
        })
    }

    /// Loads until it is over, and returns the latencies before and after the expiry.
    fn read(&self, reader: usize) -> [Histogram<u64>; 2] {
        let mut latencies = [histogram(), histogram()];
        let mut random = Random::new(reader);
        loop {
            let phase = self.phase.load(Ordering::Relaxed);
            if phase == OVER {
                return latencies;
            }
            for _ in 0..LIVE_LOADS {
                let at = random.below(self.live.len());
                let begin = Instant::now();
                let handle = self.store.load(&self.live[at]);
                let spent = begin.elapsed().as_nanos() as u64;
                let named = handle.map(|handle| P::next(&handle));
                assert!(named == Some(at), "a live session was lost");
                latencies[usize::from(phase)].saturating_record(spent);
            }
            if Instant::now() > self.last + CERTAINLY {
                let expired = &self.doomed[random.below(self.doomed.len())];
                let found = self.store.load(expired).is_some();
                assert!(!found, "an expired session was loaded");
            }
        }
    }

    /// Waits for the end of the window, and returns after which time 99 % were reclaimed.
    fn watch(&self, plan: &StormPlan) -> Option<Duration> {
        let few = self.live.len() + plan.sessions / 100;
        let mut reclaimed = None;
        loop {
            thread::sleep(LOOK);
            if P::CLEANUP == Cleanup::ByUseAndPurge {
                self.store.purge();
            }
            // Nothing is counted as reclaimed before everything has expired.
            let spent = self.last.elapsed();
            if reclaimed.is_none() && self.store.stored().is_some_and(|stored| stored <= few) {
                reclaimed = Some(self.last.elapsed());
            }
            let hopeless = P::CLEANUP == Cleanup::Never || self.store.stored().is_none();
            let ended = reclaimed.is_some() || hopeless || spent > plan.patience();
            if spent > plan.window() && ended {
                return reclaimed;
            }
        }
    }
}
