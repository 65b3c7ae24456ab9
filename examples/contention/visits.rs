//! Owns the load: the visitors, what they do on each thread, and for how long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cloakroom::{Session, SessionId};
use crossbeam_utils::CachePadded;
use crossbeam_utils::atomic::AtomicCell;
use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rand_distr::Zipf;

use crate::latency::{Operation, Tally, Timer, now};
use crate::settings::{Payload, Settings, Store};

/// Visits that are chosen at once, and noted down at once: neither belongs into a latency. A visitor
/// who gets a new cookie meanwhile comes with the old one, as a browser with requests under way does.
const BATCH: usize = 64;

/// A visit that is to save loads, finds the session ended when it saves, and creates.
const MAX_LAPS: usize = 3;

/// Sessions made between two looks at whether to go on, while the store is filled.
const FILLED_AT_ONCE: usize = 10_000;

/// Visits that are enough to tell what choosing them costs.
const CHOSEN_TO_TELL: usize = 100 * BATCH;

/// A store and its visitors.
pub(crate) struct Load {
    pub(crate) store: Store,
    /// The id in each visitor's cookie, known to all threads.
    visitors: Vec<AtomicCell<SessionId>>,
    /// How often which visitor comes; `None` if all come the same.
    skew: Option<Zipf<f64>>,
    kinds: Vec<Operation>,
    /// How often which of the kinds is the visit's.
    shares: WeightedIndex<u32>,
    payload: usize,
    /// Operations of all threads so far.
    done: CachePadded<AtomicU64>,
    timed: AtomicBool,
    over: AtomicBool,
}

/// What one visitor is about to do.
struct Visit {
    visitor: usize,
    id: SessionId,
    kind: Operation,
}

/// Operations that were done, and their nanoseconds.
type Laps = Vec<(Operation, u64)>;

