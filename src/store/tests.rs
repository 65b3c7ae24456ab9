//! What needs scripted ids or a clock that two threads read at different times.

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::SessionStore;
use crate::builder::Builder;
use crate::capacity::OnFull;
use crate::clock::{ManualClock, NEVER, Tick, ticks};
use crate::entry::{Entry, Record, Terms};
use crate::error::{CreateError, RotateError};
use crate::id::SessionId;
use crate::session::Session;
use crate::subject::Subject;

#[cfg(not(cloakroom_biased))]
mod bias;
mod sweeping;

const MINUTE: Duration = Duration::from_secs(60);

/// Ids in the order given; when they run out, the entropy has failed.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Vec<u128>>>);

impl Script {
    fn then(&self, ids: &[u128]) {
        self.0.lock().unwrap().splice(0..0, ids.iter().rev().copied());
    }

    fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn builder(&self) -> Builder<u64> {
        let ids = self.clone();
        SessionStore::<u64>::builder().shards(2).scripted_ids(move || {
            let next = ids.0.lock().unwrap().pop();
            next.ok_or(getrandom::Error::UNSUPPORTED)
        })
    }
}

fn id(bits: u128) -> SessionId {
    SessionId::from_bits(bits)
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

#[test]
fn taken_id_is_redrawn_on_create() {
    let script = Script::default();
    let store = script.builder().build().unwrap();
    script.then(&[5, 5, 5, 6]);
    let first = store.create_with(1);
    let second = store.create_with(2);
    assert_eq!((first.id(), second.id()), (&id(5), &id(6)));
    assert_eq!((*store.load(&id(5)).unwrap(), *store.load(&id(6)).unwrap()), (1, 2));
    assert_eq!((store.len(), store.stats().created, script.left()), (2, 2, 0));
}

#[test]
fn taken_id_is_redrawn_on_rotate_and_its_session_is_untouched() {
    let script = Script::default();
    let store = script.builder().build().unwrap();
    script.then(&[5, 6, 6, 5, 7]);
    let mut first = store.create_with(1);
    store.create_with(2);
    // 6 is the other's, 5 is its own.
    assert!(store.rotate(&mut first));
    assert_eq!(first.id(), &id(7));
    assert!(!store.contains(&id(5)));
    assert_eq!((*store.load(&id(6)).unwrap(), *store.load(&id(7)).unwrap()), (2, 1));
    assert_eq!((store.len(), store.stats().rotated, script.left()), (2, 1, 0));
}

#[test]
fn redrawn_create_at_the_bound_keeps_the_count_of_slots() {
    let script = Script::default();
    let store = script.builder().max_sessions(3).build().unwrap();
    script.then(&[1, 2, 1, 2, 3]);
    (0..3).for_each(|n| drop(store.create_with(n)));
    assert_eq!((store.len(), script.left()), (3, 0));
    assert_eq!(store.stats().evicted, 0);
}

#[test]
fn id_of_an_expired_session_may_be_drawn_again() {
    let (script, clock) = (Script::default(), ManualClock::new());
    let store = script.builder().ttl(MINUTE).clock(clock.clone()).build().unwrap();
    script.then(&[5, 5]);
    store.create_with(1);
    clock.advance(MINUTE);
    assert_eq!(store.create_with(2).id(), &id(5));
    assert_eq!(*store.load(&id(5)).unwrap(), 2);
    assert_eq!((store.len(), store.stats().expired), (1, 1));
}

#[test]
fn create_without_entropy_is_an_error_and_stores_nothing() {
    let script = Script::default();
    let store = script.builder().max_sessions(1).on_full(OnFull::Refuse).build().unwrap();
    assert!(matches!(store.try_create(), Err(CreateError::Entropy(_))));
    let rejected = store.try_create_with(7).unwrap_err();
    assert!(matches!(rejected.error, CreateError::Entropy(_)));
    assert!(rejected.source().unwrap().is::<getrandom::Error>());
    assert_eq!(rejected.value, 7);
    assert_eq!((store.len(), store.stats().created), (0, 0));
    // The only slot was given back.
    script.then(&[1]);
    assert_eq!(store.try_create_with(8).unwrap().id(), &id(1));
    assert_eq!(store.len(), 1);
}

#[test]
fn entropy_that_fails_during_a_redraw_is_an_error_and_stores_nothing() {
    let script = Script::default();
    let store = script.builder().max_sessions(2).on_full(OnFull::Refuse).build().unwrap();
    script.then(&[1, 1]);
    store.create_with(1);
    let rejected = store.try_create_with(2).unwrap_err();
    assert!(matches!(rejected.error, CreateError::Entropy(_)));
    assert_eq!((rejected.value, store.len()), (2, 1));
    script.then(&[2]);
    assert!(store.try_create_with(3).is_ok());
    assert_eq!(*store.load(&id(1)).unwrap(), 1);
}

#[test]
fn create_without_entropy_panics_with_a_clear_message_and_leaves_the_store_intact() {
    let script = Script::default();
    let store = script.builder().max_sessions(2).build().unwrap();
    script.then(&[1]);
    store.create_with(1);
    let panic = catch_unwind(AssertUnwindSafe(|| store.create())).unwrap_err();
    assert!(message(&*panic).contains("no random bytes"), "{}", message(&*panic));
    assert_eq!((store.len(), *store.load(&id(1)).unwrap()), (1, 1));
    script.then(&[2]);
    assert_eq!(store.create().id(), &id(2));
    assert_eq!((store.len(), store.stats().evicted), (2, 0));
}

#[test]
fn whose_a_new_session_is_is_asked_once_although_its_first_id_is_taken() {
    let script = Script::default();
    let asked = Arc::new(AtomicU64::new(0));
    let store = script.builder().index_by({
        let asked = Arc::clone(&asked);
        move |user| {
            asked.fetch_add(1, Ordering::Relaxed);
            Some(Subject::from(*user))
        }
    });
    let store = store.build().unwrap();
    script.then(&[1, 1, 2]);
    store.create_with(1);
    assert_eq!((store.create_with(2).id(), asked.load(Ordering::Relaxed)), (&id(2), 2));
    assert_eq!((store.count_of(1), store.count_of(2)), (1, 1));
    // A taken id is nothing that the store refuses.
    assert!(store.try_create_with_id(&id(2), 3).is_err());
    assert_eq!((store.stats().created, store.stats().creates_refused), (2, 0));
}

/// Whoever asked for a stored session must not get another, because entropy was back a moment later.
#[test]
fn create_that_met_no_entropy_does_not_ask_again() {
    let calls = Mutex::new(0);
    let store = SessionStore::<u64>::builder().shards(2).scripted_ids(move || {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        if *calls == 1 { Err(getrandom::Error::UNSUPPORTED) } else { Ok(*calls) }
    });
    let store = store.build().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| store.create())).is_err());
    assert_eq!(store.create().id(), &id(2));
}

