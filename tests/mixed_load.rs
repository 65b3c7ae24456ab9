//! All operations at once from several threads, for ThreadSanitizer to watch: `ci/sanitize tsan`.
//!
//! No locks of the standard library here, and no scoped threads: the sanitizer does not see into
//! either. What each thread learned comes back when it is joined.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use cloakroom::{ManualClock, Session, SessionId, SessionStore};

const THREADS: u64 = 4;

/// Ids that all threads use. More than the bound below, so that there are evictions.
const IDS: usize = 24;

const BOUND: usize = 16;

/// Turns of each thread if `CLOAKROOM_STRESS_TURNS` does not say: some seconds under the sanitizer.
const DEFAULT_TURNS: u64 = 50_000;

/// A counter that says, besides, that nobody has torn it.
#[derive(Clone, Debug, Default)]
struct Count {
    count: u64,
    inverse: Box<u64>,
}

impl Count {
    fn of(count: u64) -> Self {
        Self { count, inverse: Box::new(!count) }
    }

    fn check(&self) -> u64 {
        assert_eq!(self.count, !*self.inverse, "a value was torn");
        self.count
    }
}

struct Actor {
    store: SessionStore<Count>,
    clock: ManualClock,
    random: u64,
    /// A session in a store where none ends, and how often this thread has added one to it.
    steady: Session<Count>,
    steady_store: SessionStore<Count>,
    added: u64,
    held: Option<Session<Count>>,
}

impl Actor {
    fn draw(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 33) as usize % below
    }

    fn turn(&mut self) {
        let id = id(self.draw(IDS));
        match self.draw(20) {
            0..3 => self.held = self.store.try_create_with_id(&id, Count::of(1)).ok(),
            3..6 => self.held = self.store.load(&id),
            6..8 => drop(self.store.peek(&id).map(|seen| seen.check())),
            8 => drop(self.store.touch(&id)),
            9 => drop(self.store.contains(&id) || self.store.expires_in(&id).is_some()),
            10..12 => self.save(),
            12..14 => drop(self.store.update(&id, |held| *held = Count::of(held.check() + 1))),
            14 => drop(self.store.destroy(&id)),
            15 => drop(self.held.as_mut().map(|held| self.store.rotate(held))),
            16 => self.add_one(),
            17 => drop(self.store.create_with(Count::of(7))),
            18 => self.walk(&id),
            _ => self.clock.advance(Duration::from_millis(250)),
        }
    }

    fn save(&mut self) {
        let Some(held) = &mut self.held else { return };
        **held = Count::of(held.check() + 1);
        if held.count % 2 == 0 {
            self.store.save(held);
        } else {
            let _ = self.store.try_save(held);
        }
    }

    fn add_one(&mut self) {
        let add = |held: &mut Count| *held = Count::of(held.check() + 1);
        self.steady_store.update(self.steady.id(), add).expect("it never ends");
        self.added += 1;
    }

    fn walk(&mut self, id: &SessionId) {
        match self.draw(8) {
            0 => self.store.for_each(|_, held| assert!(held.check() > 0)),
            1 => drop(self.store.retain(|_, held| held.check() % 16 != 15)),
            2 => drop(self.store.purge_expired()),
            3 => drop(self.store.set_expiry(id, Duration::from_secs(3))),
            _ => assert!(self.store.len() <= BOUND && self.store.stats().live <= BOUND as u64),
        }
    }
}

fn id(number: usize) -> SessionId {
    SessionId::parse(&format!("mixed-load-session{number:03}A")).unwrap()
}

#[test]
#[ignore = "a stress: run by name, see ci/sanitize"]
fn all_operations_at_once_leave_the_store_whole() {
    let turns = std::env::var("CLOAKROOM_STRESS_TURNS").ok();
    let turns = turns.map_or(DEFAULT_TURNS, |text| text.parse().expect("a number of turns"));
    let ended = Arc::new(AtomicU64::new(0));
    let heard = Arc::clone(&ended);
    let clock = ManualClock::new();
    let store = SessionStore::<Count>::builder()
        .shards(2)
        .sweep_budget(4)
        .max_sessions(BOUND)
        .idle_timeout(Duration::from_secs(5))
        .clock(clock.clone())
        .on_end(move |end| {
            end.data.check();
            // Relaxed: read after all threads are joined.
            heard.fetch_add(1, Ordering::Relaxed);
        })
        .build()
        .unwrap();
    run(&store, &clock, turns);

    store.for_each(|_, held| assert!(held.check() > 0));
    assert!(store.len() <= BOUND);
    store.clear();
    assert_eq!(store.len(), 0);
    // Every session that began has ended, once; a rotation ends one id and begins another.
    let stats = store.stats();
    assert_eq!(ended.load(Ordering::Relaxed), stats.created + stats.rotated);
    assert_eq!(stats.panics, 0);
}

/// Runs all threads to their end. No update of the session that never ends may be lost.
fn run(store: &SessionStore<Count>, clock: &ManualClock, turns: u64) {
    let steady_store = SessionStore::<Count>::builder().shards(2).build().unwrap();
    let steady = steady_store.create_with(Count::of(0));
    let actor = |number: u64| Actor {
        store: store.clone(),
        clock: clock.clone(),
        random: 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(number + 1),
        steady: steady.clone(),
        steady_store: steady_store.clone(),
        added: 0,
        held: None,
    };
    let spawn = |mut actor: Actor| {
        thread::spawn(move || {
            (0..turns).for_each(|_| actor.turn());
            actor.added
        })
    };
    let threads: Vec<_> = (0..THREADS).map(|number| spawn(actor(number))).collect();
    let added: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(steady_store.peek(steady.id()).map(|held| held.check()), Some(added));
}
