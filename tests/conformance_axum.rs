//! The conformance suite on the axum layer: each handle is the session of a request that is held open.

#[path = "axum/harness.rs"]
#[allow(dead_code, reason = "made for requests to a router")]
mod harness;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::time::Duration;

use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use cloakroom::adapters::axum::{Refused, ResponseFuture, Session, SessionLayer};
use cloakroom::conformance::{Lifetime, Subject, Suite, block_on};
use cloakroom::{SessionId, SessionStore};
use harness::{Reply, reply};
use tower::{Layer, Service, service_fn};

#[test]
fn axum_layer_passes() {
    let report = Suite::new().run(|clock| {
        let store = SessionStore::builder().clock(clock.clone()).build().unwrap();
        Axum { layer: SessionLayer::new(store.clone()), store }
    });
    report.assert_passed();
    // A session's id is never the client's choice, nor the handler's.
    let not_in_the_interface =
        ["taken_key_is_not_handed_out_again", "racing_creates_under_one_key_get_different_keys"];
    assert_eq!(report.skipped(), not_in_the_interface, "\n{report}");
}

/// The layer, and the clone of its store that the caller keeps.
struct Axum {
    layer: SessionLayer<u64>,
    store: SessionStore<u64>,
}

/// A request whose handler works until the response is polled.
struct Visit {
    session: Session<u64>,
    response: ResponseFuture<Ready<Result<Response, Infallible>>, u64>,
}

impl Visit {
    /// Lets the handler be done.
    fn finish(self) -> Reply {
        drop(self.session);
        let Ok(response) = block_on(self.response);
        let reply = block_on(reply(response));
        assert!(reply.status.is_success(), "{reply:?}");
        reply
    }
}

/// The cookie's value, as it is in the response.
fn token(id: &SessionId) -> String {
    id.to_token().to_string()
}

impl Axum {
    fn send(&self, cookie: Option<HeaderValue>) -> Visit {
        let mut taken = None;
        let handler = |request: Request<()>| {
            taken = Session::of(&request).ok();
            ready(Ok(Response::default()))
        };
        let mut request = Request::new(());
        request.headers_mut().extend(cookie.map(|cookie| (header::COOKIE, cookie)));
        let response = self.layer.layer(service_fn(handler)).call(request);
        Visit { session: taken.expect("no layer"), response }
    }

    /// Sends what a browser that holds this cookie sends; `None` if no header can hold it.
    fn visit(&self, token: &str) -> Option<Visit> {
        let cookie = HeaderValue::from_bytes(format!("__Host-session={token}").as_bytes());
        Some(self.send(Some(cookie.ok()?)))
    }

    /// What a handler asks the store for, which knows how long a session lives.
    fn set_end(&self, id: &SessionId, lifetime: Lifetime) {
        let lifetime = match lifetime {
            Lifetime::For(lifetime) => lifetime,
            _ => Duration::ZERO,
        };
        self.store.set_expiry(id, lifetime);
    }
}

impl Subject for Axum {
    type Key = String;
    type Handle = Visit;

    fn create(&self, value: u64, lifetime: Lifetime) -> String {
        let mut visit = self.send(None);
        *visit.session = value;
        let id = visit.finish().given();
        self.set_end(&id, lifetime);
        token(&id)
    }

    fn load(&self, key: &String) -> Option<Visit> {
        self.visit(key).filter(|visit| visit.session.id().is_some())
    }

    fn value(handle: &Visit) -> u64 {
        *handle.session
    }

    fn set(handle: &mut Visit, value: u64) {
        *handle.session = value;
    }

    fn save(&self, handle: Visit, lifetime: Lifetime) {
        let id = handle.session.id();
        handle.finish();
        id.iter().for_each(|id| self.set_end(id, lifetime));
    }

    fn destroy(&self, key: &String) {
        let mut visit = self.visit(key).expect("a key fits into a cookie");
        visit.session.destroy();
        visit.finish();
    }

    fn rotate(&self, mut handle: Visit) -> String {
        let sent = handle.session.id().expect("a handle that was loaded has an id");
        let rotated = handle.session.rotate();
        let reply = handle.finish();
        assert_eq!(reply.set_cookie().is_some(), rotated.is_ok(), "{reply:?}");
        // What the browser has then: nothing, if the session has ended since it was rotated.
        match reply.set_cookie() {
            None => token(&sent),
            Some(removal) if removal.ends_with("; Max-Age=0") => String::new(),
            Some(_) => token(&reply.given()),
        }
    }

    fn planted_key(&self) -> String {
        token(SessionStore::<()>::default().create().id())
    }

    fn forge(&self, key: &String, value: u64) -> Option<Visit> {
        let mut visit = self.visit(key)?;
        *visit.session = value;
        Some(visit)
    }

    fn save_unless_changed(&self, mut handle: Visit) -> Option<bool> {
        let saved = handle.session.try_save();
        handle.finish();
        match saved {
            Ok(()) => Some(true),
            Err(Refused::Conflict | Refused::Gone) => Some(false),
            Err(refused) => panic!("{refused}"),
        }
    }

    fn add(&self, key: &String, number: u64) -> Option<bool> {
        let mut visit = self.visit(key)?;
        // A visitor without a session would get one.
        let added = visit.session.id().map(|_| visit.session.update(|value| *value += number));
        visit.finish();
        match added {
            Some(Ok(())) => Some(true),
            None | Some(Err(Refused::Gone)) => Some(false),
            Some(Err(refused)) => panic!("{refused}"),
        }
    }

    fn touch(&self, key: &String, lifetime: Duration) -> Option<()> {
        let visit = self.visit(key)?;
        let id = visit.session.id();
        id.iter().for_each(|id| self.set_end(id, Lifetime::For(lifetime)));
        visit.finish();
        Some(())
    }

    fn finds_text(&self, text: &str) -> Option<bool> {
        Some(self.visit(text).is_some_and(|visit| visit.session.id().is_some()))
    }

    fn sweep(&self) -> Option<()> {
        self.store.purge_expired();
        Some(())
    }

    fn stored(&self) -> Option<usize> {
        Some(self.store.len())
    }

    fn clear(&self) -> Option<()> {
        self.store.clear();
        Some(())
    }
}
