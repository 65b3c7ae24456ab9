//! One shard that everybody reads: writers are not starved, nor are readers, and a destroy holds.

mod stress;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cloakroom::{SessionId, SessionStore};
use dashmap::DashMap;
use stress::rounds;

const READERS: usize = 8;

/// Loads for each write, at the most, on average. On two cores the writer gets a ninth of the time of
/// nine threads, so that 8 loads go by, times what a write costs more; a back-off lets some more
/// through. Without a gate it is hundreds for a save and thousands for a create and its destroy.
const READS_PER_WRITE: u64 = 200;

/// Writes' worth of loads that may go by at once: while the writer is not on a core.
const HEAD_START: u64 = 1_000;

fn assert_shared(reads: u64, writes: u64) {
    let most = (writes + HEAD_START) * READS_PER_WRITE;
    assert!(reads <= most, "{reads} loads went by {writes} writes");
}

/// Readers that loop until they are dropped, and how often they have read.
struct Readers {
    stop: Arc<AtomicBool>,
    reads: Arc<Vec<AtomicU64>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Readers {
    fn start(read: impl Fn() + Send + Sync + Clone + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let reads: Arc<Vec<_>> = Arc::new((0..READERS).map(|_| AtomicU64::new(0)).collect());
        let start = |me: usize| {
            let (stop, reads, read) = (Arc::clone(&stop), Arc::clone(&reads), read.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    read();
                    reads[me].fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let threads = (0..READERS).map(start).collect();
        let readers = Self { stop, reads, threads };
        readers.wait_for_each();
        readers
    }

    fn each(&self) -> Vec<u64> {
        self.reads.iter().map(|reads| reads.load(Ordering::Relaxed)).collect()
    }

    fn total(&self) -> u64 {
        self.each().iter().sum()
    }

    /// Returns when every reader has read once more.
    fn wait_for_each(&self) {
        let before = self.each();
        while self.each().iter().zip(&before).any(|(now, before)| now == before) {
            thread::yield_now();
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// A store and a session that readers keep loading; they see it whole or not at all.
fn hot() -> (SessionStore<[u64; 2]>, SessionId, Readers) {
    let store = SessionStore::<[u64; 2]>::builder().shards(2).build().unwrap();
    let id = *store.create_with([0, 0]).id();
    let theirs = store.clone();
    let readers = Readers::start(move || {
        if let Some(session) = theirs.load(&id) {
            assert_eq!(session[0], session[1]);
        }
    });
    (store, id, readers)
}

#[test]
fn writer_on_a_hot_shard_goes_on_and_so_do_its_readers() {
    let (store, id, readers) = hot();
    let mut session = store.load(&id).unwrap();
    let before = readers.total();
    for n in 1..=rounds(10_000) as u64 {
        *session = [n, n];
        assert!(store.save(&session));
        assert_shared(readers.total() - before, n);
    }
    // A writer that never pauses does not keep the readers out.
    let stop = Arc::new(AtomicBool::new(false));
    let (theirs, stopped) = (store.clone(), Arc::clone(&stop));
    let writer = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            theirs.save(&session);
        }
    });
    (0..5).for_each(|_| readers.wait_for_each());
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

#[test]
fn creates_and_destroys_go_on_while_their_shard_is_read() {
    let (store, id, readers) = hot();
    let before = readers.total();
    for n in 1..=rounds(3_000) as u64 {
        // Half of them fall into the hot shard.
        let session = store.create();
        assert!(store.destroy(session.id()));
        assert!(!store.destroy(session.id()));
        assert_shared(readers.total() - before, n);
    }
    assert!(store.contains(&id));
    assert_eq!(store.len(), 1);
}

#[test]
fn load_that_starts_after_a_destroy_of_a_hot_session_never_sees_it() {
    for _ in 0..rounds(15) {
        let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
        let id = *store.create_with(1).id();
        let gone = Arc::new(AtomicBool::new(false));
        let (theirs, flag) = (store.clone(), Arc::clone(&gone));
        let readers = Readers::start(move || {
            let gone_before = flag.load(Ordering::SeqCst);
            let lives = theirs.load(&id).is_some() || theirs.touch(&id) || theirs.contains(&id);
            assert!(!(gone_before && lives));
        });
        assert!(store.destroy(&id));
        gone.store(true, Ordering::SeqCst);
        readers.wait_for_each();
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that measures")]
fn measure(name: &str, time: Duration, mut write: impl FnMut()) {
    let (mut times, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < time {
        let start = Instant::now();
        write();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let (count, max) = (times.len(), at(100));
    println!("{name:24} {count:9} writes, p50 {:?}, p99 {:?}, max {max:?}", at(50), at(99));
}

/// Prints what writers of a hot shard wait, here and in a plain `DashMap`.
#[test]
#[ignore = "a measurement: run by name, with --release and --nocapture"]
fn hot_shard_measurement() {
    let time = Duration::from_secs(rounds(4) as u64);
    let map = Arc::new(DashMap::<u64, Arc<[u64; 2]>>::with_shard_amount(2));
    map.insert(0, Arc::default());
    let theirs = Arc::clone(&map);
    let readers = Readers::start(move || drop(theirs.get(&0).map(|value| Arc::clone(&value))));
    measure("DashMap insert", time, || drop(map.insert(0, Arc::default())));
    drop(readers);

    let (store, id, readers) = hot();
    let mut session = store.load(&id).unwrap();
    measure("cloakroom save", time, || {
        session[0] = 0;
        assert!(store.save(&session));
    });
    let mut created = Vec::new();
    measure("cloakroom create", time, || created.push(*store.create().id()));
    measure("cloakroom destroy", time, || {
        let id = created.pop().unwrap_or_else(|| *store.create().id());
        assert!(store.destroy(&id));
    });
    drop(readers);
}
