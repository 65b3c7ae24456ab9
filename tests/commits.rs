//! Changes of data: save, conditional save, atomic update; and that none of them creates.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cloakroom::{ManualClock, SaveError, Session, SessionId, SessionStore};

type Log = Vec<&'static str>;

fn store() -> SessionStore<Log> {
    SessionStore::builder().build().unwrap()
}

fn load(store: &SessionStore<Log>, id: &SessionId) -> Session<Log> {
    store.load(id).unwrap()
}

fn stored(store: &SessionStore<Log>, id: &SessionId) -> Log {
    store.peek(id).unwrap().to_vec()
}

#[test]
fn last_save_wins() {
    let store = store();
    let mut a = store.create();
    let mut b = load(&store, a.id());
    a.push("a");
    b.push("b");
    assert!(store.save(&a));
    assert!(store.save(&b));
    assert_eq!(stored(&store, a.id()), ["b"]);
    assert!(store.save(&a));
    assert_eq!(stored(&store, a.id()), ["a"]);
    assert_eq!(store.stats().saved, 3);
}

#[test]
fn save_of_an_ended_session_is_false_counted_and_brings_nothing_back() {
    let clock = ManualClock::new();
    let minute = Duration::from_secs(60);
    let builder = SessionStore::<Log>::builder().ttl(minute).clock(clock.clone());
    let store = builder.build().unwrap();
    let mut destroyed = store.create();
    let mut expired = store.create();
    let mut cleared = store.create();
    store.destroy(destroyed.id());
    clock.advance(minute);
    assert!(!store.save(&expired));
    store.clear();
    let mut refused = 1;
    for s in [&mut destroyed, &mut expired, &mut cleared] {
        s.push("late");
        assert!(!store.save(s));
        assert_eq!(store.try_save(s), Err(SaveError::Gone));
        assert_eq!(s.to_vec(), ["late"], "the handle keeps its data");
        assert!(!store.save(s));
        refused += 3;
        assert_eq!(store.stats().saves_refused, refused);
        assert!(!store.contains(s.id()));
        assert_eq!(store.update(s.id(), |log| log.push("later")), None);
    }
    assert!(store.is_empty());
    assert_eq!(store.stats().saved, 0);
}

#[test]
fn handle_of_another_store_creates_nothing() {
    let mut foreign = store().create();
    let store = store();
    foreign.push("x");
    assert!(!store.save(&foreign));
    assert_eq!(store.try_save(&mut foreign), Err(SaveError::Gone));
    assert!(!store.rotate(&mut foreign));
    assert!(store.is_empty());
}

#[test]
fn try_save_conflicts_when_another_handle_saved_since_the_load() {
    let store = store();
    let mut a = store.create();
    let mut b = load(&store, a.id());
    a.push("a");
    b.push("b");
    assert_eq!(store.try_save(&mut a), Ok(()));
    assert_eq!(store.try_save(&mut b), Err(SaveError::Conflict));
    assert_eq!(store.try_save(&mut b), Err(SaveError::Conflict), "asking again changes nothing");
    assert_eq!(b.to_vec(), ["b"], "the handle keeps its data");
    assert_eq!(stored(&store, a.id()), ["a"]);
    // More changes do not make it less of a conflict; a fresh load does.
    b.push("b2");
    assert_eq!(store.try_save(&mut b), Err(SaveError::Conflict));
    assert_eq!(b.to_vec(), ["b", "b2"]);
    let mut b = load(&store, a.id());
    b.push("b");
    assert_eq!(store.try_save(&mut b), Ok(()));
    assert_eq!(stored(&store, a.id()), ["a", "b"]);
    assert_eq!((store.stats().conflicts, store.stats().saved), (3, 2));
}

