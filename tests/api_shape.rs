//! The shape of the public API: what a user of `rust-web-server`'s store finds again, name for name,
//! and what typed sessions, handles and stores are by type.

use std::time::Duration;

use cloakroom::{
    Attributes, Builder, Cause, Clock, End, ManualClock, OnFull, Policy, Session, SessionId,
    SessionInfo, SessionStore, SessionToken, StoreStats, Subject, Watch,
};

#[derive(Clone, Debug, Default, PartialEq)]
struct Visitor {
    user: Option<u64>,
    cart: Vec<String>,
}

#[test]
fn store_keeps_the_shape_of_rust_web_server() {
    let store = SessionStore::new(3600);
    let mut s = store.create();
    s.set("user_id", "42");
    let saved: bool = store.save(&s);
    assert!(saved);
    let s = store.load(s.id()).unwrap();
    assert_eq!(s.get("user_id"), Some("42"));
    let destroyed: bool = store.destroy(s.id());
    assert!(destroyed);
    assert!(!store.destroy(s.id()));

    store.create_with_id(String::from("…"));
    let purged: usize = store.purge_expired();
    assert_eq!(purged, 0);
    let len: usize = store.len();
    assert_eq!(len, 1);
    assert!(!store.is_empty());
    let same = store.clone();
    assert!(same.load("…").is_some());
}

#[test]
fn attributes_are_set_read_and_removed_by_name() {
    let store: SessionStore = SessionStore::new(3600);
    let mut s: Session = store.create();
    assert_eq!(s.get("name"), None);
    assert!(!s.contains("name"));
    s.set("name", "value");
    s.set(String::from("name"), String::from("other"));
    assert!(s.contains("name"));
    assert_eq!(s.get("name"), Some("other"));
    assert_eq!(s.len(), 1);
    assert_eq!(s.remove("name").as_deref(), Some("other"));
    assert_eq!(s.remove("name"), None);
    assert!(s.is_empty());
    s.extend([("b", "2"), ("a", "1")]);
    assert_eq!(s.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
    s.clear();
    assert_eq!(*s, Attributes::new());
    let made: Attributes = [("a", "1")].into_iter().collect();
    assert_eq!(made.into_iter().next(), Some((String::from("a"), String::from("1"))));
}

fn typed_store(clock: &ManualClock) -> SessionStore<Visitor> {
    let builder: Builder<Visitor> = SessionStore::<Visitor>::builder()
        .ttl(Duration::from_secs(12 * 3600))
        .idle_timeout(Duration::from_secs(30 * 60))
        .max_sessions(1_000_000)
        .on_full(OnFull::Evict)
        .shards(64)
        .clock(clock.clone())
        .on_end(|end: End<'_, Visitor>| {
            let _: (SessionId, &Visitor, Cause) = (end.id, end.data, end.cause);
        });
    builder.build().unwrap()
}

#[test]
fn typed_store_has_every_operation_of_the_contract() {
    let store = typed_store(&ManualClock::new());
    let mut s = store.create();
    assert_eq!(*s, Visitor::default());
    let s2 = store.create_with(Visitor { user: Some(7), cart: Vec::new() });
    assert_eq!(s2.user, Some(7));
    s.cart.push(String::from("hat"));
    assert!(store.save(&s));
    s.cart.push(String::from("coat"));
    assert_eq!(store.try_save(&mut s), Ok(()));
    let id = *s.id();
    assert_eq!(store.update(&id, |v| v.cart.drain(..).count()), Some(2));
    assert!(store.peek(&id).is_some_and(|s| s.cart.is_empty()));
    assert!(store.touch(&id));
    assert!(store.contains(&id));
    assert!(store.rotate(&mut s));
    assert!(!store.contains(&id) && store.contains(s.id()));
    assert_eq!(store.expires_in(s.id()), Some(Duration::from_secs(30 * 60)));
    assert!(store.set_expiry(s.id(), Duration::from_secs(60)));
    let mut seen = 0;
    store.for_each(|_: &SessionId, _: &Visitor| seen += 1);
    assert_eq!(seen, 2);
    assert_eq!(store.retain(|_: &SessionId, v: &Visitor| v.user.is_some()), 1);
    store.clear();
    let stats: StoreStats = store.stats();
    assert_eq!((stats.live, stats.created, stats.rotated), (0, 2, 1));
}

