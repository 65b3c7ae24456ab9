//! Two creates in a store that has room for one.

use cloakroom::{Cause, CreateError, ManualClock, OnFull};
use loom::thread;

use crate::setup::{Told, bounded, exhaustive, id, store_with_drawers};

#[test]
fn one_of_two_creates_gets_the_last_place() {
    exhaustive(|| {
        let scripts = [vec![id(0, 0, 1), id(0, 1, 2)], vec![id(1, 0, 3)]];
        let store = store_with_drawers::<u32, 2>(&ManualClock::new(), scripts).max_sessions(2);
        let store = store.on_full(OnFull::Refuse).build().unwrap();
        let first = *store.create().id();

        let other = thread::spawn({
            let store = store.clone();
            move || store.try_create()
        });
        let results = [store.try_create(), other.join().unwrap()];

        let ([Ok(stored), Err(CreateError::AtCapacity { max_sessions: 2 })]
        | [Err(CreateError::AtCapacity { max_sessions: 2 }), Ok(stored)]) = &results
        else {
            panic!("one is stored and one refused: {results:?}");
        };
        assert!(store.contains(&first) && store.contains(stored.id()));
        assert_eq!(store.len(), 2);
        let stats = store.stats();
        assert_eq!((stats.stored, stats.created, stats.creates_refused), (2, 2, 1));
    });
}

#[test]
fn two_creates_for_the_last_place_evict_one() {
    exhaustive(|| {
        let scripts = [vec![id(0, 0, 1), id(0, 1, 2)], vec![id(1, 0, 3)]];
        let told = Told::new();
        let store = store_with_drawers::<u32, 2>(&ManualClock::new(), scripts).max_sessions(2);
        let store = told.listen(store).build().unwrap();
        store.create();

        let other = thread::spawn({
            let store = store.clone();
            move || store.try_create().is_ok()
        });
        assert!(store.try_create().is_ok());
        assert!(other.join().unwrap());

        let mut found = 0;
        store.for_each(|_, _| found += 1);
        assert_eq!((store.len(), found), (2, 2), "each slot is held by a session in the table");
        assert!(matches!(told.ends()[..], [(_, Cause::Evicted, 0)]), "{:?}", told.ends());
    });
}

/// Not explored in full, because a create that finds nothing to evict yet tries again and again.
#[test]
fn two_creates_in_a_full_store_both_find_a_place() {
    bounded(|| {
        let scripts = [vec![id(0, 0, 1), id(0, 1, 2)], vec![id(1, 0, 3)]];
        let told = Told::new();
        let store = store_with_drawers::<u32, 2>(&ManualClock::new(), scripts).max_sessions(1);
        let store = told.listen(store).build().unwrap();
        store.create();

        let other = thread::spawn({
            let store = store.clone();
            move || store.try_create().is_ok()
        });
        assert!(store.try_create().is_ok());
        assert!(other.join().unwrap(), "a slot that was won by an eviction is nobody else's");

        let mut found = 0;
        store.for_each(|_, _| found += 1);
        assert_eq!((store.len(), found), (1, 1));
        assert!(told.ends().iter().all(|(_, cause, _)| *cause == Cause::Evicted));
        assert_eq!(told.ends().len(), 2);
    });
}