#[test]
fn two_handles_that_take_turns_see_each_others_saves() {
    type Save = fn(&SessionStore<Log>, &mut Session<Log>);
    let saves: [Save; 3] = [
        |store, s| assert!(store.save(s)),
        |store, s| assert_eq!(store.try_save(s), Ok(())),
        |store, s| assert_eq!(store.update(s.id(), |log| log.push("u")), Some(())),
    ];
    for save in saves {
        for changed in [false, true] {
            let store = store();
            let mut a = store.create();
            let mut b = load(&store, a.id());
            if changed {
                b.push("b");
            }
            save(&store, &mut b);
            a.push("a");
            assert_eq!(store.try_save(&mut a), Err(SaveError::Conflict));
        }
    }
}

#[test]
fn own_earlier_saves_are_no_conflict() {
    // Each digit is one step: change, save, or try_save, in every order.
    for script in 0..3_usize.pow(6) {
        let store = store();
        let mut s = store.create();
        let mut expected = Log::new();
        for step in 0..6 {
            match script / 3_usize.pow(step) % 3 {
                0 => {
                    s.push("x");
                    expected.push("x");
                    continue;
                }
                1 => assert!(store.save(&s)),
                _ => assert_eq!(store.try_save(&mut s), Ok(()), "script {script}, step {step}"),
            }
            assert_eq!(stored(&store, s.id()), expected);
        }
        assert_eq!(s.to_vec(), expected);
        assert_eq!(store.stats().conflicts, 0);
    }
}

#[test]
fn handle_that_changes_and_saves_again_and_again_meets_no_conflict_and_leaves_older_versions_as_they_were()
 {
    let store = store();
    let mut session = store.create();
    let mut versions = Vec::new();
    for saves in 1..=8 {
        session.push("first");
        session.push("second");
        assert_eq!(store.try_save(&mut session), Ok(()), "save {saves}");
        // Others hold some of the versions, and of the rest nobody holds any.
        if saves % 3 > 0 {
            versions.push((2 * saves, load(&store, session.id())));
        }
        assert_eq!(stored(&store, session.id()).len(), 2 * saves);
    }
    for (len, version) in versions {
        assert_eq!(version.len(), len);
    }
}

#[test]
fn clone_of_a_handle_knows_the_saves_made_before_it_was_cloned() {
    let store = store();
    let s = store.create();
    // Nothing was changed, so that each save stores a copy.
    assert!(store.save(&s) && store.save(&s));
    let mut clone = s.clone();
    clone.push("x");
    assert_eq!(store.try_save(&mut clone), Ok(()));
    assert_eq!(stored(&store, s.id()), ["x"]);
}

#[test]
fn anothers_save_after_own_saves_is_a_conflict_still() {
    for script in 0..3_usize.pow(4) {
        let store = store();
        let mut s = store.create();
        for step in 0..4 {
            match script / 3_usize.pow(step) % 3 {
                0 => s.push("mine"),
                1 => assert!(store.save(&s)),
                _ => assert_eq!(store.try_save(&mut s), Ok(())),
            }
        }
        let mut theirs = load(&store, s.id());
        theirs.push("theirs");
        assert!(store.save(&theirs));
        let conflict = Err(SaveError::Conflict);
        assert_eq!(store.try_save(&mut s), conflict, "script {script}");
        s.push("mine");
        assert_eq!(store.try_save(&mut s), conflict, "script {script}");
        assert_eq!(stored(&store, s.id()).last(), Some(&"theirs"));
    }
}

#[test]
fn clones_of_a_changed_handle_do_not_write_into_each_other() {
    let store = store();
    let mut a = store.create();
    a.push("both");
    let mut b = a.clone();
    b.push("b");
    assert_eq!(store.try_save(&mut a), Ok(()));
    assert_eq!(stored(&store, a.id()), ["both"]);
    // `b` went its own way before `a` saved.
    assert_eq!(store.try_save(&mut b), Err(SaveError::Conflict));
    assert_eq!(b.to_vec(), ["both", "b"]);
    a.push("a");
    assert_eq!(stored(&store, a.id()), ["both"], "what is stored is nobody's draft");
    assert_eq!(a.to_vec(), ["both", "a"]);
}

