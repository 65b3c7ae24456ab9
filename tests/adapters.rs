//! What each adapter promises beyond the conformance suite: dates to the moment, the store's own limits,
//! and that the store inside is the same sessions.

use std::fmt::Debug;
use std::time::Duration;

use cloakroom::adapters::{actix_session, async_session, tower_sessions};
use cloakroom::conformance::block_on;
use cloakroom::{Builder, Clock, MAX_LIFETIME, ManualClock, OnFull, SessionId, SessionStore};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A store with a limit on lifetimes, on a clock that stands still.
fn within_an_hour<T>() -> (SessionStore<T>, ManualClock) {
    let clock = ManualClock::new();
    let builder = SessionStore::builder().ttl(HOUR).idle_timeout(MINUTE);
    (builder.clock(clock.clone()).build().unwrap(), clock)
}

fn with_room_for_one<T>() -> SessionStore<T> {
    let builder: Builder<T> = SessionStore::builder().max_sessions(1).on_full(OnFull::Refuse);
    builder.build().unwrap()
}

fn assert_shape<S, T>()
where
    S: Clone + Debug + Default + From<SessionStore<T>> + Send + Sync + 'static,
{
}

#[test]
fn stores_have_the_shape_that_frameworks_want() {
    assert_shape::<tower_sessions::Store, tower_sessions::State>();
    assert_shape::<actix_session::Store, actix_session::State>();
    assert_shape::<async_session::Store, async_session::State>();
}

mod tower {
    use std::collections::HashMap;

    use ::tower_sessions::session::{Id, Record};
    use ::tower_sessions::session_store::Error;
    use ::tower_sessions::{ExpiredDeletion, SessionStore as _};
    use time::OffsetDateTime;