#[test]
fn every_method_takes_an_id_in_each_of_its_forms() {
    let store = SessionStore::new(3600);
    let id = *store.create().id();
    let token: SessionToken = id.to_token();
    let owned = token.to_string();
    let text: &str = token.as_ref();
    assert_eq!(text, token.as_str());
    assert!(store.load(&id).is_some() && store.load(text).is_some());
    assert!(store.load(&owned).is_some() && store.load(&token).is_some());
    assert!(store.peek(&id).is_some() && store.peek(text).is_some());
    assert!(store.peek(&owned).is_some() && store.peek(&token).is_some());
    for contained in [store.contains(&id), store.contains(text), store.contains(&owned)] {
        assert!(contained);
    }
    assert!(store.touch(&id) && store.touch(text) && store.touch(&owned) && store.touch(&token));
    assert_eq!(store.update(&id, |a| a.set("n", "1")), Some(()));
    assert_eq!(store.update(text, |a| a.len()), Some(1));
    assert_eq!(store.update(&owned, |a| a.len()), store.update(&token, |a| a.len()));
    for left in [store.expires_in(&id), store.expires_in(text), store.expires_in(&owned)] {
        assert!(left.is_some());
    }
    assert!(store.set_expiry(text, Duration::from_secs(9)));
    assert!(store.set_expiry(&owned, Duration::from_secs(9)));
    assert!(store.set_expiry(&token, cloakroom::Expiry::Never));
    assert!(store.destroy(&owned));
    assert!(!store.destroy(&id) && !store.destroy(text) && !store.destroy(&token));
}

#[test]
fn handles_and_stores_go_where_threads_and_tasks_need_them() {
    fn everywhere<X: Send + Sync + 'static>() {}
    fn cloned<X: Clone>() {}
    fn copied<X: Copy>() {}
    struct Rigid;

    everywhere::<SessionStore>();
    everywhere::<SessionStore<Visitor>>();
    everywhere::<Session<Visitor>>();
    everywhere::<SessionId>();
    everywhere::<SessionToken>();
    everywhere::<Clock>();
    everywhere::<ManualClock>();
    everywhere::<StoreStats>();
    everywhere::<Watch<Visitor>>();
    everywhere::<SessionInfo>();
    everywhere::<Subject>();
    everywhere::<Policy>();
    copied::<SessionId>();
    copied::<SessionToken>();
    copied::<Subject>();
    // Neither needs anything of the data.
    cloned::<SessionStore<Rigid>>();
    cloned::<Session<Rigid>>();
}

#[test]
fn session_is_an_owned_snapshot_that_outlives_its_store() {
    let store = SessionStore::<Visitor>::builder().build().unwrap();
    let s = store.create_with(Visitor { user: Some(1), cart: Vec::new() });
    let loaded = store.load(s.id()).unwrap();
    store.destroy(s.id());
    drop(store);
    assert_eq!((s.user, loaded.user), (Some(1), Some(1)));
}

#[test]
fn changes_of_a_handle_stay_in_it_until_saved() {
    let store = SessionStore::<Visitor>::builder().build().unwrap();
    let mut s = store.create();
    let before = s.clone();
    s.user = Some(1);
    let mut fork = s.clone();
    fork.user = Some(2);
    assert_eq!((before.user, s.user, fork.user), (None, Some(1), Some(2)));
    assert_eq!(store.load(s.id()).unwrap().user, None);
    assert!(store.save(&s));
    s.user = Some(3);
    assert_eq!(store.load(s.id()).unwrap().user, Some(1));
}

#[test]
fn data_needs_neither_default_nor_clone_to_be_stored_and_read() {
    struct Rigid(u64);
    let store = SessionStore::<Rigid>::builder().build().unwrap();
    let mut s = store.create_with(Rigid(5));
    assert!(store.rotate(&mut s));
    assert_eq!(store.load(s.id()).unwrap().0, 5);
    assert_eq!(store.retain(|_, rigid| rigid.0 != 5), 1);
}

#[test]
fn clones_of_a_store_are_one_store() {
    let store = SessionStore::new(3600);
    let other = store.clone();
    let s = store.create();
    assert!(other.contains(s.id()));
    assert!(other.destroy(s.id()));
    assert!(store.is_empty());
    assert_eq!(store.stats(), other.stats());
}
