//! A rotation from one shard to another, against those who know the old id or both.

use cloakroom::{Cause, ManualClock};
use loom::thread;

use crate::setup::{Told, bounded, exhaustive, id, known_id, store, store_with_drawers};

#[test]
fn exactly_one_of_the_two_ids_is_live_at_any_instant() {
    exhaustive(|| {
        let (old, new) = (id(0, 0, 1), id(1, 0, 2));
        let scripts = [vec![new, old], vec![new]];
        let store = store_with_drawers::<u32, 2>(&ManualClock::new(), scripts).build().unwrap();
        let new = known_id(&store);
        let mut session = store.create();
        let old = *session.id();

        let rotator = thread::spawn({
            let store = store.clone();
            move || {
                assert!(store.rotate(&mut session));
                assert_eq!(*session.id(), new);
            }
        });
        let before = store.contains(&old);
        let moved = store.contains(&new);
        let after = store.contains(&old);
        assert!(before || moved, "the old id was dead, so the new one lives");
        assert!(!(moved && after), "the new id lived, so the old one is dead");
        rotator.join().unwrap();

        assert!(store.contains(&new) && !store.contains(&old));
        assert_eq!(store.len(), 1);
    });
}

#[test]
fn destroy_of_the_old_id_ends_the_session_or_comes_too_late() {
    bounded(|| {
        let told = Told::new();
        let (old, new) = (id(0, 0, 1), id(1, 0, 2));
        let store = store::<u32>(&ManualClock::new(), [new, old, new]);
        let store = told.listen(store).build().unwrap();
        let new = known_id(&store);
        told.clear();
        let mut session = store.create_with(7);
        let old = *session.id();

        let destroyer = thread::spawn({
            let store = store.clone();
            move || store.destroy(&old)
        });
        let loader = thread::spawn({
            let store = store.clone();
            move || store.load(&old).is_none_or(|loaded| *loaded == 7)
        });
        let rotated = store.rotate(&mut session);
        assert!(loader.join().unwrap());
        let destroyed = destroyer.join().unwrap();

        assert!(rotated ^ destroyed, "one of them had it: {rotated}, {destroyed}");
        assert!(!store.contains(&old));
        assert_eq!(store.contains(&new), rotated);
        assert_eq!(store.len(), usize::from(rotated));
        let cause = if rotated { Cause::Rotated } else { Cause::Destroyed };
        assert_eq!(told.ends(), [(old, cause, 7)]);
    });
}