    use super::*;
    use cloakroom::Cause;
    use cloakroom::adapters::tower_sessions::{State, Store, session_id, tower_id};
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake, Waker};

    fn record(lifetime: Duration) -> Record {
        let data = HashMap::from([("user".to_owned(), "Sherlock Holmes".into())]);
        Record { id: Id::default(), data, expiry_date: OffsetDateTime::now_utc() + lifetime }
    }

    fn create(store: &Store, lifetime: Duration) -> Record {
        let mut record = record(lifetime);
        block_on(store.create(&mut record)).unwrap();
        record
    }

    fn load(store: &Store, id: Id) -> Option<Record> {
        block_on(store.load(&id)).unwrap()
    }

    fn assert_date_is_kept(clock: Clock) {
        let store = Store::from(SessionStore::builder().clock(clock).build().unwrap());
        for extra in (0..10_000).step_by(397) {
            let record = create(&store, Duration::from_micros(20_000 + extra));
            loop {
                let found = load(&store, record.id);
                if OffsetDateTime::now_utc() >= record.expiry_date {
                    break;
                }
                assert!(
                    found.is_some(),
                    "{} before",
                    record.expiry_date - OffsetDateTime::now_utc()
                );
            }
            assert_eq!(load(&store, record.id), None);
            assert!(!store.sessions().contains(&session_id(record.id)));
        }
    }

    #[test]
    fn date_is_kept_to_the_moment() {
        assert_date_is_kept(Clock::system());
    }

    #[test]
    fn date_is_kept_to_the_moment_by_a_ticking_clock() {
        assert_date_is_kept(Clock::ticking().unwrap());
    }

    /// A store's clock may be some milliseconds behind the date.
    #[test]
    fn session_is_over_at_its_date_though_the_clock_stands_still() {
        let sessions = SessionStore::builder().clock(ManualClock::new()).build().unwrap();
        let store = Store::from(sessions);
        let record = create(&store, Duration::from_millis(1));
        while OffsetDateTime::now_utc() <= record.expiry_date {
            std::hint::spin_loop();
        }
        assert_eq!(load(&store, record.id), None);
    }

    #[test]
    fn far_dates_are_kept() {
        // A clock that stands still: the system's may tick between the save and the look.
        let sessions = SessionStore::builder().clock(ManualClock::new()).build().unwrap();
        let store = Store::from(sessions);
        let date = time::Date::MAX.midnight().assume_utc();
        let mut record = Record { expiry_date: date, ..record(HOUR) };
        block_on(store.create(&mut record)).unwrap();
        block_on(store.save(&record)).unwrap();
        assert_eq!(load(&store, record.id), Some(record.clone()));
        assert_eq!(store.sessions().expires_in(&session_id(record.id)), Some(MAX_LIFETIME));
        record.expiry_date = time::Date::MIN.midnight().assume_utc();
        block_on(store.save(&record)).unwrap();
        assert_eq!(load(&store, record.id), None);
    }

    #[test]
    fn id_has_one_text_in_both_forms() {
        for id in [Id(0), Id(1), Id(-1), Id(i128::MAX), Id(i128::MIN), Id::default()] {
            let ours = session_id(id);
            assert_eq!(ours.to_token().as_str(), id.to_string());
            assert_eq!(SessionId::parse(&id.to_string()), Some(ours));
            assert_eq!(tower_id(&ours), id);
        }
    }

    #[test]
    fn saves_do_not_outlive_the_stores_ttl_and_its_idle_timeout_does_not_apply() {
        let (sessions, clock) = within_an_hour();
        let store = Store::from(sessions);
        let mut record = create(&store, 10 * HOUR);
        clock.advance(HOUR - MINUTE);
        record.expiry_date = OffsetDateTime::now_utc() + 10 * HOUR;
        block_on(store.save(&record)).unwrap();
        assert_eq!(load(&store, record.id), Some(record.clone()));
        clock.advance(MINUTE);
        assert_eq!(load(&store, record.id), None);
    }

    #[test]
    fn refused_saves_are_counted_and_are_no_error() {
        let store = Store::default();
        block_on(store.save(&record(HOUR))).unwrap();
        assert_eq!((store.sessions().stats().saves_refused, store.sessions().len()), (1, 0));
    }

    #[test]
    fn late_save_is_no_error_however_large_it_is() {
        let weigh = |state: &State| if state.get("large").is_some() { 2_000 } else { 1 };
        let builder = SessionStore::builder().max_bytes(1_000, weigh);
        let store = Store::from(builder.build().unwrap());
        let mut record = create(&store, HOUR);
        record.data.insert("large".to_owned(), true.into());
        let refused = block_on(store.save(&record)).unwrap_err();
        assert!(refused.to_string().contains("max_bytes"), "{refused}");
        block_on(store.delete(&record.id)).unwrap();
        block_on(store.save(&record)).unwrap();
        assert_eq!(store.sessions().stats().saves_refused, 1);
    }

    #[test]
    fn save_with_an_earlier_date_wakes_who_watches() {
        struct Bell(AtomicBool);
        impl Wake for Bell {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let store = Store::default();
        let mut record = create(&store, HOUR);
        let mut watch = store.sessions().watch(&session_id(record.id)).unwrap();
        let bell = Arc::new(Bell(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&bell));
        assert!(Pin::new(&mut watch).poll(&mut Context::from_waker(&waker)).is_pending());
        record.expiry_date = OffsetDateTime::now_utc() - MINUTE;
        block_on(store.save(&record)).unwrap();
        assert!(bell.0.load(Ordering::SeqCst));
        assert_eq!(watch.wait(), Cause::Expired);
    }

    #[test]
    fn full_store_is_an_error_that_names_the_limit() {
        let store = Store::from(with_room_for_one());
        create(&store, HOUR);
        let error = block_on(store.create(&mut record(HOUR))).unwrap_err();
        assert!(matches!(error, Error::Backend(_)));
        assert_eq!(error.to_string(), "the store is full: max_sessions is 1");
    }

    #[test]
    fn expired_sessions_are_deleted_on_request() {
        let clock = ManualClock::new();
        let sessions = SessionStore::builder().clock(clock.clone()).build().unwrap();
        let store = Store::from(sessions);
        let (dead, live) = (create(&store, HOUR), create(&store, 10 * HOUR));
        clock.advance(2 * HOUR);
        block_on(store.delete_expired()).unwrap();
        assert_eq!((store.sessions().len(), load(&store, dead.id)), (1, None));
        assert_eq!(load(&store, live.id), Some(live));
    }

    #[test]
    fn what_is_done_to_the_sessions_inside_is_done() {
        let store = Store::default();
        let (first, second) = (create(&store, HOUR), create(&store, HOUR));
        let clone = store.clone();
        clone.sessions().destroy(&first.id.to_string());
        assert_eq!(load(&store, first.id), None);
        let mut session = clone.sessions().load(&session_id(second.id)).unwrap();
        clone.sessions().rotate(&mut session);
        let new = tower_id(session.id());
        assert_eq!(load(&store, second.id), None);
        assert_eq!(load(&store, new), Some(Record { id: new, ..second }));
    }

    #[test]
    fn debug_shows_neither_ids_nor_data() {
        let store = Store::default();
        let record = create(&store, HOUR);
        let text = format!("{store:?}");
        assert!(!text.contains(&record.id.to_string()) && !text.contains("Holmes"), "{text}");
    }
}

