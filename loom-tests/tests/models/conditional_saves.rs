//! Two saves of changes to the same version, or of one change.

use cloakroom::{ManualClock, SaveError};
use loom::thread;

use crate::setup::{exhaustive, id, store};

#[test]
fn one_of_two_conditional_saves_wins() {
    exhaustive(|| {
        let store = store::<u32>(&ManualClock::new(), [id(0, 0, 1)]).build().unwrap();
        let mut mine = store.create();
        let mut other = mine.clone();
        *mine = 1;
        *other = 2;

        let other = thread::spawn({
            let store = store.clone();
            move || store.try_save(&mut other)
        });
        let result = store.try_save(&mut mine);
        let other = other.join().unwrap();

        let stored = *store.load(mine.id()).unwrap();
        match (result, other) {
            (Ok(()), Err(SaveError::Conflict)) => assert_eq!(stored, 1),
            (Err(SaveError::Conflict), Ok(())) => assert_eq!(stored, 2),
            both => panic!("one wins and the other is told of the conflict: {both:?}"),
        }
        assert_eq!(*mine, 1, "a handle keeps its data whatever becomes of the save");
    });
}

#[test]
fn clones_of_a_changed_handle_that_save_at_once_both_save() {
    exhaustive(|| {
        let store = store::<u32>(&ManualClock::new(), [id(0, 0, 1)]).build().unwrap();
        let mut session = store.create();
        // What both hold: whoever comes second has to store a copy of it.
        *session = 7;
        let clone = session.clone();

        let other = thread::spawn({
            let store = store.clone();
            move || store.save(&clone)
        });
        let mine = store.save(&session);

        assert!(mine && other.join().unwrap());
        assert_eq!(store.load(session.id()).map(|session| *session), Some(7));
    });
}

#[test]
fn change_that_two_handles_share_is_stored_once_though_their_stores_know_nothing_of_each_other() {
    exhaustive(|| {
        let [one, two] =
            [(); 2].map(|()| store::<u32>(&ManualClock::new(), [id(0, 0, 1)]).build().unwrap());
        let mut session = one.create();
        assert_eq!(two.create().id(), session.id());
        *session = 7;
        let clone = session.clone();

        let other = thread::spawn({
            let two = two.clone();
            move || two.save(&clone)
        });
        assert!(one.save(&session) && other.join().unwrap());

        let stored = [one, two].map(|store| store.peek(session.id()).unwrap());
        let [one, two] = stored.each_ref().map(|session| &**session);
        assert_eq!((one, two), (&7, &7));
        assert!(!std::ptr::eq(one, two), "what one store makes of it is nothing to the other");
    });
}
