//! The axum layer and extractor: one request at a time, without a socket.

#[path = "axum/harness.rs"]
mod harness;

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{Response, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum::routing::get;
use cloakroom::adapters::axum::{
    CookieLifetime, MissingLayer, OnConflict, Refused, Session, SessionLayer,
};
use cloakroom::{ManualClock, OnFull, SessionCookie, SessionStore};
use harness::{
    Visitor, add, app, block_on, cart, cookie, layered, look, reply, request, send, store,
};
use tower::{Layer, Service, ServiceExt, service_fn};

const REMOVAL: &str = "__Host-session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0";

#[test]
fn visitors_who_only_read_are_not_stored_and_get_no_cookie() {
    let store = store();
    let unused = app(&store, || async { "hello" });
    let read = app(&store, look);
    for _ in 0..100 {
        for app in [&unused, &read] {
            let reply = send(app, "lang=en");
            assert_eq!((reply.status, reply.set_cookie()), (StatusCode::OK, None));
            assert!(!reply.headers.contains_key(header::CACHE_CONTROL));
        }
    }
    assert_eq!((store.len(), store.stats().created), (0, 0));
}

#[test]
fn first_change_makes_a_session_and_sets_the_cookie_once() {
    let store = store();
    let app = app(&store, add);
    let first = send(&app, "");
    let id = first.given();
    assert_eq!(*store.load(&id).unwrap(), cart(&[7]));
    for items in ["[7, 7]", "[7, 7, 7]"] {
        let next = send(&app, &cookie(&id));
        assert_eq!((next.body.as_str(), next.set_cookie()), (items, None));
    }
    assert_eq!((store.len(), store.stats().created, store.stats().saved), (1, 1, 2));
}

#[test]
fn change_is_stored_before_the_head_of_the_response_leaves() {
    let store = store();
    let response = block_on(app(&store, add).oneshot(request(""))).unwrap();
    // Its body has not been asked for yet.
    assert!(response.headers().contains_key(header::SET_COOKIE));
    assert_eq!(store.len(), 1);
}

#[test]
fn ids_that_are_malformed_unknown_or_ended_are_never_adopted() {
    let clock = ManualClock::new();
    let store = SessionStore::builder().ttl(Duration::from_secs(60)).clock(clock.clone());
    let store = store.build().unwrap();
    let expired = cookie(store.create_with(cart(&[1])).id());
    clock.advance(Duration::from_secs(60));
    let destroyed = store.create_with(cart(&[2]));
    store.destroy(destroyed.id());
    let (add, look) = (app(&store, add), app(&store, look));
    for sent in [
        "__Host-session=",
        "__Host-session=admin",
        "__Host-session=AAECAwQFBgcICQoLDA0ODw",
        "__Host-session=AAECAwQFBgcICQoLDA0ODw; __Host-session=AAECAwQFBgcICQoLDA0ODA",
        &expired,
        &cookie(destroyed.id()),
    ] {
        let reply = send(&look, sent);
        assert_eq!((reply.body.as_str(), reply.set_cookie()), ("[]", None), "{sent}");
        let reply = send(&add, sent);
        assert_eq!(reply.body, "[7]", "{sent}");
        assert!(!sent.contains(reply.given().to_token().as_str()), "{sent}");
    }
}

#[test]
fn use_of_the_extractor_is_activity_and_nothing_else_is() {
    let clock = ManualClock::new();
    let minute = Duration::from_secs(60);
    let store = SessionStore::builder().idle_timeout(minute).clock(clock.clone()).build().unwrap();
    let session = store.create_with(cart(&[1]));
    clock.advance(minute / 2);
    send(&app(&store, || async { "hello" }), &cookie(session.id()));
    assert_eq!(store.expires_in(session.id()), Some(minute / 2));
    let used = send(&app(&store, look), &cookie(session.id()));
    assert_eq!(store.expires_in(session.id()), Some(minute));
    assert_eq!(used.set_cookie(), None, "a cookie without an end needs no renewal");
}

#[test]
fn rotation_moves_data_and_changes_to_a_new_id_and_kills_the_old_one() {
    let store = store();
    let session = store.create_with(cart(&[1]));
    let app = app(&store, |mut session: Session<Visitor>| async move {
        session.cart.push(2);
        let before = session.id();
        session.rotate()?;
        assert_ne!(before, session.id());
        session.user = Some("ada");
        Ok::<_, Refused>(())
    });
    let id = send(&app, &cookie(session.id())).given();
    assert!(!store.contains(session.id()));
    assert_eq!(*store.load(&id).unwrap(), Visitor { user: Some("ada"), cart: vec![1, 2] });
    assert_eq!((store.len(), store.stats().rotated), (1, 1));
}

#[test]
fn visitor_without_a_session_has_nothing_to_rotate() {
    let store = store();
    let rotate = |mut session: Session<Visitor>| async move { session.rotate() };
    let reply = send(&app(&store, rotate), "");
    assert_eq!((reply.status, reply.set_cookie(), store.len()), (StatusCode::OK, None, 0));
}

#[test]
fn destroyed_session_is_gone_with_its_changes_and_the_cookie_is_removed() {
    let store = store();
    let session = store.create_with(cart(&[1]));
    let app = app(&store, |mut session: Session<Visitor>| async move {
        session.cart.push(2);
        let ended = session.destroy();
        assert_eq!((session.id(), &*session), (None, &Visitor::default()));
        format!("{ended}")
    });
    for ended in ["true", "false"] {
        let reply = send(&app, &cookie(session.id()));
        assert_eq!((reply.body.as_str(), reply.set_cookie()), (ended, Some(REMOVAL)));
        assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store");
    }
    assert_eq!((store.len(), store.stats().destroyed, store.stats().saves_refused), (0, 1, 0));
}

#[test]
fn change_after_destroy_goes_into_a_new_session() {
    let store = store();
    let session = store.create_with(cart(&[1]));
    let app = app(&store, |mut session: Session<Visitor>| async move {
        session.destroy();
        session.cart.push(9);
    });
    let id = send(&app, &cookie(session.id())).given();
    assert_ne!(id, *session.id());
    assert_eq!(*store.load(&id).unwrap(), cart(&[9]));
}

#[test]
fn server_errors_and_timeouts_save_nothing_and_other_answers_do() {
    let store = store();
    for (status, saved) in [(200, 1), (302, 1), (404, 1), (422, 1), (408, 0), (500, 0), (503, 0)] {
        store.clear();
        let status = StatusCode::from_u16(status).unwrap();
        let app = app(&store, move |mut session: Session<Visitor>| async move {
            session.cart.push(1);
            status
        });
        let reply = send(&app, "");
        assert_eq!((reply.status, store.len()), (status, saved));
        assert_eq!(reply.set_cookie().is_some(), saved == 1, "{status}");
    }
}

#[test]
fn what_was_done_at_once_stands_even_if_the_answer_is_an_error() {
    let store = store();
    let session = store.create_with(cart(&[]));
    let app = app(&store, |mut session: Session<Visitor>| async move {
        session.update(|visitor| visitor.cart.push(1)).unwrap();
        session.rotate().unwrap();
        session.cart.push(2);
        StatusCode::INTERNAL_SERVER_ERROR
    });
    let id = send(&app, &cookie(session.id())).given();
    assert_eq!(*store.load(&id).unwrap(), cart(&[1]));
}

#[test]
fn panic_of_a_handler_saves_nothing() {
    let store = store();
    let app = app(&store, |mut session: Session<Visitor>| async move {
        session.cart.push(1);
        assert!(session.cart.is_empty(), "planted");
    });
    let session = store.create_with(cart(&[]));
    for cookie in [String::new(), cookie(session.id())] {
        assert!(catch_unwind(AssertUnwindSafe(|| send(&app, &cookie))).is_err());
    }
    assert_eq!((store.len(), &*store.load(session.id()).unwrap()), (1, &cart(&[])));
}

#[test]
fn panic_that_is_caught_inside_the_layer_saves_nothing() {
    async fn catch(request: Request, next: Next) -> impl IntoResponse {
        let mut run = pin!(next.run(request));
        let poll = |cx: &mut Context<'_>| {
            let polled = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx)));
            polled.unwrap_or_else(|_| Poll::Ready(StatusCode::IM_A_TEAPOT.into_response()))
        };
        poll_fn(poll).await
    }
    let store = store();
    let app = Router::new().route(
        "/",
        get(|mut session: Session<Visitor>| async move {
            session.cart.push(1);
            assert!(session.cart.is_empty(), "planted");
        }),
    );
    let app = app.layer(middleware::from_fn(catch)).layer(SessionLayer::new(store.clone()));
    let reply = send(&app, "");
    assert_eq!((reply.status, reply.set_cookie()), (StatusCode::IM_A_TEAPOT, None));
    assert_eq!(store.len(), 0);
}

