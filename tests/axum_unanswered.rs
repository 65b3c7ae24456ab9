//! The axum layer where a handle outlives a request that is never answered: the client has gone, the service failed
//! or panicked. No browser will be told of an id then, so the handle neither begins a session nor moves one.

#[path = "axum/harness.rs"]
#[allow(dead_code, reason = "each of the tests needs a part of it")]
mod harness;

use std::future::{Future, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use axum::http::{self, Request};
use cloakroom::adapters::axum::{Refused, Session, SessionLayer};
use cloakroom::{SessionId, SessionStore};
use harness::{Visitor, app, cart, cookie, request};
use tower::{Layer, Service, ServiceExt, service_fn};

type Answer = Result<http::Response<String>, &'static str>;
type Answering = Pin<Box<dyn Future<Output = Answer>>>;

/// How a request ends without an answer.
const ENDS: [fn() -> Answering; 5] = [
    || Box::pin(pending()),
    || Box::pin(ready(Err("planted"))),
    || Box::pin(async { panic!("in the middle") }),
    || panic!("before the first await"),
    // The store panics when what was left is to be saved.
    || Box::pin(ready(Ok(http::Response::default()))),
];

/// A store that panics when it is to weigh a 100.
fn store() -> SessionStore<Visitor> {
    let weigh = |visitor: &Visitor| {
        assert!(!visitor.cart.contains(&100), "planted");
        1
    };
    SessionStore::builder().max_bytes(1000, weigh).build().unwrap()
}

/// Sends a request whose service keeps a handle and leaves a 100 by another one, and ends it in one of the ways
/// above.
fn unanswered(
    store: &SessionStore<Visitor>,
    end: usize,
    id: Option<&SessionId>,
) -> Session<Visitor> {
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let service = service_fn(move |request: Request<()>| {
        let [handle, mut other] = [(); 2].map(|()| Session::<Visitor>::of(&request).unwrap());
        *keep.lock().unwrap() = Some(handle);
        other.cart.push(100);
        drop(other);
        ENDS[end]()
    });
    let request = Request::builder().header("cookie", id.map(cookie).unwrap_or_default());
    let mut service = SessionLayer::new(store.clone()).layer(service);
    let answer = catch_unwind(AssertUnwindSafe(|| {
        let mut response = Box::pin(service.call(request.body(()).unwrap()));
        // Dropped here, if it is not ready.
        response.as_mut().poll(&mut Context::from_waker(Waker::noop())).map_ok(|_| ())
    }));
    assert_eq!((answer.is_err(), answer.is_ok_and(|it| it.is_ready())), (end >= 2, end == 1));
    kept.lock().unwrap().take().unwrap()
}

#[test]
fn visitor_without_a_session_gets_none_that_nobody_could_find() {
    for end in 0..ENDS.len() {
        let store = store();
        let mut late = unanswered(&store, end, None);
        assert_eq!(
            late.update(|visitor| visitor.cart.push(1)),
            Err(Refused::ResponseSent),
            "{end}"
        );
        assert_eq!(late.reauthenticate(), Err(Refused::ResponseSent), "{end}");
        late.cart.push(2);
        assert_eq!(late.try_save(), Err(Refused::ResponseSent), "{end}");
        late.cart.push(3);
        drop(late);
        assert_eq!(store.len(), 0, "{end}");
    }
}

#[test]
fn session_keeps_the_id_that_its_browser_has_and_saves_what_it_is_told() {
    for end in 0..ENDS.len() {
        let store = store();
        let id = *store.create_with(cart(&[0])).id();
        let mut late = unanswered(&store, end, Some(&id));
        assert_eq!(late.rotate(), Err(Refused::ResponseSent), "{end}");
        assert_eq!(late.reauthenticate(), Err(Refused::ResponseSent), "{end}");
        assert_eq!((late.id(), store.contains(&id)), (Some(id), true), "{end}");
        // As after a response: see `handle_that_outlives_the_response_saves_only_when_told_and_begins_nothing`.
        assert_eq!(late.update(|visitor| visitor.cart.push(1)), Ok(()), "{end}");
        late.cart.push(2);
        assert_eq!(late.try_save(), Ok(()), "{end}");
        late.cart.push(3);
        drop(late);
        assert_eq!(*store.load(&id).unwrap(), cart(&[0, 1, 2]), "{end}");
    }
}

#[test]
fn handle_that_is_destroyed_too_late_ends_its_session_and_begins_none() {
    for end in 0..ENDS.len() {
        let store = store();
        let id = *store.create().id();
        let mut late = unanswered(&store, end, Some(&id));
        assert!(late.destroy(), "{end}");
        assert_eq!(
            late.update(|visitor| visitor.cart.push(1)),
            Err(Refused::ResponseSent),
            "{end}"
        );
        assert_eq!(store.len(), 0, "{end}");
    }
}

/// Begins a session where it is dropped, as a guard of a handler may.
struct Guard(Session<Visitor>, Arc<Mutex<Option<Result<(), Refused>>>>);

impl Drop for Guard {
    fn drop(&mut self) {
        *self.1.lock().unwrap() = Some(self.0.update(|visitor| visitor.cart.push(1)));
    }
}

#[test]
fn what_a_handler_drops_when_the_client_has_gone_begins_no_session() {
    let (store, told) = (store(), Arc::default());
    let tell = Arc::clone(&told);
    let app = app(&store, move |session: Session<Visitor>| {
        let guard = Guard(session, Arc::clone(&tell));
        async move {
            pending::<()>().await;
            drop(guard);
        }
    });
    let mut response = Box::pin(app.oneshot(request("")));
    assert!(response.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(response);
    assert_eq!(*told.lock().unwrap(), Some(Err(Refused::ResponseSent)));
    assert_eq!(store.len(), 0);
}