#[test]
fn foreign_id_that_is_taken_needs_entropy_for_another() {
    let script = Script::default();
    let store = script.builder().build().unwrap();
    store.try_create_with_id("theirs", 1).unwrap();
    let taken = || store.create_with_id(String::from("theirs"));
    assert!(catch_unwind(AssertUnwindSafe(taken)).is_err());
    assert_eq!((store.len(), *store.load("theirs").unwrap()), (1, 1));
    script.then(&[9]);
    assert_eq!(taken().id(), &id(9));
    assert_eq!((store.len(), *store.load("theirs").unwrap()), (2, 1));
}

#[test]
fn rotate_without_entropy_leaves_the_session_under_its_id() {
    let script = Script::default();
    let store = script.builder().build().unwrap();
    script.then(&[5]);
    let mut session = store.create_with(1);
    let error = store.try_rotate(&mut session).unwrap_err();
    assert!(matches!(error, RotateError::Entropy(_)));
    assert!(error.source().unwrap().is::<getrandom::Error>());
    let panic = catch_unwind(AssertUnwindSafe(|| store.rotate(&mut session))).unwrap_err();
    assert!(message(&*panic).contains("no random bytes"), "{}", message(&*panic));
    assert_eq!((session.id(), store.len()), (&id(5), 1));
    assert_eq!(*store.load(&id(5)).unwrap(), 1);
    assert_eq!(store.stats().rotated, 0);
}

/// A store with one session that has just expired, and a reading of the clock from before.
///
/// The store has no lifetimes and the session's deadline is put in by hand, so that no sweep removes
/// it and all depends on the deadline word.
fn just_expired() -> (SessionStore<u64>, SessionId, Tick) {
    let clock = ManualClock::new();
    let store = SessionStore::<u64>::builder().shards(2).clock(clock.clone());
    let (store, id) = (store.build().unwrap(), id(5));
    let stale = store.inner.clock.now();
    let terms = Terms { limit: NEVER, slides: true };
    let entry = Entry::new(stale + 1, Record::with_terms(1, terms));
    let place = store.inner.gate.place(id);
    store.inner.gate.exclusive(place.shard).insert(&place, entry);
    store.inner.capacity.reserve().unwrap().keep();
    clock.advance(Duration::from_nanos(1));
    (store, id, stale)
}

/// What a thread does that read the clock and was then held up.
fn touch_at(store: &SessionStore<u64>, id: SessionId, now: Tick) -> bool {
    let touch = |entry: &Entry<u64>| entry.touch(now, NonZeroU64::new(ticks(MINUTE)));
    store.inner.gate.read(&store.inner.gate.place(id), touch).unwrap_or(false)
}