impl Load {
    /// Fills a store with the visitors' first sessions, as long as `go_on` says so after each few
    /// thousand.
    pub(crate) fn fill(
        settings: &Settings,
        store: Store,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Option<Self> {
        let sessions = settings.sessions;
        let mut visitors = Vec::with_capacity(sessions);
        while visitors.len() < sessions {
            let more = FILLED_AT_ONCE.min(sessions - visitors.len());
            let create = || *store.create_with(blank(settings.payload)).id();
            visitors.extend((0..more).map(|_| AtomicCell::new(create())));
            if !go_on(visitors.len()) {
                return None;
            }
        }
        let zipf = || Zipf::new(sessions as f64, settings.skew).expect("the flags were checked");
        let (kinds, shares): (_, Vec<_>) = settings.mix.0.iter().copied().unzip();
        Some(Self {
            store,
            visitors,
            skew: (settings.skew > 0.0).then(zipf),
            kinds,
            shares: WeightedIndex::new(shares).expect("the flags were checked"),
            payload: settings.payload,
            done: CachePadded::default(),
            timed: AtomicBool::new(false),
            over: AtomicBool::new(false),
        })
    }

    /// Returns how many operations there were so far, on all threads.
    pub(crate) fn done(&self) -> u64 {
        // Relaxed, here and at the flags below: a count and two signals that guard no other memory.
        self.done.load(Ordering::Relaxed)
    }

    /// Starts a step: what is done from now on is counted, but not timed.
    pub(crate) fn warm_up(&self) {
        self.timed.store(false, Ordering::Relaxed);
        self.over.store(false, Ordering::Relaxed);
    }

    /// From now on, what is done is timed.
    pub(crate) fn measure(&self) {
        self.timed.store(true, Ordering::Relaxed);
    }

    /// Makes every thread stop after the visits it has chosen.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Serves visitors on this thread until the step ends.
    pub(crate) fn run(&self, seed: u64) -> Tally {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut tally = Tally::new();
        let mut visits = Vec::with_capacity(BATCH);
        let mut laps = Vec::with_capacity(MAX_LAPS * BATCH);
        while !self.over.load(Ordering::Relaxed) {
            let timed = self.timed.load(Ordering::Relaxed);
            visits.extend((0..BATCH).map(|_| self.choose(&mut rng)));
            let mut timer = Timer::start();
            for visit in visits.drain(..) {
                self.serve(&visit, &mut timer, &mut laps);
            }
            self.done.fetch_add(laps.len() as u64, Ordering::Relaxed);
            for (operation, nanos) in laps.drain(..) {
                if timed {
                    tally.time(operation, nanos);
                } else {
                    tally.count_only(operation);
                }
            }
        }
        tally
    }

    /// Returns what a visit takes that does nothing with the store, in nanoseconds: the choice of it,
    /// a reading of the clock, and a note. The best of a few, of which the first fill the caches.
    pub(crate) fn own_part(&self) -> f64 {
        let (mut rng, mut tally) = (SmallRng::seed_from_u64(0), Tally::new());
        let mut round = || {
            let (mut timer, start) = (Timer::start(), now());
            for _ in 0..CHOSEN_TO_TELL {
                let visit = std::hint::black_box(self.choose(&mut rng));
                tally.time(visit.kind, timer.lap());
            }
            start.elapsed().as_nanos() as f64 / CHOSEN_TO_TELL as f64
        };
        (0..8).map(|_| round()).fold(f64::MAX, f64::min)
    }

    fn choose(&self, rng: &mut SmallRng) -> Visit {
        let visitor = match &self.skew {
            // Ranks begin with 1.
            Some(zipf) => (rng.sample(zipf) as usize - 1).min(self.visitors.len() - 1),
            None => rng.random_range(0..self.visitors.len()),
        };
        let kind = self.kinds[self.shares.sample(rng)];
        Visit { visitor, id: self.visitors[visitor].load(), kind }
    }

    fn serve(&self, visit: &Visit, timer: &mut Timer, laps: &mut Laps) {
        let (store, id) = (&self.store, &visit.id);
        let mut loaded = || {
            let session = store.load(id)?;
            laps.push((Operation::Load, timer.lap()));
            Some(session)
        };
        let mut cookie = None;
        let served = match visit.kind {
            Operation::Load => store.load(id).is_some(),
            Operation::Save => loaded().is_some_and(|session| self.save(session)),
            Operation::Update => store.update(id, change).is_some(),
            Operation::Touch => store.touch(id),
            Operation::Destroy => store.destroy(id),
            Operation::Rotate => loaded().is_some_and(|mut session| {
                let rotated = store.rotate(&mut session);
                cookie = rotated.then_some(*session.id());
                rotated
            }),
            Operation::Create | Operation::Ended => {
                return self.welcome(visit.visitor, timer, laps);
            }
        };
        laps.push((if served { visit.kind } else { Operation::Ended }, timer.lap()));
        if !served {
            self.welcome(visit.visitor, timer, laps);
        } else if let Some(id) = cookie {
            self.give(visit.visitor, id, timer);
        }
    }

    fn save(&self, mut session: Session<Payload>) -> bool {
        change(&mut session);
        self.store.save(&session)
    }

    /// Gives a visitor a new session. The one before, if it is live, is left to expire.
    fn welcome(&self, visitor: usize, timer: &mut Timer, laps: &mut Laps) {
        let session = self.store.create_with(blank(self.payload));
        laps.push((Operation::Create, timer.lap()));
        let id = *session.id();
        drop(session);
        self.give(visitor, id, timer);
    }

    /// Gives a visitor a cookie, which is no part of any latency.
    fn give(&self, visitor: usize, id: SessionId, timer: &mut Timer) {
        self.visitors[visitor].store(id);
        timer.lap();
    }
}

fn blank(bytes: usize) -> Payload {
    vec![0; bytes].into_boxed_slice()
}

fn change(data: &mut Payload) {
    if let Some(byte) = data.first_mut() {
        *byte = byte.wrapping_add(1);
    }
}
