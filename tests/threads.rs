//! Threads as they come and go: more than there are counters for, and what one does while it ends.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use cloakroom::{IdSource, ManualClock, SessionStore};

/// More than have counters of their own.
const CROWD: u64 = 100;

/// Runs a closure when the thread ends.
struct AtExit(Option<Box<dyn FnOnce()>>);

impl Drop for AtExit {
    fn drop(&mut self) {
        if let Some(action) = self.0.take() {
            action();
        }
    }
}

thread_local! {
    static AT_EXIT: RefCell<Option<AtExit>> = const { RefCell::new(None) };
}

/// Runs `work` in a thread, and `last` when the thread has lost whatever `work` made it keep.
fn run(
    work: impl FnOnce() + Send + 'static,
    last: impl FnOnce() + Send + 'static,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        // The first to be made is the last to be dropped.
        AT_EXIT.set(Some(AtExit(Some(Box::new(last)))));
        work();
    })
}

/// Keeps the other tests from taking part in who has which counters.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn miss(store: &SessionStore<u64>, times: u64) {
    (0..times).for_each(|_| assert!(store.load("unknown").is_none()));
}

#[test]
fn every_count_of_a_crowd_of_threads_is_kept() {
    const EACH: u64 = 20_000;
    let _alone = alone();
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    let together = Arc::new(Barrier::new(CROWD as usize));
    let threads: Vec<_> = (0..CROWD)
        .map(|_| {
            let (store, together) = (store.clone(), Arc::clone(&together));
            thread::spawn(move || {
                miss(&store, 1);
                // By now each has the counters it will have.
                together.wait();
                miss(&store, EACH);
                together.wait();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(store.stats().missed, CROWD * (EACH + 1));
}

/// Most threads come to read without locks as time goes on, those beyond the counters never do, and writers come in
/// between.
#[test]
fn no_thread_of_a_crowd_reads_what_is_older_than_what_it_has_read() {
    const READS: u64 = 3_000;
    const UPDATES: u64 = 300;
    let _alone = alone();
    let clock = ManualClock::new();
    let store = SessionStore::<u64>::builder().shards(2).clock(clock.clone()).build().unwrap();
    let id = *store.create().id();
    let together = Arc::new(Barrier::new(CROWD as usize + 1));
    let readers: Vec<_> = (0..CROWD)
        .map(|_| {
            let (store, clock, together) = (store.clone(), clock.clone(), Arc::clone(&together));
            thread::spawn(move || {
                let mut last = *store.load(&id).unwrap();
                together.wait();
                for read in 0..READS {
                    let now = *store.load(&id).unwrap();
                    assert!(now >= last, "{now} after {last}");
                    last = now;
                    if read % 100 == 0 {
                        clock.advance(Duration::from_millis(4));
                    }
                }
            })
        })
        .collect();
    together.wait();
    for before in 0..UPDATES {
        assert_eq!(store.update(&id, |data| std::mem::replace(data, before + 1)), Some(before));
        thread::yield_now();
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert_eq!(*store.load(&id).unwrap(), UPDATES);
    assert_eq!(store.stats().loaded, CROWD * (READS + 1) + 1);
}

/// Its counters may belong to another thread by then.
#[test]
fn thread_that_counts_while_it_ends_takes_no_count_from_another() {
    const EACH: u64 = 1_000_000;
    let _alone = alone();
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    let meet = Arc::new(Barrier::new(2));
    let (work, last, ending) = (store.clone(), store.clone(), Arc::clone(&meet));
    let ends = run(
        move || miss(&work, 1),
        move || {
            ending.wait();
            ending.wait();
            miss(&last, EACH);
        },
    );
    meet.wait();
    // Is given what the other has given back.
    let (work, beginning) = (store.clone(), Arc::clone(&meet));
    let begins = thread::spawn(move || {
        miss(&work, 1);
        beginning.wait();
        miss(&work, EACH);
    });
    ends.join().unwrap();
    begins.join().unwrap();
    assert_eq!(store.stats().missed, 2 * (1 + EACH));
}

#[test]
fn every_operation_works_in_a_thread_that_ends() {
    let _alone = alone();
    let heard = Arc::new(AtomicU64::new(0));
    let listener = Arc::clone(&heard);
    let store = SessionStore::<String>::builder()
        .shards(2)
        .id_source(IdSource::Buffered)
        .on_end(move |_| {
            listener.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let all = |store: &SessionStore<String>| {
        let mut session = store.create_with(String::from("data"));
        session.push('!');
        assert!(store.save(&session) && store.rotate(&mut session));
        assert!(store.update(session.id(), |text| text.push('!')).is_some());
        let mut shown = 0;
        store.for_each(|id, _| {
            assert!(store.rotate(&mut store.load(id).unwrap()));
            shown += 1;
            assert!(shown < 100, "the walk meets what it has rotated");
        });
        assert_eq!(store.retain(|_, text| text != "data!!"), 1);
        assert!(store.destroy(store.create().id()));
        store.create();
        store.clear();
        assert!(store.is_empty());
    };
    let (work, last) = (store.clone(), store.clone());
    run(move || all(&work), move || all(&last)).join().unwrap();
    // A walk may show what its closure has rotated again.
    let stats = store.stats();
    assert_eq!((stats.created, stats.destroyed, stats.cleared), (6, 4, 2));
    assert!(stats.rotated >= 4);
    assert_eq!(heard.load(Ordering::SeqCst), stats.rotated + 6);
}

#[test]
fn listener_that_ends_a_session_for_each_end_does_not_overflow_in_a_thread_that_ends() {
    let _alone = alone();
    // The listener uses the store it belongs to: a cell that each owns would keep both for ever.
    static STORE: OnceLock<SessionStore<u64>> = OnceLock::new();
    let heard = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&heard);
    let store = SessionStore::<u64>::builder().shards(2).on_end(move |_| {
        // Deep enough for any stack, if each were told inside the one before.
        if let (0..500_000, Some(store)) = (count.fetch_add(1, Ordering::SeqCst), STORE.get()) {
            store.destroy(store.create().id());
        }
    });
    let store = STORE.get_or_init(|| store.build().unwrap()).clone();
    let (work, last) = (store.clone(), store.clone());
    run(
        // The first end has another, which has another; a delivery hands on so many and no more.
        move || assert!(work.destroy(work.create().id())),
        move || assert!(last.destroy(last.create().id())),
    )
    .join()
    .unwrap();
    assert!((100..100_000).contains(&heard.load(Ordering::SeqCst)));
}
