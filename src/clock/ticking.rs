//! Owns the clock that a thread of its own moves on, so that a load need not ask the system.
//!
//! The thread is the only one that this crate ever starts, and only for who asks for it.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::{Tick, system};
use crate::sync::{AtomicU64, Ordering};

/// Between two readings of the system's clock: no longer than the kernel's own tick, 1 to 10 ms.
const PERIOD: Duration = Duration::from_millis(1);

/// The thread's name: 15 characters, the most that Linux shows.
const NAME: &str = "cloakroom-clock";

/// The time as the thread last read it.
#[derive(Clone, Debug)]
pub(super) struct Ticking(Arc<AtomicU64>);

impl Ticking {
    /// Starts the thread. It ends within a period after the last clone of this clock is gone.
    pub(super) fn start() -> io::Result<Self> {
        let word = Arc::new(AtomicU64::new(system::now()));
        let shown = Arc::downgrade(&word);
        thread::Builder::new().name(NAME.into()).spawn(move || tick(&shown))?;
        Ok(Self(word))
    }

    /// Returns the time as it was up to a period ago.
    #[inline]
    pub(super) fn last(&self) -> Tick {
        // Relaxed: the word stands alone.
        self.0.load(Ordering::Relaxed)
    }

    /// Reads the system's clock, and shows that to those who only look.
    pub(super) fn now(&self) -> Tick {
        let seen = self.last();
        let now = system::now();
        self.move_on(seen, now);
        now
    }

    /// Shows a reading, unless another has shown a later one since the word was `seen`.
    #[inline]
    fn move_on(&self, seen: Tick, now: Tick) {
        // Relaxed: see `last`. Written only when it moves: all threads read the word.
        if seen < now {
            self.0.fetch_max(now, Ordering::Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one thread that waits for time to pass")]
fn tick(shown: &Weak<AtomicU64>) {
    while let Some(word) = shown.upgrade() {
        Ticking(word).now();
        thread::sleep(PERIOD);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::{Clock, Source};
    use super::*;
    use crate::id::SessionId;
    use crate::session::Session;
    use crate::store::SessionStore;

    fn threads_alive() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.trim_end() == NAME).count()
    }

    #[test]
    fn ticking_clock_moves_on_and_its_thread_ends_with_it() {
        let clock = Ticking::start().unwrap();
        let begin = clock.last();
        while clock.last() == begin {
            thread::yield_now();
        }
        assert!(clock.last() > begin && clock.last() <= system::now());
        assert_eq!(threads_alive(), 1);
        drop(clock.clone());
        let still = clock.last();
        while clock.last() == still {
            thread::yield_now();
        }
        drop(clock);
        while threads_alive() > 0 {
            thread::yield_now();
        }
    }

    /// A store whose clock has no thread, with a session that has expired since the clock was moved on.
    fn store_that_is_late() -> (SessionStore<u64>, SessionId) {
        let clock = Clock(Source::Ticking(Ticking(Arc::new(AtomicU64::new(0)))));
        let builder = SessionStore::<u64>::builder().ttl(Duration::from_nanos(1)).shards(2);
        let store = builder.clock(clock.clone()).build().unwrap();
        let id = *store.create_with(1).id();
        while system::now() == clock.glance() {
            thread::yield_now();
        }
        (store, id)
    }

    #[test]
    fn only_load_and_peek_trust_the_word() {
        type Operation = fn(&SessionStore<u64>, &SessionId, &mut Session<u64>) -> bool;
        let operations: [(&str, Operation); 8] = [
            ("contains", |store, id, _| store.contains(id)),
            ("touch", |store, id, _| store.touch(id)),
            ("expires_in", |store, id, _| store.expires_in(id).is_some()),
            ("update", |store, id, _| store.update(id, |_| ()).is_some()),
            ("save", |store, _, session| store.save(session)),
            ("set_expiry", |store, id, _| store.set_expiry(id, Duration::MAX)),
            ("rotate", |store, _, session| store.rotate(session)),
            ("destroy", |store, id, _| store.destroy(id)),
        ];
        for (name, operation) in operations {
            let (store, id) = store_that_is_late();
            let mut session = store.load(&id).expect("a load looks at the word");
            assert!(store.peek(&id).is_some());
            assert!(!operation(&store, &id, &mut session), "{name} went by the word");
            assert!(store.load(&id).is_none(), "{name} has not moved the word on");
        }
    }

    #[test]
    fn ticking_clock_without_its_thread_is_moved_on_by_who_reads_the_time() {
        let clock = Ticking(Arc::new(AtomicU64::new(0)));
        assert_eq!(clock.last(), 0);
        let now = clock.now();
        assert!(now > 0 && clock.last() == now);
    }

    #[test]
    fn late_reader_does_not_move_the_ticking_clock_back() {
        let clock = Ticking(Arc::new(AtomicU64::new(1)));
        let seen = clock.last();
        // Another has come and gone between this reader's look at the system's clock and its word on it.
        clock.move_on(seen, 3);
        clock.move_on(seen, 2);
        assert_eq!(clock.last(), 3);
    }
}