mod actix {
    use ::actix_session::storage::{SaveError, SessionKey, SessionStore as _};

    use super::*;
    use cloakroom::adapters::actix_session::{State, Store};

    const TTL: time::Duration = time::Duration::hours(10);

    fn state() -> State {
        State::from([("user".to_owned(), "\"Sherlock Holmes\"".to_owned())])
    }

    fn save(store: &Store) -> SessionKey {
        block_on(store.save(state(), &TTL)).unwrap()
    }

    fn load(store: &Store, key: &SessionKey) -> Option<State> {
        block_on(store.load(key)).unwrap()
    }

    #[test]
    fn key_is_22_characters_of_our_own() {
        let store = Store::default();
        let key = save(&store);
        assert_eq!(key.as_ref().len(), 22);
        assert!(SessionId::parse(key.as_ref()).is_some_and(|id| store.sessions().contains(&id)));
    }

    #[test]
    fn nothing_outlives_the_stores_ttl() {
        let (sessions, clock) = within_an_hour();
        let store = Store::from(sessions);
        let [read, touched, updated] = [(); 3].map(|()| save(&store));
        let [read_text, updated_text] = [&read, &updated].map(|key| key.as_ref().to_owned());
        clock.advance(HOUR - MINUTE);
        block_on(store.update_ttl(&touched, &TTL)).unwrap();
        let updated = block_on(store.update(updated, State::new(), &TTL)).unwrap();
        assert_eq!((updated.as_ref(), read.as_ref()), (&*updated_text, &*read_text));
        for key in [&read, &touched, &updated] {
            assert!(load(&store, key).is_some(), "and the idle timeout does not apply");
        }
        clock.advance(MINUTE);
        for key in [&read, &touched, &updated] {
            assert_eq!(load(&store, key), None);
        }
    }

    #[test]
    fn shorter_ttl_does_not_shorten_a_life_that_was_promised() {
        let clock = ManualClock::new();
        let sessions = SessionStore::builder().clock(clock.clone()).build().unwrap();
        let store = Store::from(sessions);
        let key = save(&store);
        block_on(store.update_ttl(&key, &time::Duration::minutes(1))).unwrap();
        clock.advance(9 * HOUR);
        assert_eq!(load(&store, &key), Some(state()));
    }

