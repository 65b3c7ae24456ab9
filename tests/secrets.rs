//! Nothing secret in text: no id and no value in any `Debug`, error or panic-free message.

use std::error::Error;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use cloakroom::{
    Attributes, Builder, ManualClock, OnFull, RotateError, SaveError, Session, SessionStore,
    StoreMetrics,
};
use proptest::prelude::*;

/// Texts collected from everything that can be shown.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<String>>>);

impl Shown {
    fn debug(&self, what: &dyn Debug) {
        self.0.lock().unwrap().extend([format!("{what:?}"), format!("{what:#?}")]);
    }

    fn error(&self, error: &dyn Error) {
        self.debug(&error);
        let mut next = Some(error);
        while let Some(error) = next {
            self.0.lock().unwrap().extend([error.to_string(), format!("{error:#?}")]);
            next = error.source();
        }
    }

    /// Asserts that no run of 6 or more characters of a secret was shown.
    fn assert_hides(&self, secret: &str) {
        let characters: Vec<char> = secret.chars().collect();
        for run in characters.windows(6) {
            let run: String = run.iter().collect();
            for shown in self.0.lock().unwrap().iter() {
                assert!(!shown.contains(&run), "{run} of {secret} is in {shown}");
            }
        }
    }
}

/// Shows all that one session, its store and their errors can show.
fn show_everything(shown: &Shown, foreign: &str, name: &str, value: &str) -> Vec<String> {
    let ends = shown.clone();
    let builder: Builder<Attributes> = SessionStore::builder()
        .max_sessions(1)
        .on_full(OnFull::Refuse)
        .clock(ManualClock::new())
        .on_end(move |end| ends.debug(&end));
    shown.debug(&builder);
    let store = builder.build().unwrap();
    let mut s: Session = store.create_with_id(String::from(foreign));
    s.set(name, value);
    assert!(store.save(&s));
    let mut tokens = vec![s.id().to_token().to_string()];
    show_handle(shown, &store, &s);
    let rejected = store.try_create_with(s.clone().iter().collect()).unwrap_err();
    shown.error(&rejected);
    shown.error(&rejected.error);
    shown.error(&store.try_create_with_id(s.id(), Attributes::new()).unwrap_err());
    store.update(s.id(), |_| ());
    s.set(name, value);
    shown.error(&store.try_save(&mut s).unwrap_err());
    assert!(store.rotate(&mut s));
    tokens.push(s.id().to_token().to_string());
    show_handle(shown, &store, &s);
    store.destroy(s.id());
    shown.error(&store.try_save(&mut s).unwrap_err());
    shown.error(&store.try_rotate(&mut s).unwrap_err());
    tokens
}

fn show_handle(shown: &Shown, store: &SessionStore, s: &Session) {
    shown.debug(s);
    shown.debug(s.id());
    shown.debug(&s.id().to_token());
    shown.debug(&**s);
    shown.debug(&store.load(s.id()));
    shown.debug(store);
    shown.debug(&store.stats());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_text_shows_an_id_or_a_value(
        // Capitals and digits in turn, so that no field's name is one by chance.
        foreign in "([A-Z][0-9]){6,20}",
        name in "([A-Z][0-9]){6,20}",
        value in "([A-Z][0-9]){6,20}",
    ) {
        let shown = Shown::default();
        let tokens = show_everything(&shown, &foreign, &name, &value);
        prop_assert!(shown.0.lock().unwrap().len() > 40);
        for secret in tokens.iter().chain([&foreign, &name, &value]) {
            shown.assert_hides(secret);
        }
    }
}

#[test]
fn typed_data_needs_no_debug_and_is_never_shown() {
    #[derive(Clone)]
    struct Secret;
    impl Debug for Secret {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("a value was shown");
        }
    }
    let shown = Shown::default();
    let ends = shown.clone();
    let builder = SessionStore::<Secret>::builder().max_sessions(1).on_full(OnFull::Refuse);
    let store = builder.on_end(move |end| ends.debug(&end)).build().unwrap();
    let mut s = store.create_with(Secret);
    shown.debug(&s);
    shown.debug(&store);
    shown.error(&store.try_create_with(Secret).unwrap_err());
    store.destroy(s.id());
    assert!(matches!(store.try_save(&mut s), Err(SaveError::Gone)));
    assert!(matches!(store.try_rotate(&mut s), Err(RotateError::Gone)));
    assert!(!shown.0.lock().unwrap().is_empty());
    assert_eq!(store.stats().panics, 0);
}

/// To hide what is secret is not to say nothing.
#[test]
fn debug_and_errors_tell_what_is_no_secret() {
    let told = Shown::default();
    let ends = told.clone();
    let builder = SessionStore::<u32>::builder().shards(2).max_sessions(1).on_full(OnFull::Refuse);
    let builder = builder.on_end(move |end| ends.debug(&end));
    let settings = format!("{builder:?}");
    assert!(settings.contains("max_sessions: Some(1)") && settings.contains("on_full: Refuse"));
    let store = builder.build().unwrap();
    let mut session = store.create();
    assert_eq!(format!("{store:?}"), "SessionStore { len: 1, shards: 2, .. }");
    let metrics = format!("{:?}", StoreMetrics::new(&store).named("shop"));
    assert!(metrics.contains("StoreMetrics { store: SessionStore {") && metrics.contains("shop"));
    let rejected = store.try_create_with(7).unwrap_err();
    assert_eq!(format!("{rejected:?}"), "Rejected { error: AtCapacity { max_sessions: 1 }, .. }");
    assert_eq!(rejected.to_string(), "the store is full: max_sessions is 1");
    let theirs = store.try_create_with_id(session.id(), 7).unwrap_err();
    assert_eq!(theirs.to_string(), "the given id belongs to a live session");
    assert!(SaveError::Conflict.to_string().contains("saved by somebody else"));
    assert!(store.destroy(session.id()));
    let end = format!("End {{ id: {:?}, cause: Destroyed, .. }}", session.id());
    assert_eq!(told.0.lock().unwrap()[0], end);
    assert_eq!(store.try_save(&mut session).unwrap_err().to_string(), "the session has ended");
    assert_eq!(store.try_rotate(&mut session).unwrap_err().to_string(), "the session has ended");
    let attributes: Attributes = [("user", "42")].into_iter().collect();
    assert_eq!(format!("{attributes:?}"), "Attributes { len: 1, .. }");
}

#[test]
fn different_sessions_can_be_told_apart_in_a_log() {
    let store = SessionStore::new(60);
    let (a, b) = (store.create(), store.create());
    assert_ne!(format!("{a:?}"), format!("{b:?}"));
    assert_eq!(format!("{a:?}"), format!("{:?}", store.load(a.id()).unwrap()));
}
