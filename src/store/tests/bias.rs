//! That shards come to be read without their locks, which nothing that a store tells shows.

use super::*;
use crate::stripe::tests::{alone, in_a_crowd};

/// Reads of one thread after which every shard has been looked at, if it is time to.
const READS: u128 = 10_000;

fn locked(store: &SessionStore<u64>) -> Vec<usize> {
    let takes_lock = |shard: &usize| store.inner.gate.enter(*shard).is_err();
    (0..store.inner.gate.count()).filter(takes_lock).collect()
}

/// Reads so often that two surveys are through.
fn read_for_a_while(clock: &ManualClock, mut read: impl FnMut(SessionId)) {
    for _ in 0..2 {
        clock.advance(Duration::from_millis(4));
        (0..READS).for_each(|n| read(id(n)));
    }
}

fn store() -> (ManualClock, SessionStore<u64>) {
    let clock = ManualClock::new();
    (clock.clone(), SessionStore::<u64>::builder().clock(clock).build().unwrap())
}

#[test]
fn store_that_is_only_read_comes_to_be_read_without_locks() {
    // Whichever way it is read, and whether or not there is what is asked for.
    type Read = fn(&SessionStore<u64>, &SessionId);
    #[allow(unused_mut, reason = "some features have one more")]
    let mut ways: Vec<(&str, Read)> = vec![
        ("load", |store, id| drop(store.load(id))),
        ("peek", |store, id| drop(store.peek(id))),
        ("touch", |store, id| _ = store.touch(id)),
        ("contains", |store, id| _ = store.contains(id)),
        ("expires_in", |store, id| _ = store.expires_in(id)),
    ];
    #[cfg(any(feature = "tower-sessions", feature = "actix-session", feature = "async-session"))]
    ways.push(("load_dated", |store, id| _ = store.load_dated(id, |_| false, |_| ())));
    for (name, read) in ways {
        let (clock, store) = store();
        let ids: Vec<SessionId> = (0..1000).map(|_| *store.create().id()).collect();
        (0..READS).for_each(|n| read(&store, &id(n)));
        assert_eq!(locked(&store).len(), 512, "{name}: not before it is time to");
        read_for_a_while(&clock, |other| {
            read(&store, &other);
            read(&store, &ids[other.low_bits() % ids.len()]);
        });
        assert_eq!(locked(&store), Vec::<usize>::new(), "{name}");
    }
}

#[test]
fn shard_that_is_written_is_locked_until_it_has_been_calm_again_in_whatever_rhythm_it_is_read() {
    in_a_crowd(|| {
        let (clock, store) = store();
        let (session, mut other) = (store.create_with(7), store.create_with(7));
        read_for_a_while(&clock, |id| drop(store.load(&id)));
        assert!(locked(&store).is_empty());
        let shard = store.inner.gate.place(*other.id()).shard;

        for before in 0..2 {
            *other += 1;
            assert!(store.save(&other));
            assert_eq!(locked(&store), [shard]);
            assert_eq!(store.load(other.id()).map(|session| *session), Some(*other));

            (0..before).for_each(|_| drop(store.load(session.id())));
            read_for_a_while(&clock, |_| {
                drop(store.load(session.id()));
                drop(store.load(other.id()));
            });
            assert!(locked(&store).is_empty(), "{before}");
        }
    });
}

#[test]
fn few_threads_that_read_between_their_writes_go_on_without_locks() {
    alone(
        "store::tests::bias::few_threads_that_read_between_their_writes_go_on_without_locks",
        || {
            let (_, store) = store();
            let mut session = store.create_with(7);
            let shard = store.inner.gate.place(*session.id()).shard;
            assert!(locked(&store).contains(&shard), "nothing was read yet");

            // The first read takes a lock, the others do without or not.
            for (writes, is_given_back) in [(1, true), (2, true), (3, false), (1, true)] {
                assert_eq!(store.load(session.id()).map(|session| *session), Some(*session));
                for _ in 0..writes {
                    *session += 1;
                    assert!(store.save(&session));
                }
                assert_eq!(locked(&store).contains(&shard), !is_given_back, "{writes}");
            }
        },
    );
}
