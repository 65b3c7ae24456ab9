//! Hours in short: memory after a long mixed load and after a flood. `ci/soak` runs these by name.
#![allow(unsafe_code, reason = "a global allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cloakroom::{Builder, IdSource, ManualClock, SessionStore, Subject};

/// Bytes that the process holds.
static HELD: AtomicI64 = AtomicI64::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator with the caller's own arguments; counting touches
// one atomic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps `dealloc`'s contract, and `memory` came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BOUND: usize = 50_000;
const THREADS: usize = 4;

/// From one sample to the next.
const TICK: Duration = Duration::from_millis(100);

/// What a thread, a harness and a clock may keep, in bytes.
const SLACK: i64 = 64 * 1024;

fn builder(clock: &ManualClock) -> Builder<Vec<u8>> {
    let builder = SessionStore::builder().idle_timeout(Duration::from_secs(60));
    builder.max_sessions(BOUND).clock(clock.clone()).id_source(IdSource::Buffered)
}

/// Everything that is done to a session, some sessions left to expire and some to be evicted.
fn live_once(store: &SessionStore<Vec<u8>>, turn: usize) {
    let mut session = store.create_with(vec![0; turn % 200]);
    session.push(1);
    store.save(&session);
    store.update(session.id(), |bytes| bytes.push(2));
    if turn % 2 == 0 {
        store.rotate(&mut session);
    }
    store.load(session.id());
    if turn % 3 == 0 {
        store.destroy(session.id());
    }
}

fn resident_kib() -> u64 {
    let status =
        std::fs::read_to_string("/proc/self/status").expect("Linux tells a process of itself");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS is there");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("it is a number")
}

#[test]
#[ignore = "takes CLOAKROOM_SOAK_SECONDS; run by ci/soak"]
#[expect(clippy::disallowed_methods, reason = "a soak lasts for a time")]
fn memory_does_not_grow_in_a_soak_and_returns_after_it() {
    let seconds = std::env::var("CLOAKROOM_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(10));
    let clock = ManualClock::new();
    let store = builder(&clock).build().unwrap();
    live_once(&store, 0);
    store.clear();
    // Room for all samples from the start: they are no growth of the store.
    let room = length.as_millis() as usize / TICK.as_millis() as usize + 1;
    let [mut resident, mut held] = [(); 2].map(|()| Vec::with_capacity(room));
    let baseline = HELD.load(Ordering::SeqCst);
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (store, stop) = (store.clone(), Arc::clone(&stop));
            thread::spawn(move || {
                let turns = (0..).take_while(|_| !stop.load(Ordering::Relaxed));
                turns.for_each(|turn| live_once(&store, turn));
            })
        })
        .collect();
    let begin = Instant::now();
    while begin.elapsed() < length {
        thread::park_timeout(TICK);
        clock.advance(Duration::from_secs(1));
        resident.push(resident_kib());
        held.push((HELD.load(Ordering::Relaxed) - baseline) as u64 / 1024);
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    store.clear();
    let left = HELD.load(Ordering::SeqCst) - baseline;
    let [of_process, of_store] = [&resident, &held].map(|samples| {
        let quarter = samples.len() / 4;
        let most = |samples: &[u64]| samples.iter().copied().max().unwrap_or(0);
        [most(&samples[quarter..2 * quarter]), most(&samples[3 * quarter..])]
    });
    println!(
        "most KiB in the second and the last quarter: resident {of_process:?}, allocated {of_store:?}; \
         {left} bytes are left"
    );
    assert!(left <= SLACK, "{left} bytes are left after a clear");
    let grows = |[early, late]: [u64; 2], percent: u64| late * 100 > early * (100 + percent);
    // What is alive differs by a hundredth from one moment to the next.
    assert!(!grows(of_store, 2), "from {of_store:?} KiB allocated");
    // The system's allocator goes on for long to find the size it needs for what comes and goes.
    assert!(!grows(of_process, 10), "from {of_process:?} KiB resident");
}

/// Creates ten million sessions, and returns the most bytes that were held meanwhile beyond `empty`.
fn flood(store: &SessionStore<Vec<u8>>, empty: i64) -> i64 {
    let mut most = 0;
    for n in 0..10_000_000_u32 {
        store.create_with(vec![0; 100]);
        if n % 1000 == 0 {
            most = most.max(HELD.load(Ordering::SeqCst) - empty);
            assert!(store.len() <= BOUND);
        }
    }
    most
}

#[test]
#[ignore = "creates ten million sessions; run by ci/soak"]
fn flood_at_the_bound_stays_within_its_memory() {
    let store = builder(&ManualClock::new()).build().unwrap();
    let empty = HELD.load(Ordering::SeqCst);
    (0..BOUND).for_each(|_| _ = store.create_with(vec![0; 100]));
    let full = HELD.load(Ordering::SeqCst) - empty;
    let most = flood(&store, empty);
    println!("{full} bytes when the store was full, {most} at the most");
    assert!(most * 10 <= full * 11, "from {full} to {most} bytes");
}

/// Guests may use all free room and give it back; whoever has signed in stays.
#[test]
#[ignore = "creates ten million sessions; run by ci/soak"]
fn flood_of_guests_signs_nobody_out_and_stays_within_its_memory() {
    let empty = HELD.load(Ordering::SeqCst);
    let builder = builder(&ManualClock::new());
    let store = builder.index_by(|data| (data[0] != 0).then(|| Subject::from(data[1]))).build();
    let store = store.unwrap();
    let create = |user: u8| *store.create_with(vec![user; 100]).id();
    let users: Vec<_> = (0..BOUND / 2).map(|n| create((n % 200) as u8 + 1)).collect();
    (users.len()..BOUND).for_each(|_| _ = create(0));
    let full = HELD.load(Ordering::SeqCst) - empty;
    let most = flood(&store, empty);
    println!("{full} bytes when the store was full, {most} at the most");
    assert!(most * 10 <= full * 11, "from {full} to {most} bytes");
    let signed_in = || (1..=200_u8).map(|user| store.count_of(user)).sum::<usize>();
    assert!(users.iter().all(|id| store.contains(id)));
    assert_eq!(signed_in(), users.len());
    // Those who sign in may take all of the guests' room, and then there is none for a guest.
    (users.len()..BOUND).for_each(|_| _ = create(7));
    assert_eq!(store.stats().creates_refused, 0);
    (0..100_000).for_each(|_| _ = create(0));
    assert_eq!((store.stats().creates_refused, signed_in()), (100_000, BOUND));
}