    #[test]
    fn loading_or_updating_what_never_was_is_a_miss() {
        let store = Store::default();
        for text in ["", "no such session", "AAAAAAAAAAAAAAAAAAAAAA", &"a".repeat(4064)] {
            let key = || SessionKey::try_from(text.to_owned()).unwrap();
            assert_eq!(load(&store, &key()), None);
            assert_eq!(block_on(store.update(key(), state(), &TTL)).unwrap(), key());
            block_on(store.update_ttl(&key(), &TTL)).unwrap();
            block_on(store.delete(&key())).unwrap();
            assert_eq!(load(&store, &key()), None);
        }
        assert_eq!((store.sessions().len(), store.sessions().stats().saves_refused), (0, 4));
    }

    #[test]
    fn full_store_is_an_error_that_names_the_limit() {
        let store = Store::from(with_room_for_one());
        save(&store);
        let error = block_on(store.save(state(), &TTL)).unwrap_err();
        let SaveError::Other(error) = error else { panic!("{error:?}") };
        assert_eq!(error.to_string(), "the store is full: max_sessions is 1");
    }

    #[test]
    fn debug_shows_neither_ids_nor_data() {
        let store = Store::default();
        let key = save(&store);
        let text = format!("{store:?}");
        assert!(!text.contains(key.as_ref()) && !text.contains("Holmes"), "{text}");
    }
}

mod of_async_session {
    use ::async_session::chrono::Utc;
    use ::async_session::{Session, SessionStore as _};

    use super::*;
    use cloakroom::adapters::async_session::{State, Store, session_id};

    fn session(lifetime: Option<Duration>) -> Session {
        let mut session = Session::new();
        lifetime.into_iter().for_each(|lifetime| session.expire_in(lifetime));
        session.insert("user", "Sherlock Holmes").unwrap();
        session
    }

    fn create(store: &Store, lifetime: Option<Duration>) -> String {
        block_on(store.store_session(session(lifetime))).unwrap().unwrap()
    }

    fn load(store: &Store, cookie: &str) -> Option<Session> {
        block_on(store.load_session(cookie.to_owned())).unwrap()
    }

    #[test]
    fn table_holds_the_id_and_never_the_cookie() {
        let store = Store::default();
        let cookie = create(&store, None);
        let loaded = load(&store, &cookie).unwrap();
        assert!(store.sessions().contains(&session_id(loaded.id())));
        assert!(!store.sessions().contains(&cookie));
        assert!(store.sessions().destroy(&session_id(loaded.id())));
        assert_eq!(load(&store, &cookie), None);
    }

    #[test]
    fn session_is_over_at_its_date_though_the_clock_stands_still() {
        let sessions = SessionStore::builder().clock(ManualClock::new()).build().unwrap();
        let store = Store::from(sessions);
        let session = session(Some(Duration::from_millis(1)));
        let date = *session.expiry().unwrap();
        let cookie = block_on(store.store_session(session)).unwrap().unwrap();
        while Utc::now() <= date {
            std::hint::spin_loop();
        }
        assert_eq!(load(&store, &cookie), None);
    }

    /// A store's clock may be some milliseconds ahead of the date.
    #[test]
    fn session_whose_end_is_near_is_there_until_its_date() {
        let clock = ManualClock::new();
        let sessions = SessionStore::builder().clock(clock.clone()).build().unwrap();
        let store = Store::from(sessions);
        let cookie = create(&store, Some(HOUR));
        let id = session_id(load(&store, &cookie).unwrap().id());
        let left = store.sessions().expires_in(&id).unwrap();
        clock.advance(left - Duration::from_millis(1));
        assert!(load(&store, &cookie).is_some());
    }

    #[test]
    fn expiry_is_kept_to_the_moment_and_can_be_moved() {
        let store = Store::default();
        for _ in 0..10 {
            let cookie = create(&store, Some(Duration::from_millis(1)));
            let Some(mut session) = load(&store, &cookie) else { continue };
            session.expire_in(Duration::from_millis(30));
            let expiry = *session.expiry().unwrap();
            let stored = block_on(store.store_session(session)).unwrap();
            assert_eq!(stored, None);
            let loaded = load(&store, &cookie);
            assert!(loaded.is_none_or(|loaded| loaded.expiry() == Some(&expiry)));
            while Utc::now() < expiry {
                std::hint::spin_loop();
            }
            assert_eq!(load(&store, &cookie), None);
        }
    }