#[test]
fn save_by_a_clone_that_shares_the_change_is_anothers_save() {
    let store = store();
    let mut a = store.create();
    a.push("both");
    let mut b = a.clone();
    assert!(store.save(&a));
    assert_eq!(store.try_save(&mut a), Ok(()), "its own save is no conflict");
    b.push("b");
    assert_eq!(stored(&store, a.id()), ["both"]);
    assert_eq!(store.try_save(&mut b), Err(SaveError::Conflict));
    a.push("a");
    assert_eq!(store.try_save(&mut a), Ok(()));
    assert_eq!(stored(&store, a.id()), ["both", "a"]);
}

/// One record of data in two stores would have the lifetime of one of them in both.
#[test]
fn change_that_is_saved_in_two_stores_is_two_records() {
    let minute = Duration::from_secs(60);
    let clock = ManualClock::new();
    let [short, long] = [60 * minute, 600 * minute].map(|ttl| {
        let builder = SessionStore::<Log>::builder().ttl(ttl).idle_timeout(minute);
        builder.clock(clock.clone()).build().unwrap()
    });
    let mut one = short.create_with_id("the same text".to_owned());
    long.create_with_id("the same text".to_owned());
    one.push("both");
    let two = one.clone();
    for [first, second] in [[&one, &two], [&one, &one]] {
        assert!(short.save(first) && long.save(second));
        let [a, b] = [&short, &long].map(|store| store.peek(one.id()).unwrap());
        assert!(!std::ptr::eq(&*a, &*b));
    }
    for _ in 0..62 {
        clock.advance(minute - Duration::from_secs(1));
        short.touch(one.id());
        assert!(long.touch(one.id()));
    }
    assert!(!short.contains(one.id()));
}

#[test]
fn clone_that_saves_the_shared_draft_again_is_seen_by_others() {
    let store = store();
    let mut a = store.create();
    a.push("both");
    let mut b = a.clone();
    assert!(store.save(&a));
    let mut reader = load(&store, a.id());
    assert!(store.save(&b));
    reader.push("reader");
    assert_eq!(store.try_save(&mut reader), Err(SaveError::Conflict));
    b.push("b");
    assert_eq!(store.try_save(&mut b), Ok(()));
    assert_eq!(stored(&store, a.id()), ["both", "b"]);
}

#[test]
fn draft_refused_once_can_be_saved_later() {
    let store = store();
    let mut a = store.create();
    a.push("a");
    store.update(a.id(), |log| log.push("u"));
    assert_eq!(store.try_save(&mut a), Err(SaveError::Conflict));
    assert!(store.save(&a), "the last save wins, if its caller insists");
    assert_eq!(stored(&store, a.id()), ["a"]);
    a.push("b");
    assert_eq!(stored(&store, a.id()), ["a"]);
    assert_eq!(store.try_save(&mut a), Ok(()));
    assert_eq!(stored(&store, a.id()), ["a", "b"]);
}

#[test]
fn update_returns_what_the_closure_returns_and_none_if_there_is_no_session() {
    let store = store();
    let s = store.create();
    let length = store.update(s.id(), |log| {
        log.push("u");
        log.len()
    });
    assert_eq!(length, Some(1));
    assert_eq!(stored(&store, s.id()), ["u"]);
    assert!(s.is_empty(), "a handle is a snapshot");
    store.destroy(s.id());
    assert_eq!(store.update(s.id(), |_| panic!("there is nothing to change")), None::<()>);
    assert_eq!((store.stats().saved, store.stats().missed), (1, 1));
}

