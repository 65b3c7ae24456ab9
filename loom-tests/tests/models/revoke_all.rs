//! Logging a subject out everywhere, against whatever its sessions do meanwhile.

use cloakroom::{Cause, ManualClock};
use loom::thread;

use crate::setup::{Told, exhaustive, id, store, store_with_drawers, subject};

#[test]
fn session_created_before_is_revoked_and_one_created_meanwhile_is_listed_or_revoked() {
    exhaustive(|| {
        let scripts = [vec![id(0, 0, 1)], vec![id(1, 0, 2)]];
        let store = store_with_drawers::<u32, 2>(&ManualClock::new(), scripts);
        let store = store.index_by(subject).build().unwrap();
        let before = *store.create_with(1).id();

        let signs_in = thread::spawn({
            let store = store.clone();
            move || *store.create_with(1).id()
        });
        let revoked = store.revoke_all(1);
        let meanwhile = signs_in.join().unwrap();

        assert!(!store.contains(&before));
        let survives = usize::from(store.contains(&meanwhile));
        assert_eq!((store.count_of(1), store.len(), revoked), (survives, survives, 2 - survives));
    });
}

#[test]
fn session_that_is_rotated_meanwhile_does_not_escape() {
    exhaustive(|| {
        let told = Told::new();
        let ids = [id(0, 0, 1), id(1, 0, 2)];
        let store = store_with_drawers::<u32, 2>(&ManualClock::new(), [vec![ids[0]], vec![ids[1]]]);
        let store = told.listen(store.index_by(subject)).build().unwrap();
        let mut session = store.create_with(1);

        let rotates = thread::spawn({
            let store = store.clone();
            move || store.rotate(&mut session).then_some(*session.id())
        });
        assert_eq!(store.revoke_all(1), 1);
        let rotated = rotates.join().unwrap();

        assert_eq!((store.len(), store.count_of(1)), (0, 0));
        let causes: Vec<_> = told.ends().into_iter().map(|(_, cause, _)| cause).collect();
        let both = [Cause::Rotated, Cause::Revoked];
        assert_eq!(causes, both[usize::from(rotated.is_none())..]);
    });
}

#[test]
fn session_that_is_destroyed_meanwhile_ends_once_and_leaves_nothing_behind() {
    exhaustive(|| {
        let told = Told::new();
        let store = store::<u32>(&ManualClock::new(), [id(0, 0, 1), id(0, 1, 2)]);
        let store = told.listen(store.index_by(subject)).build().unwrap();
        let session = *store.create_with(1).id();

        let destroys = thread::spawn({
            let store = store.clone();
            move || store.destroy(&session)
        });
        let revoked = store.revoke_all(1);
        let destroyed = destroys.join().unwrap();

        assert_eq!((usize::from(destroyed) + revoked, told.ends().len()), (1, 1));
        let next = *store.create_with(1).id();
        let listed: Vec<_> = store.sessions_of(1).iter().map(|session| session.id).collect();
        assert_eq!(listed, [next]);
    });
}