    #[test]
    fn session_without_expiry_lives_as_long_as_the_store_lets_it() {
        let (sessions, clock) = within_an_hour();
        let store = Store::from(sessions);
        let cookie = create(&store, None);
        clock.advance(HOUR - MINUTE);
        assert!(load(&store, &cookie).is_some(), "the idle timeout does not apply");
        clock.advance(MINUTE);
        assert_eq!(load(&store, &cookie), None);
    }

    #[test]
    fn taken_id_is_regenerated_and_the_cookie_is_the_new_one() {
        let store = Store::default();
        let first = session(None);
        let mut second = first.clone();
        let cookie = block_on(store.store_session(first)).unwrap().unwrap();
        second.set_cookie_value(cookie.clone());
        let other = block_on(store.store_session(second)).unwrap().unwrap();
        assert_ne!(cookie, other);
        let ids = [&cookie, &other].map(|cookie| load(&store, cookie).unwrap().id().to_owned());
        assert_eq!(ids[1], Session::id_from_cookie_value(&other).unwrap());
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn states_of_the_same_values_are_equal_in_whatever_order_they_came() {
        let store = Store::default();
        let states = [1, 1, 2].map(|last| {
            let mut session = Session::new();
            let keys = (0..9).map(|key| (key, 7)).chain([(9, last)]);
            keys.for_each(|(key, value)| session.insert(&key.to_string(), value).unwrap());
            let id = session_id(session.id());
            block_on(store.store_session(session)).unwrap();
            State::clone(&store.sessions().peek(&id).unwrap())
        });
        assert!(states[0] == states[1] && states[0] != states[2]);
    }

    #[test]
    fn handle_that_was_stored_is_no_longer_dirty() {
        let store = Store::default();
        let session = session(None);
        block_on(store.store_session(session.clone())).unwrap();
        assert!(!session.data_changed());
    }

    #[test]
    fn any_text_can_be_a_value() {
        let store = Store::default();
        let mut session = Session::new();
        let texts = ["", "\"", "\u{0}", "пароль", "{\"a\":[1,2,{}]}", &"x".repeat(10_000)];
        texts.iter().for_each(|text| session.insert_raw(text, (*text).to_owned()));
        let cookie = block_on(store.store_session(session)).unwrap().unwrap();
        let loaded = load(&store, &cookie).unwrap();
        assert!(texts.iter().all(|text| loaded.get_raw(text).as_deref() == Some(*text)));
        assert_eq!(loaded.len(), texts.len());
    }

    #[test]
    fn destroying_again_or_what_never_was_is_no_error() {
        let store = Store::default();
        let cookie = create(&store, None);
        let session = load(&store, &cookie).unwrap();
        block_on(store.destroy_session(session.clone())).unwrap();
        block_on(store.destroy_session(session)).unwrap();
        block_on(store.destroy_session(Session::new())).unwrap();
        assert_eq!(store.sessions().len(), 0);
    }

    #[test]
    fn full_store_is_an_error_that_names_the_limit() {
        let store = Store::from(with_room_for_one());
        create(&store, None);
        let error = block_on(store.store_session(session(None))).unwrap_err();
        assert_eq!(error.to_string(), "the store is full: max_sessions is 1");
    }

    #[test]
    fn debug_shows_neither_ids_nor_data() {
        let store = Store::default();
        let cookie = create(&store, Some(HOUR));
        let session = load(&store, &cookie).unwrap();
        let state = store.sessions().load(&session_id(session.id())).unwrap();
        let text = format!("{store:?} {:?}", *state);
        assert!(!text.contains(session.id()) && !text.contains(&cookie), "{text}");
        assert!(!text.contains("Holmes") && text.contains("State { len: 1"), "{text}");
    }
}
