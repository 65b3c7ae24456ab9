//! Two threads that destroy one session, or its id, alone and while a third looks at it: then neither need find the
//! shard free, and both may go by way of the shared lock.

use cloakroom::{Cause, ManualClock, SessionId, SessionStore};
use loom::thread::{self, JoinHandle};

use crate::setup::{Told, bounded, exhaustive, id, store};

#[test]
fn one_of_two_destroys_is_true_and_one_end_is_told() {
    exhaustive(|| destroy_twice(|_, _| None));
}

#[test]
fn one_of_two_destroys_among_readers_is_true_and_one_end_is_told() {
    bounded(|| destroy_twice(look));
}

#[test]
fn destroy_ends_what_it_revoked_and_not_what_took_the_id_since() {
    exhaustive(|| destroy_and_take_the_id(|_, _| None));
}

#[test]
fn destroy_among_readers_ends_what_it_revoked_and_not_what_took_the_id_since() {
    bounded(|| destroy_and_take_the_id(look));
}

type Reader = Option<JoinHandle<bool>>;

/// A reader, whose shared lock keeps a destroy from the exclusive one.
fn look(store: &SessionStore<u32>, session: SessionId) -> Reader {
    let store = store.clone();
    Some(thread::spawn(move || store.contains(&session)))
}

fn destroy_twice(reader: impl Fn(&SessionStore<u32>, SessionId) -> Reader) {
    let told = Told::new();
    let store = told.listen(store::<u32>(&ManualClock::new(), [id(0, 0, 1)])).build().unwrap();
    let session = *store.create_with(7).id();

    let other = thread::spawn({
        let store = store.clone();
        move || store.destroy(&session)
    });
    let reader = reader(&store, session);
    let mine = store.destroy(&session);
    let other = other.join().unwrap();
    reader.map(|reader| reader.join().unwrap());

    assert!(mine ^ other, "exactly one of them ended it");
    assert_eq!(told.ends(), [(session, Cause::Destroyed, 7)]);
    assert_eq!(store.len(), 0);
}

fn destroy_and_take_the_id(reader: impl Fn(&SessionStore<u32>, SessionId) -> Reader) {
    let told = Told::new();
    let ids = [id(0, 0, 1), id(1, 0, 2)];
    let store = told.listen(store::<u32>(&ManualClock::new(), ids)).build().unwrap();
    let session = *store.create_with(7).id();
    // Another, so that a slot that is given back twice shows.
    store.create_with(8);

    let other = thread::spawn({
        let store = store.clone();
        move || {
            store.clear();
            store.try_create_with_id(&session, 9).unwrap();
        }
    });
    let reader = reader(&store, session);
    let destroyed = store.destroy(&session);
    other.join().unwrap();
    reader.map(|reader| reader.join().unwrap());

    let ends = told.ends();
    let of = |data| ends.iter().filter(|(.., told)| *told == data).count();
    assert_eq!((of(7), of(8)), (1, 1));
    let destroys = ends.iter().filter(|(_, cause, _)| *cause == Cause::Destroyed).count();
    assert_eq!(destroys, usize::from(destroyed));
    assert_eq!((store.len(), store.contains(&session)), (1 - of(9), of(9) == 0));
}