#[test]
fn update_whose_session_was_saved_meanwhile_runs_again_on_what_was_saved() {
    let store = store();
    let id = *store.create().id();
    let mut runs = Vec::new();
    let result = store.update(&id, |log| {
        runs.push(log.to_vec());
        if runs.len() <= 2 {
            let mut other = load(&store, &id);
            other.push("other");
            assert!(store.save(&other));
        }
        log.push("update");
        runs.len()
    });
    assert_eq!(result, Some(3), "the last run's result");
    assert_eq!(runs, [vec![], vec!["other"], vec!["other", "other"]]);
    assert_eq!(stored(&store, &id), ["other", "other", "update"]);
    assert_eq!((store.stats().conflicts, store.stats().saved), (2, 3));
}

#[test]
fn update_notices_even_a_save_that_changed_nothing() {
    let store = store();
    let id = *store.create().id();
    let mut runs = 0;
    store.update(&id, |_| {
        runs += 1;
        if runs == 1 {
            assert!(store.save(&load(&store, &id)));
        }
    });
    assert_eq!(runs, 2);
}

#[test]
fn update_of_a_session_that_ends_meanwhile_is_none_and_brings_nothing_back() {
    let store = store();
    let id = *store.create().id();
    let mut runs = 0;
    let result = store.update(&id, |log| {
        runs += 1;
        log.push("late");
        assert!(store.destroy(&id));
    });
    assert_eq!((result, runs), (None, 1));
    assert!(store.is_empty() && !store.contains(&id));
    assert_eq!((store.stats().missed, store.stats().saved), (1, 0));
}

#[test]
fn destroy_is_true_exactly_once() {
    let store = store();
    let s = store.create();
    let text = s.id().to_token();
    assert!(store.destroy(s.id()));
    assert!(!store.destroy(s.id()) && !store.destroy(&text));
    assert_eq!((store.len(), store.stats().destroyed), (0, 1));
}

/// Data that takes its time to be copied: a minute.
#[derive(Default)]
struct Slow(ManualClock);

impl Clone for Slow {
    fn clone(&self) -> Self {
        self.0.advance(Duration::from_secs(60));
        Self(self.0.clone())
    }
}

#[test]
fn session_that_expires_while_its_data_is_copied_is_not_stored() {
    type Store = fn(&SessionStore<Slow>, &mut Session<Slow>) -> bool;
    let stores: [(&str, Store); 3] = [
        ("save", |store, s| store.save(s)),
        ("try_save", |store, s| store.try_save(s).is_ok()),
        ("update", |store, s| store.update(s.id(), |_| ()).is_some()),
    ];
    for (name, store_it) in stores {
        for (minutes, stored) in [(1, false), (2, true)] {
            let clock = ManualClock::new();
            let builder = SessionStore::builder().ttl(Duration::from_secs(60 * minutes));
            let store = builder.clock(clock.clone()).build().unwrap();
            let mut session = store.create_with(Slow(clock));
            assert_eq!(store_it(&store, &mut session), stored, "{name}");
            assert_eq!(store.stats().saved, u64::from(stored), "{name}");
        }
    }
}

#[test]
fn save_that_was_refused_leaves_the_draft_to_be_stored_without_a_copy() {
    static COPIES: AtomicUsize = AtomicUsize::new(0);

    #[derive(Default)]
    struct Counted(u32);

    impl Clone for Counted {
        fn clone(&self) -> Self {
            COPIES.fetch_add(1, Ordering::Relaxed);
            Self(self.0)
        }
    }

    let store = SessionStore::<Counted>::builder().build().unwrap();
    let mut mine = store.create();
    mine.0 = 1;
    assert_eq!(store.update(mine.id(), |theirs| theirs.0 = 2), Some(()));
    let copies = COPIES.load(Ordering::Relaxed);
    assert_eq!(store.try_save(&mut mine), Err(SaveError::Conflict));
    assert_eq!(mine.0, 1);
    assert!(store.save(&mine));
    assert_eq!((store.load(mine.id()).unwrap().0, COPIES.load(Ordering::Relaxed)), (1, copies));
    // What it has stored is no conflict with itself.
    assert_eq!(store.try_save(&mut mine), Ok(()));
}
