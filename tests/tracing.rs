//! What a store tells the `tracing` facade.

use std::convert::Infallible;
use std::fmt::{Debug, Write};
use std::future::{Future, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use cloakroom::adapters::axum::{Session, SessionLayer};
use cloakroom::{ManualClock, SessionId, SessionStore, Subject};
use tower::{Layer, ServiceExt};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, with_default};
use tracing::{Event, Level, Metadata, Subscriber};

/// Writes down every event, one line each, and does something with each.
#[derive(Clone)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    level: Level,
    react: Arc<dyn Fn() + Send + Sync>,
}

impl Log {
    fn new(level: Level) -> Self {
        Self { lines: Arc::default(), level, react: Arc::new(|| ()) }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} {}", event.metadata().level(), event.metadata().target()));
        event.record(&mut line);
        self.lines.lock().unwrap().push(line.0);
        (self.react)();
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn line(id: &SessionId, cause: &str) -> String {
    let session = format!("{:08x}", id.fingerprint());
    format!("DEBUG cloakroom message=session ended session={session} cause={cause}")
}

#[test]
fn each_end_is_an_event_with_its_cause_and_the_ids_fingerprint() {
    let clock = ManualClock::new();
    let log = Log::new(Level::TRACE);
    // Whether or not dropping the data runs anybody's code.
    let builder = SessionStore::<u64>::builder().ttl(Duration::from_secs(60)).max_sessions(2);
    let store = builder.clock(clock.clone()).shards(2).build().unwrap();
    let expected = with_default(log.clone(), || {
        let mut first = store.create();
        let mut expected = vec![line(first.id(), "Rotated")];
        store.rotate(&mut first);
        clock.advance(Duration::from_secs(1));
        let second = store.create();
        store.create();
        expected.push(line(first.id(), "Evicted"));
        store.destroy(second.id());
        expected.push(line(second.id(), "Destroyed"));
        store.clear();
        let last = store.create();
        clock.advance(Duration::from_secs(60));
        assert_eq!(store.purge_expired(), 1);
        expected.push(line(last.id(), "Expired"));
        expected
    });
    let mut lines = log.lines();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines.remove(3).ends_with("cause=Cleared"));
    assert_eq!(lines, expected);
}

#[test]
fn loads_creates_and_saves_are_no_events_at_any_level() {
    let log = Log::new(Level::TRACE);
    with_default(log.clone(), || {
        let store = SessionStore::new(60);
        let mut session = store.create();
        session.set("user", "ada");
        store.save(&session);
        store.update(session.id(), |data| data.set("user", "bob"));
        assert!(store.load(session.id()).is_some() && store.load("unknown").is_none());
        store.touch(session.id());
    });
    assert_eq!(log.lines(), [""; 0]);
}

#[test]
fn neither_ids_nor_data_are_in_an_event() {
    let log = Log::new(Level::TRACE);
    let token = with_default(log.clone(), || {
        let store = SessionStore::<String>::builder().build().unwrap();
        let session = store.create_with("secret-data".to_owned());
        store.destroy(session.id());
        session.id().to_token()
    });
    let lines = log.lines().join("\n");
    assert!(lines.contains("Destroyed"));
    assert!(!lines.contains("secret") && !lines.contains(&token.as_str()[..6]), "{lines}");
}

#[test]
fn changes_that_come_after_the_response_are_told() {
    let log = Log::new(Level::TRACE);
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let service = tower::service_fn(move |request: http::Request<()>| {
        *keep.lock().unwrap() = Some(Session::<u64>::of(&request).unwrap());
        ready(Ok::<_, Infallible>(http::Response::new(String::new())))
    });
    let service = SessionLayer::new(SessionStore::<u64>::default()).layer(service);
    let mut response = pin!(service.oneshot(http::Request::new(())));
    let mut cx = Context::from_waker(Waker::noop());
    with_default(log.clone(), || {
        assert!(response.as_mut().poll(&mut cx).is_ready());
        *kept.lock().unwrap().take().unwrap() += 1;
    });
    let lost = "DEBUG cloakroom message=changes to a session came too late and are lost";
    assert_eq!(log.lines(), [lost]);
}

#[test]
fn who_listens_above_debug_hears_nothing() {
    let log = Log::new(Level::INFO);
    with_default(log.clone(), || {
        let store = SessionStore::new(60);
        store.destroy(store.create().id());
    });
    assert_eq!(log.lines(), [""; 0]);
}

#[test]
fn subscriber_may_use_the_store_because_no_lock_is_held() {
    // As few as there can be, so that the shard is often the one that is at work.
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    let ends: [fn(&SessionStore<u64>); 3] = [
        |store| store.clear(),
        |store| assert_eq!(store.retain(|_, _| false), 8),
        |store| store.for_each(|id, _| assert!(store.destroy(id))),
    ];
    for end in ends {
        let before = store.stats().created;
        let mut log = Log::new(Level::DEBUG);
        let inner = store.clone();
        // The end that it causes is no event: `tracing` tells a subscriber nothing inside an event.
        log.react = Arc::new(move || {
            let id = *inner.create().id();
            assert_eq!(inner.update(&id, |data| *data), Some(0));
            assert!(inner.destroy(&id));
        });
        (0..8).for_each(|n| drop(store.create_with(n)));
        with_default(log.clone(), || end(&store));
        assert_eq!((log.lines().len(), store.len(), store.stats().panics), (8, 0, 0));
        assert_eq!(store.stats().created - before, 16, "each event was reacted to");
    }
}

#[test]
fn panic_of_a_subscriber_is_contained_and_counted() {
    let store = SessionStore::<u64>::builder().build().unwrap();
    let mut log = Log::new(Level::DEBUG);
    log.react = Arc::new(|| panic!("planted"));
    with_default(log, || {
        (0..10).for_each(|_| assert!(store.destroy(store.create().id())));
    });
    assert_eq!((store.len(), store.stats().destroyed, store.stats().panics), (0, 10, 10));
}

/// A subscriber that panics when it is asked whether it wants an event.
struct Angry(Arc<AtomicBool>);

impl Subscriber for Angry {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        assert!(!self.0.load(Ordering::Relaxed), "not now");
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, _: &Event<'_>) {}
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn subscriber_that_panics_when_it_is_asked_takes_nothing_with_it() {
    let angry = Arc::new(AtomicBool::new(false));
    with_default(Angry(Arc::clone(&angry)), || {
        let builder = SessionStore::<u64>::builder().max_bytes(10, |_| 1);
        let store = builder.index_by(|user| Some(Subject::from(*user))).build().unwrap();
        let session = store.create_with(1);
        angry.store(true, Ordering::Relaxed);
        assert!(store.destroy(session.id()));
        angry.store(false, Ordering::Relaxed);
        let stats = store.stats();
        assert_eq!((store.count_of(1), stats.bytes, stats.destroyed, stats.panics), (0, 0, 1, 1));
    });
}
