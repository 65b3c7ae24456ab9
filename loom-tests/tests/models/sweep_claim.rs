//! The claim to run a slice of the sweep.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use cloakroom::{ManualClock, SessionStore};
use loom::thread;

use crate::setup::{exhaustive, faulty_id, id, seconds, settle, store};

/// Whether the operation got through, or met the fault in its slice.
fn use_store(store: &SessionStore<u32>, session: &cloakroom::SessionId) -> bool {
    catch_unwind(AssertUnwindSafe(|| store.contains(session))).is_ok()
}

/// The slice that gets the claim looks at all shards in one go. What is dead is in shards 2 and 3; the
/// operations themselves are on shards 0 and 1, so that no lock but the claim is between them.
#[test]
fn one_thread_at_a_time_runs_a_slice() {
    exhaustive(|| {
        let clock = ManualClock::new();
        let sweepers = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&sweepers);
        let ids = [id(2, 0, 1), id(3, 0, 2), id(0, 0, 3), id(1, 0, 4)];
        let store = store::<u32>(&clock, ids).shards(4).sweep_budget(16).ttl(seconds(10));
        let store = store.on_end(move |_| heard.lock().unwrap().push(thread::current().id()));
        let store = store.build().unwrap();
        store.create();
        store.create();
        clock.advance(seconds(5));
        let live = [*store.create().id(), *store.create().id()];
        settle(&store, &live[0]);
        assert_eq!(store.len(), 4);
        clock.advance(seconds(5));

        let other = thread::spawn({
            let store = store.clone();
            move || store.contains(&live[1])
        });
        assert!(store.contains(&live[0]));
        assert!(other.join().unwrap());

        let sweepers = sweepers.lock().unwrap();
        assert!(sweepers.windows(2).all(|two| two[0] == two[1]), "one slice took both");
    });
}

#[test]
fn claim_is_given_back_by_a_slice_that_panics() {
    exhaustive(|| {
        let clock = ManualClock::new();
        let ids = [faulty_id(0, 0), id(1, 0, 1)];
        let store = store::<u32>(&clock, ids).sweep_budget(1).ttl(seconds(100)).build().unwrap();
        store.create();
        clock.advance(seconds(50));
        let live = *store.create().id();
        clock.advance(seconds(50));

        let other = thread::spawn({
            let store = store.clone();
            move || use_store(&store, &live)
        });
        use_store(&store, &live);
        other.join().unwrap();

        for _ in 0..16 {
            clock.advance(seconds(1));
            use_store(&store, &live);
        }
        assert_eq!(store.len(), 1, "the sweep went on after the fault");
        assert!(store.contains(&live));
    });
}