/// Whoever was told of the death, a stale touch must not undo it.
#[test]
fn stale_clock_reading_does_not_revive_what_anybody_saw_expired() {
    type Witness = fn(&SessionStore<u64>, SessionId);
    let witnesses: [(&str, Witness); 10] = [
        ("contains", |store, id| assert!(!store.contains(&id))),
        ("load", |store, id| assert!(store.load(&id).is_none())),
        ("touch", |store, id| assert!(!store.touch(&id))),
        ("expires_in", |store, id| assert!(store.expires_in(&id).is_none())),
        ("update", |store, id| assert!(store.update(&id, |value| *value += 1).is_none())),
        ("set_expiry", |store, id| assert!(!store.set_expiry(&id, MINUTE))),
        ("destroy", |store, id| assert!(!store.destroy(&id))),
        ("for_each", |store, _| store.for_each(|_, _| panic!("it has expired"))),
        ("save", |store, id| assert!(!store.save(&Session::new(id, Record::fresh(2))))),
        ("rotate", |store, id| assert!(!store.rotate(&mut Session::new(id, Record::fresh(2))))),
    ];
    for (name, witness) in witnesses {
        let (store, id, stale) = just_expired();
        witness(&store, id);
        assert!(!touch_at(&store, id, stale), "revived after {name}");
        assert!(!store.contains(&id), "revived after {name}");
    }
}

#[test]
fn stale_clock_reading_does_not_revive_a_destroyed_session() {
    let (store, id, stale) = just_expired();
    assert!(touch_at(&store, id, stale));
    assert!(store.destroy(&id));
    assert!(!touch_at(&store, id, stale));
    assert_eq!(store.stats().destroyed, 1);
}

/// A flood that a full store refuses would otherwise pay for slices that can find nothing, and leave
/// every later operation to pay for them too.
#[test]
fn refused_create_does_not_sweep_a_store_where_nothing_expires() {
    let store = SessionStore::<u64>::builder().max_sessions(1).on_full(OnFull::Refuse);
    let store = store.build().unwrap();
    store.create_with(1);
    assert!(matches!(store.try_create(), Err(CreateError::AtCapacity { .. })));
    assert!(!store.inner.sweep.is_due(NEVER));
}

#[test]
fn no_randomness_waits_in_memory_unless_asked_for() {
    use crate::{builder::IdSource, id::mint::Mint};
    let mint = |builder: Builder<u64>| builder.into_config().mint;
    let builder = SessionStore::<u64>::builder;
    assert!(matches!(mint(builder()), Mint::Os));
    assert!(matches!(mint(builder().id_source(IdSource::Buffered)), Mint::Buffered));
    let last = builder().id_source(IdSource::Buffered).id_source(IdSource::Os);
    assert!(matches!(mint(last), Mint::Os));
}

#[test]
fn shards_are_many_unless_the_bound_is_small() {
    let shards = |max: Option<usize>| {
        let builder = SessionStore::<u64>::builder();
        let builder = if let Some(max) = max { builder.max_sessions(max) } else { builder };
        builder.into_config().shards
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = shards(None);
    assert!(
        most.is_power_of_two() && most >= 512 && most >= 4 * cores && most < 513.max(8 * cores)
    );
    assert_eq!([1, 128, 129, 1_000, 4_096].map(|max| shards(Some(max))), [2, 2, 4, 16, 64]);
    assert_eq!(shards(Some(usize::MAX)), most);
}

/// Returns so many ids of a shard, as random as ids are: numbers in a row lie in the table in a pattern.
fn ids_of(store: &SessionStore<u64>, shard: usize, many: usize) -> Vec<u128> {
    let halves = [RandomState::new(), RandomState::new()];
    let bits =
        |n: u64| halves.iter().fold(0, |bits, half| bits << 64 | u128::from(half.hash_one(n)));
    let here = |bits: &u128| store.inner.gate.place(id(*bits)).shard == shard;
    (1..).map(bits).filter(here).take(many).collect()
}

/// Somebody else may have removed the dead session meanwhile, and a third have got its id.
#[test]
fn removal_that_follows_a_destroy_leaves_a_live_session_of_the_same_id() {
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    let id = *store.create_with(1).id();
    let (now, place) = (store.inner.clock.now(), store.inner.gate.place(id));
    let taken = store.inner.take_dead(&mut store.inner.gate.exclusive(place.shard), &place, now);
    assert!(taken.is_none() && store.contains(&id));
}

#[test]
fn rotation_is_free_again_when_the_walks_are_over() {
    let script = Script::default();
    let store = script.builder().build().unwrap();
    script.then(&ids_of(&store, 1, 1));
    let mut session = store.create_with(1);
    store.for_each(|_, _| ());
    assert_eq!(store.retain(|_, _| true), 0);
    // The first id that is drawn will do, although it is in a lower shard.
    script.then(&ids_of(&store, 0, 1));
    assert!(store.rotate(&mut session));
}

/// Somebody has ended the session and is not yet at its removal: whoever takes it out says what ended it.
#[test]
fn destroyed_session_is_told_as_destroyed_whoever_takes_it_out() {
    use crate::ends::Cause;
    type Take = fn(&SessionStore<u64>, SessionId);
    let takers: [(&str, Take); 5] = [
        ("clear", |store, _| store.clear()),
        ("purge", |store, _| assert_eq!(store.purge_expired(), 1)),
        ("slice", |store, _| store.inner.sweep_slice(store.inner.clock.now())),
        ("create at the bound", |store, _| drop(store.create_with(2))),
        ("create of the same id", |store, id| drop(store.try_create_with_id(&id, 2).unwrap())),
    ];
    for (name, take) in takers {
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&told);
        let store = SessionStore::<u64>::builder().ttl(MINUTE).shards(2).max_sessions(1);
        let store = store.on_end(move |end| listener.lock().unwrap().push((end.id, end.cause)));
        let store = store.clock(ManualClock::new()).build().unwrap();
        let id = *store.create_with(1).id();
        let revoke = |entry: &Entry<u64>| entry.revoke(store.inner.clock.now());
        assert_eq!(store.inner.gate.read(&store.inner.gate.place(id), revoke), Some(true));
        take(&store, id);
        assert_eq!(*told.lock().unwrap(), [(id, Cause::Destroyed)], "{name}");
        let stats = store.stats();
        assert_eq!((stats.destroyed, stats.expired, stats.evicted, stats.cleared), (1, 0, 0, 0));
        assert_eq!(store.len(), usize::from(name.starts_with("create")), "{name}");
    }
}