#[test]
fn request_that_is_dropped_half_way_saves_nothing() {
    let store = store();
    let session = store.create_with(cart(&[]));
    let app = app(&store, |mut session: Session<Visitor>| async move {
        session.cart.push(1);
        pending::<()>().await;
    });
    for cookie in [String::new(), cookie(session.id())] {
        let mut response = Box::pin(app.clone().oneshot(request(&cookie)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(response.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!((store.len(), &*store.load(session.id()).unwrap()), (1, &cart(&[])));
}

#[test]
fn missing_layer_is_a_sentence_that_names_the_type() {
    let other: SessionLayer<u32> = SessionLayer::new(SessionStore::default());
    let app = Router::new().route("/", get(look)).layer(other);
    let reply = send(&app, "");
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    for part in ["no sessions of type `", "Visitor`", "SessionLayer::new(store)"] {
        assert!(reply.body.contains(part), "{}", reply.body);
    }
}

#[test]
fn layers_of_two_types_do_not_see_each_other() {
    let (visitors, counts) = (store(), SessionStore::<u64>::builder().build().unwrap());
    let name = SessionCookie::named("__Host-count").unwrap();
    let count = |mut count: Session<u64>, mut session: Session<Visitor>| async move {
        *count += 1;
        session.cart.push(*count as u32);
    };
    let app = Router::new()
        .route("/", get(count))
        .layer(SessionLayer::new(visitors.clone()))
        .layer(SessionLayer::new(counts.clone()).cookie(name));
    let response = block_on(app.clone().oneshot(request(""))).unwrap();
    let given = response.headers().get_all(header::SET_COOKIE).iter();
    let given: Vec<&str> = given.map(|set| set.to_str().unwrap()).collect();
    let pairs = given.iter().map(|set| set.split_once(';').unwrap().0).collect::<Vec<_>>();
    assert_eq!(pairs.len(), 2);
    assert_eq!(send(&app, &pairs.join("; ")).set_cookie(), None);
    visitors.for_each(|_, visitor| assert_eq!(*visitor, cart(&[1, 2])));
    counts.for_each(|_, count| assert_eq!(*count, 2));
    assert_eq!((visitors.len(), counts.len()), (1, 1));
}

#[test]
fn innermost_of_two_layers_of_one_type_counts() {
    let (inner, outer) = (store(), store());
    let app = app(&inner, add).layer(SessionLayer::new(outer.clone()));
    assert!(inner.contains(&send(&app, "").given()));
    assert_eq!(outer.len(), 0);
}

#[test]
fn full_store_that_refuses_answers_503_to_newcomers_who_change_and_serves_the_others() {
    let store = SessionStore::builder().max_sessions(1).on_full(OnFull::Refuse).build().unwrap();
    let add = app(&store, add);
    let owner = cookie(&send(&add, "").given());
    let refused = send(&add, "");
    assert_eq!((refused.status, refused.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None));
    assert_eq!(send(&add, &owner).body, "[7, 7]");
    assert_eq!(send(&app(&store, look), "").status, StatusCode::OK);
    let told = app(&store, |mut session: Session<Visitor>| async move {
        session.cart.push(1);
        assert_eq!(session.try_save(), Err(Refused::AtCapacity));
        assert_eq!(session.update(|_| ()), Err(Refused::AtCapacity));
        assert_eq!(session.cart, [1], "its data is still there");
        "yet served"
    });
    assert_eq!(send(&told, "").body, "yet served");
    assert_eq!(store.len(), 1);
}

#[test]
fn cookie_that_lives_as_long_as_the_session_follows_its_deadline() {
    let clock = ManualClock::new();
    let minute = Duration::from_secs(60);
    for (idle, again) in [(Some(minute), Some("; Max-Age=60")), (None, None)] {
        let builder = SessionStore::builder().ttl(60 * minute).clock(clock.clone());
        let builder = if let Some(idle) = idle { builder.idle_timeout(idle) } else { builder };
        let store = builder.build().unwrap();
        let layer = || SessionLayer::new(store.clone()).cookie_lifetime(CookieLifetime::Session);
        let first = send(&layered(layer(), add), "");
        let max_age = idle.unwrap_or(60 * minute).as_secs();
        let end = format!("; Secure; Path=/; Max-Age={max_age}");
        let (pair, _) = first.set_cookie().unwrap().split_once(';').unwrap();
        assert!(first.set_cookie().unwrap().ends_with(&end), "{first:?}");
        clock.advance(minute / 2);
        let used = send(&layered(layer(), look), pair);
        let sent = used.set_cookie().map(|sent| sent.starts_with(pair).then_some(sent).unwrap());
        assert_eq!(sent.map(|sent| &sent[sent.len() - 12..]), again);
        assert_eq!(used.headers.contains_key(header::CACHE_CONTROL), again.is_some());
        assert_eq!(send(&layered(layer(), || async {}), pair).set_cookie(), None);
    }
}

#[test]
fn handlers_own_headers_are_kept_unless_they_would_let_the_id_be_cached() {
    let store = store();
    let set = || {
        [
            (header::CACHE_CONTROL, "public, max-age=60"),
            (header::SET_COOKIE, "lang=en"),
            (header::VARY, "accept"),
        ]
    };
    let add = app(&store, move |mut session: Session<Visitor>| async move {
        session.cart.push(1);
        (set(), "body")
    });
    let response = block_on(add.oneshot(request(""))).unwrap();
    assert_eq!(response.headers().get_all(header::SET_COOKIE).iter().count(), 2);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(response.headers()[header::VARY], "accept");
    let look = app(&store, move |_: Session<Visitor>| async move { (set(), "body") });
    let reply = send(&look, "");
    assert_eq!(reply.headers[header::CACHE_CONTROL], "public, max-age=60");
    assert_eq!(reply.set_cookie(), Some("lang=en"));
}

#[test]
fn any_tower_service_of_any_body_can_have_sessions() {
    let store = store();
    let service = service_fn(|request: http::Request<u8>| async move {
        let mut session = Session::<Visitor>::of(&request)?;
        session.cart.push(u32::from(*request.body()));
        Ok::<_, MissingLayer>(Response::new("a body".to_owned()))
    });
    let service = SessionLayer::new(store.clone()).layer(service);
    let response = block_on(service.oneshot(http::Request::new(5))).unwrap();
    let reply = block_on(reply(response));
    assert_eq!((reply.body.as_str(), store.len()), ("a body", 1));
    assert_eq!(*store.load(&reply.given()).unwrap(), cart(&[5]));
}

#[test]
fn error_of_a_service_passes_and_saves_nothing() {
    let store = store();
    let service = service_fn(|request: http::Request<()>| async move {
        Session::<Visitor>::of(&request).unwrap().cart.push(1);
        Err::<Response<String>, _>("planted")
    });
    let service = SessionLayer::new(store.clone()).layer(service);
    assert_eq!(block_on(service.oneshot(http::Request::new(()))).unwrap_err(), "planted");
    assert_eq!(store.len(), 0);
}

/// What one handle left is saved once, by the next that saves, and before what that one changes.
#[test]
fn handle_that_saves_saves_what_was_left_to_be_saved_with_it() {
    type Save = fn(&mut Session<Visitor>, &Request) -> Result<(), Refused>;
    fn leave(request: &Request) {
        Session::<Visitor>::of(request).unwrap().cart.push(1);
    }
    let ways: [(Save, u64); 2] = [
        (
            |_, request| {
                leave(request);
                let mut later = Session::<Visitor>::of(request).unwrap();
                later.cart.push(2);
                later.try_save()
            },
            1,
        ),
        (
            |early, request| {
                leave(request);
                early.update(|visitor| visitor.cart.push(2))
            },
            2,
        ),
    ];
    for (save, saves) in ways {
        let store = store();
        let id = *store.create_with(cart(&[])).id();
        let handler = move |request: Request| async move {
            let mut early = Session::<Visitor>::of(&request).unwrap();
            assert!(early.cart.is_empty());
            save(&mut early, &request)
        };
        let layer = SessionLayer::new(store.clone()).on_conflict(OnConflict::Refuse);
        assert_eq!(send(&layered(layer, handler), &cookie(&id)).status, StatusCode::OK);
        assert_eq!(*store.load(&id).unwrap(), cart(&[1, 2]));
        assert_eq!((store.stats().saved, store.stats().conflicts), (saves, 0));
    }
}

/// A service that is never ready.
#[derive(Debug)]
struct Busy;

impl Service<http::Request<()>> for Busy {
    type Response = Response<String>;
    type Error = ();
    type Future = std::future::Pending<Result<Self::Response, ()>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Pending
    }

    fn call(&mut self, _: http::Request<()>) -> Self::Future {
        pending()
    }
}

#[test]
fn service_is_ready_when_the_one_inside_is() {
    let mut service = SessionLayer::new(store()).layer(Busy);
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_pending());
    assert_eq!(format!("{service:?}"), "SessionService { inner: Busy, .. }");
    let response = service.call(http::Request::new(()));
    assert_eq!(format!("{response:?}"), "ResponseFuture { .. }");
}

#[test]
fn neither_ids_nor_data_show_in_any_debug() {
    let store = store();
    let id = *store.create_with(Visitor { user: Some("secret-user"), cart: vec![] }).id();
    let shown = Arc::new(Mutex::new(String::new()));
    let (layer, show) = (SessionLayer::new(store), Arc::clone(&shown));
    let before = format!("{layer:?}");
    let app = layered(layer, move |mut session: Session<Visitor>| async move {
        let refused = [Refused::Gone, Refused::Conflict, Refused::AtCapacity];
        let mut text = format!("{before} {session:?} {refused:?}");
        session.cart.push(1);
        text.extend(refused.iter().map(ToString::to_string));
        *show.lock().unwrap() = format!("{text} {session:?}");
    });
    send(&app, &cookie(&id));
    let shown = shown.lock().unwrap();
    assert!(shown.contains("Session {") && shown.contains("SessionLayer {"), "{shown}");
    assert!(shown.contains("on_conflict: LastWins"), "{shown}");
    assert!(!shown.contains("secret") && !shown.contains(&id.to_token().as_str()[..6]), "{shown}");
}

#[test]
fn session_can_be_held_across_awaits_and_in_other_threads() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Session<Visitor>>();
    is_send_and_sync::<SessionLayer<Visitor>>();
}
