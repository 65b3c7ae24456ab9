//! A panic in the `Drop` of a value that the store lets go of reaches nobody.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use cloakroom::{SaveError, SessionStore};

/// Whether bombs go off. The tests take turns, because it is one for all.
static ARMED: AtomicBool = AtomicBool::new(false);
static TURN: Mutex<()> = Mutex::new(());

#[derive(Clone)]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!ARMED.load(Ordering::SeqCst), "a bomb went off");
    }
}

/// Runs with bombs that go off once `arm` is called, and says whether a panic came out. What is returned is
/// dropped when they are harmless again, and before the next test's turn.
fn is_contained<R>(run: impl FnOnce(fn()) -> R) -> bool {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let ended = catch_unwind(AssertUnwindSafe(|| run(|| ARMED.store(true, Ordering::SeqCst))));
    ARMED.store(false, Ordering::SeqCst);
    ended.is_ok()
}

fn store_of(bombs: usize) -> SessionStore<Bomb> {
    let store = SessionStore::builder().shards(2).build().unwrap();
    (0..bombs).for_each(|_| drop(store.create_with(Bomb)));
    store
}

#[test]
fn store_full_of_bombs_is_dropped_without_a_panic() {
    assert!(is_contained(|arm| {
        let store = store_of(100);
        arm();
        drop(store);
    }));
}

#[test]
fn walk_goes_on_when_what_another_let_go_panics() {
    let (mut seen, mut panics) = (0, 0);
    assert!(is_contained(|arm| {
        let store = store_of(10);
        store.for_each(|id, _| {
            seen += 1;
            store.destroy(id);
            arm();
        });
        panics = store.stats().panics;
    }));
    assert_eq!((seen, panics), (10, 10));
}

#[test]
fn retain_goes_on_when_what_it_judged_is_gone_and_panics() {
    let mut judged = 0;
    assert!(is_contained(|arm| {
        let store = store_of(10);
        let removed = store.retain(|id, _| {
            judged += 1;
            store.destroy(id);
            arm();
            false
        });
        assert_eq!(removed, 0);
    }));
    assert_eq!(judged, 10);
}

#[test]
fn retain_asks_again_although_what_it_judged_panics() {
    let mut judged = 0;
    assert!(is_contained(|arm| {
        let store = store_of(1);
        let removed = store.retain(|id, _| {
            judged += 1;
            if judged == 1 {
                assert!(store.update(id, |_| ()).is_some());
                arm();
            }
            judged > 1
        });
        assert_eq!((removed, store.len(), store.stats().panics), (0, 1, 1));
    }));
    assert_eq!(judged, 2);
}

#[test]
fn update_is_stored_although_what_it_read_panics() {
    assert!(is_contained(|arm| {
        let store = store_of(0);
        let id = *store.create_with(Bomb).id();
        assert!(store.update(&id, |_| arm()).is_some());
        assert_eq!(store.stats().panics, 1);
        assert!(store.contains(&id));
    }));
}

#[test]
fn save_that_is_refused_lets_go_of_the_copy_it_made() {
    assert!(is_contained(|arm| {
        let store = store_of(0);
        let mut session = store.create_with(Bomb);
        assert!(store.destroy(session.id()));
        arm();
        assert!(!store.save(&session));
        assert_eq!(store.try_save(&mut session), Err(SaveError::Gone));
        assert_eq!(store.stats().panics, 2);
        session
    }));
}

/// The last end of a chain that was too long for one delivery waits for the next, which never comes.
#[test]
fn store_is_dropped_without_a_panic_although_an_end_still_waits() {
    let told = Arc::new(AtomicUsize::new(0));
    assert!(is_contained(|arm| {
        let chain = Arc::new(Mutex::new((None::<SessionStore<Bomb>>, Vec::new())));
        let (next, count) = (Arc::clone(&chain), Arc::clone(&told));
        let store = SessionStore::builder().shards(2).on_end(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            let mut chain = next.lock().unwrap();
            let (store, id) = (chain.0.clone(), chain.1.pop());
            drop(chain);
            store.zip(id).into_iter().for_each(|(store, id)| assert!(store.destroy(&id)));
        });
        let store = store.build().unwrap();
        let ids: Vec<_> = (0..1026).map(|_| *store.create_with(Bomb).id()).collect();
        *chain.lock().unwrap() = (Some(store.clone()), ids[1..].to_vec());
        assert!(store.destroy(&ids[0]));
        assert_eq!((store.len(), told.load(Ordering::SeqCst)), (0, 1025));
        chain.lock().unwrap().0 = None;
        arm();
        drop(store);
    }));
    assert_eq!(told.load(Ordering::SeqCst), 1026);
}