/// Where no lifetime is set no look ahead finds it.
#[test]
fn new_session_takes_the_place_of_the_dead_one_of_its_id() {
    let (store, id, _) = just_expired();
    store.try_create_with_id(&id, 2).unwrap();
    assert_eq!((store.len(), store.stats().expired), (1, 1));
    assert!(store.destroy(&id));
    assert!(!store.contains(&id) && store.is_empty());
}

/// On a shard that readers never leave, the removal may take its time; the end does not wait for it.
#[test]
fn destroy_takes_effect_while_the_shard_is_being_read() {
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    let id = *store.create_with(1).id();
    let place = store.inner.gate.place(id);
    let reader = store.inner.gate.shared(place.shard);
    let destroyed = std::thread::spawn({
        let store = store.clone();
        move || store.destroy(&id)
    });
    let is_dead = || store.inner.gate.read(&place, |entry| entry.deadline() == 0).unwrap();
    let dead = (0..1_000_000).any(|_| {
        std::thread::yield_now();
        is_dead()
    });
    drop(reader);
    assert!(destroyed.join().unwrap() && dead);
}

/// Destroys sessions and creates others in their place, one after the other.
fn take_turns(store: &SessionStore<u64>, ids: &mut [SessionId], turns: usize) {
    for turn in 0..turns {
        let id = &mut ids[turn % ids.len()];
        assert!(store.destroy(&*id));
        *id = *store.create_with(turn as u64).id();
    }
}

/// Which shard a session is in is random, so that each has its crowded moments.
#[test]
fn table_that_has_doubled_for_a_moment_is_halved_by_the_next_insert() {
    for (stay, buckets) in [(71, 128), (72, 256)] {
        let script = Script::default();
        let store = script.builder().build().unwrap();
        let drawn = ids_of(&store, 0, 120 + 1);
        script.then(&drawn);
        let mut ids: Vec<_> = (0..120).map(|n| *store.create_with(n).id()).collect();
        assert_eq!(store.inner.gate.exclusive(0).buckets(), 256);
        ids.drain(stay..).for_each(|id| assert!(store.destroy(&id)));
        take_turns(&store, &mut ids, 1);
        assert_eq!(store.inner.gate.exclusive(0).buckets(), buckets, "{stay} stay");
        assert!(ids.iter().all(|id| store.contains(id)));
    }
}

/// What removed sessions leave behind in a table counts as used until it is rebuilt.
#[test]
fn tables_stay_as_large_as_they_are_while_sessions_come_and_go() {
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    // Of the one table 79 % of its room, of the other 56 %.
    let mut ids: Vec<_> = (0..13_600).map(|n| *store.create_with(n).id()).collect();
    let before = store.inner.gate.buckets();
    let turns = 20 * ids.len();
    take_turns(&store, &mut ids, turns);
    assert_eq!(store.inner.gate.buckets(), before);
    assert!(ids.iter().all(|id| store.contains(id)));
}
