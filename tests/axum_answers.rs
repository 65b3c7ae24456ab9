//! What the axum layer's answers say, and what they count, where a session ends or a store is full just then.

#[path = "axum/harness.rs"]
#[allow(dead_code, reason = "each of the tests needs a part of it")]
mod harness;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use axum::routing::any;
use axum::{Error, Router};
use cloakroom::adapters::axum::{CookieLifetime, OnConflict, Refused, Session, SessionLayer};
use cloakroom::{Expiry, ManualClock, OnFull, OnLimit, SessionCookie, SessionStore, Subject};
use harness::{Visitor, add, app, block_on, cart, cookie, layered, look, reply, send, store};
use tower::util::MapResponseLayer;
use tower::{Layer, ServiceExt, service_fn};

const MINUTE: Duration = Duration::from_secs(60);

/// A body as other layers make them: that of a trace, say, which has no default.
struct Wrapped(Body);

impl HttpBody for Wrapped {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

#[test]
fn layer_goes_around_layers_with_bodies_of_their_own() {
    let store = store();
    let id = *store.create().id();
    let theirs = store.clone();
    let handler = async move |mut session: Session<Visitor>| {
        session.cart.push(1);
        theirs.update(&id, |visitor| visitor.cart.push(2));
        "a body"
    };
    let wrap = MapResponseLayer::new(|response: Response| response.map(Wrapped));
    let sessions = SessionLayer::new(store.clone()).on_conflict(OnConflict::Refuse);
    let app = Router::new().route("/", any(handler)).layer((sessions, wrap));
    let new = send(&app, "");
    assert_eq!((new.status, new.body.as_str()), (StatusCode::OK, "a body"));
    assert_eq!(store.load(&new.given()).unwrap().cart, [1]);
    // An answer of the layer's own.
    let refused = send(&app, &cookie(&id));
    assert_eq!((refused.status, refused.body.as_str()), (StatusCode::CONFLICT, ""));
}

/// As tower's middlewares are, which are no `async` blocks: what they hold lives as long as they do.
#[test]
fn change_of_a_future_that_still_holds_its_handle_is_saved() {
    for (policy, sent) in [OnConflict::LastWins, OnConflict::Refuse].iter().zip([None, Some(&[1])])
    {
        let store = store();
        let sent = sent.map(|items| cookie(store.create_with(cart(items)).id()));
        let counting = service_fn(|request: Request<Body>| {
            let mut session = Session::<Visitor>::of(&request).unwrap();
            poll_fn(move |_| {
                session.cart.push(7);
                Poll::Ready(Ok::<Response, Infallible>(Response::default()))
            })
        });
        let app = SessionLayer::new(store.clone()).on_conflict(*policy).layer(counting);
        let request = harness::request(sent.as_deref().unwrap_or_default());
        let Ok(response) = block_on(app.oneshot(request));
        let reply = block_on(reply(response));
        assert_eq!((reply.status, reply.set_cookie().is_some()), (StatusCode::OK, sent.is_none()));
        let mut carts = Vec::new();
        store.for_each(|_, visitor| carts.push(visitor.cart.clone()));
        let before: &[u32] = if sent.is_some() { &[1] } else { &[] };
        assert_eq!(carts, [[before, &[7]].concat()]);
    }
}

/// What a layer further in did has happened, and the browser must hear of it.
#[test]
fn refusal_of_one_layer_keeps_the_cookies_of_another() {
    let (visitors, visits) = (store(), SessionStore::<u64>::builder().build().unwrap());
    let (id, visit) = (*visitors.create().id(), *visits.create().id());
    let named = SessionCookie::named("visits").unwrap();
    let outer = SessionLayer::new(visits.clone()).cookie(named);
    let outer = outer.on_conflict(OnConflict::Refuse);
    let handler = move |mut visitor: Session<Visitor>, mut count: Session<u64>| {
        visitor.rotate().unwrap();
        *count += 1;
        visits.update(&visit, |count| *count += 100);
        async { ([(header::ETAG, "\"1\""), (header::CACHE_CONTROL, "public")], "a body") }
    };
    let app = Router::new().route("/", any(handler));
    let app = app.layer(SessionLayer::new(visitors.clone())).layer(outer);
    let reply = send(&app, &format!("{}; visits={}", cookie(&id), visit.to_token()));
    assert_eq!((reply.status, &*reply.body), (StatusCode::CONFLICT, ""));
    assert!(!reply.headers.contains_key(header::ETAG));
    assert!(visitors.contains(&reply.given()) && visitors.len() == 1);
    // A refusal alone is no answer to keep.
    let reply = send(&app, &format!("visits={}", visit.to_token()));
    assert_eq!((reply.status, reply.set_cookie()), (StatusCode::CONFLICT, None));
    assert!(!reply.headers.contains_key(header::CACHE_CONTROL));
}

/// Whoever is told to try again must not be counted twice.
#[test]
fn refusal_of_an_inner_layer_leaves_the_changes_for_an_outer_one_unsaved() {
    let (visitors, visits) = (store(), SessionStore::<u64>::builder().build().unwrap());
    let (id, visit) = (*visitors.create().id(), *visits.create().id());
    let named = SessionCookie::named("visits").unwrap();
    let theirs = visitors.clone();
    let handler = move |mut visitor: Session<Visitor>, mut count: Session<u64>, method: Method| {
        visitor.cart.push(7);
        *count += 1;
        if method == Method::POST {
            theirs.update(&id, |visitor| visitor.cart.push(8));
        }
        async {}
    };
    let app = Router::new().route("/", any(handler));
    let app = app.layer(SessionLayer::new(visitors).on_conflict(OnConflict::Refuse));
    let app = app.layer(SessionLayer::new(visits.clone()).cookie(named));
    let cookies = format!("{}; visits={}", cookie(&id), visit.to_token());
    for (method, status, count) in [(Method::POST, 409, 0), (Method::GET, 200, 1)] {
        let mut request = harness::request(&cookies);
        *request.method_mut() = method;
        let response = block_on(app.clone().oneshot(request)).unwrap();
        assert_eq!((response.status().as_u16(), *visits.load(&visit).unwrap()), (status, count));
    }
}

#[test]
fn cookie_is_found_in_any_of_several_headers() {
    let store = store();
    let id = *store.create_with(cart(&[1])).id();
    let request = Request::builder().uri("/").header(header::COOKIE, "lang=en");
    let request = request.header(header::COOKIE, cookie(&id)).body(Body::empty()).unwrap();
    let reply = block_on(async { reply(app(&store, look).oneshot(request).await.unwrap()).await });
    assert_eq!(reply.body, "[1]");
}

#[test]
fn id_that_was_revoked_before_the_response_left_is_not_given_but_removed() {
    let store = store();
    let id = *store.create_with(cart(&[1])).id();
    let theirs = store.clone();
    let handler = move |mut session: Session<Visitor>| {
        let rotated = session.rotate();
        theirs.clear();
        async move { rotated }
    };
    let reply = send(&app(&store, handler), &cookie(&id));
    assert_eq!(reply.status, StatusCode::OK);
    let removal = SessionCookie::new().removal().to_string();
    assert_eq!(reply.set_cookie(), Some(&*removal));
    assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store");
}

#[test]
fn removal_has_the_name_of_the_cookie() {
    let named = SessionCookie::named("__Host-shop").unwrap();
    let layer = SessionLayer::new(store()).cookie(named.clone());
    let end = |mut session: Session<Visitor>| async move { session.destroy().to_string() };
    let removal = named.removal().to_string();
    assert_eq!(send(&layered(layer, end), "").set_cookie(), Some(&*removal));
}

/// The browser may have a newer one by now.
#[test]
fn cookie_of_a_session_that_ended_meanwhile_is_neither_renewed_nor_removed() {
    let store = SessionStore::<Visitor>::builder().idle_timeout(MINUTE).build().unwrap();
    let id = *store.create().id();
    let layer = SessionLayer::new(store.clone()).cookie_lifetime(CookieLifetime::Session);
    let handler = move |session: Session<Visitor>| {
        assert!(store.rotate(&mut store.load(&id).unwrap()));
        async move { drop(session) }
    };
    let reply = send(&layered(layer, handler), &cookie(&id));
    assert_eq!((reply.status, reply.set_cookie()), (StatusCode::OK, None));
}

#[test]
fn cookie_of_a_session_that_never_ends_has_no_max_age() {
    let layer = SessionLayer::new(store()).cookie_lifetime(CookieLifetime::Session);
    // The attributes are looked at where the id is taken from them.
    send(&layered(layer, add), "").given();
    let store = SessionStore::<Visitor>::builder().ttl(MINUTE).build().unwrap();
    let theirs = store.clone();
    let handler = move |mut session: Session<Visitor>| {
        session.update(|visitor| visitor.cart.push(1)).unwrap();
        theirs.set_expiry(&session.id().unwrap(), Expiry::Never);
        async {}
    };
    let layer = SessionLayer::new(store).cookie_lifetime(CookieLifetime::Session);
    send(&layered(layer, handler), "").given();
}

#[test]
fn end_that_a_handler_moves_is_told_with_a_new_id_or_where_activity_moves_it_too() {
    for (idle, rotates, told) in
        [(None, false, false), (None, true, true), (Some(MINUTE), false, true)]
    {
        let builder = SessionStore::<Visitor>::builder().ttl(MINUTE).clock(ManualClock::new());
        let builder = if let Some(idle) = idle { builder.idle_timeout(idle) } else { builder };
        let store = builder.build().unwrap();
        let sent = cookie(store.create().id());
        let theirs = store.clone();
        let handler = move |mut session: Session<Visitor>| {
            theirs.set_expiry(&session.id().unwrap(), 60 * MINUTE);
            let rotated = if rotates { session.rotate() } else { Ok(()) };
            async { rotated }
        };
        let layer = SessionLayer::new(store).cookie_lifetime(CookieLifetime::Session);
        let reply = send(&layered(layer, handler), &sent);
        let max_age = reply.set_cookie().map(|cookie| cookie.ends_with("; Max-Age=3600"));
        assert_eq!(max_age, told.then_some(true), "{idle:?}, rotates: {rotates}");
    }
}

#[test]
fn answers_without_a_body_save_and_give_the_cookie_too() {
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        let store = store();
        let handler = move |mut session: Session<Visitor>| async move {
            session.cart.push(1);
            status
        };
        let reply = send(&app(&store, handler), "");
        assert_eq!(reply.status, status);
        assert_eq!(*store.load(&reply.given()).unwrap(), cart(&[1]));
    }
}

#[test]
fn full_store_of_bytes_answers_503_to_what_would_be_one_too_many() {
    let builder = SessionStore::<Visitor>::builder().max_bytes(2, |visitor| visitor.cart.len());
    let store = builder.on_full(OnFull::Refuse).build().unwrap();
    store.create_with(cart(&[1]));
    let owner = *store.create_with(cart(&[2])).id();
    for sent in [cookie(&owner), String::new()] {
        let reply = send(&app(&store, add), &sent);
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{sent}");
    }
    assert_eq!(*store.load(&owner).unwrap(), cart(&[2]));
}

#[test]
fn each_change_that_comes_too_late_for_its_session_is_counted_as_a_refused_save() {
    for policy in [OnConflict::LastWins, OnConflict::Refuse, OnConflict::Merge(|_, _, _| ())] {
        let store = store();
        let sent = cookie(store.create().id());
        let theirs = store.clone();
        let handler = move |request: Request<Body>| {
            let open = || Session::<Visitor>::of(&request).unwrap();
            open().cart.push(100);
            // Both hold the 100 too, and one of them is saved without it.
            let mut both = [open(), open()];
            both.iter_mut().for_each(|session| session.cart.push(1));
            theirs.clear();
            async {}
        };
        send(&layered(SessionLayer::new(store.clone()).on_conflict(policy), handler), &sent);
        let stats = store.stats();
        assert_eq!((stats.saves_refused, stats.missed), (2, 0), "{policy:?}");
    }
}

#[test]
fn first_change_of_a_visitor_that_comes_too_late_for_the_session_of_another_handle_is_counted() {
    for (policy, status) in [(OnConflict::LastWins, 200), (OnConflict::Merge(|_, _, _| ()), 409)] {
        let store = store();
        let theirs = store.clone();
        let handler = move |mut first: Session<Visitor>, mut second: Session<Visitor>| {
            first.cart.push(1);
            second.cart.push(2);
            first.try_save().unwrap();
            theirs.clear();
            async {}
        };
        let layer = SessionLayer::new(store.clone()).on_conflict(policy);
        let reply = send(&layered(layer, handler), "");
        assert_eq!((reply.status.as_u16(), store.len()), (status, 0), "{policy:?}");
        assert_eq!(store.stats().saves_refused, 1, "{policy:?}");
    }
}

#[test]
fn save_without_changes_does_nothing() {
    let store = store();
    let id = *store.create().id();
    let handler = |mut session: Session<Visitor>| async move {
        session.cart.push(1);
        session.try_save()?;
        session.try_save()
    };
    assert_eq!(send(&app(&store, handler), &cookie(&id)).status, StatusCode::OK);
    assert_eq!((store.stats().saved, store.stats().loaded), (1, 1));
}

#[test]
fn handler_that_is_told_of_a_conflict_has_not_used_the_session() {
    let clock = ManualClock::new();
    let builder = SessionStore::<Visitor>::builder().idle_timeout(MINUTE).clock(clock.clone());
    let store = builder.build().unwrap();
    let id = *store.create().id();
    let theirs = store.clone();
    let handler = move |mut session: Session<Visitor>| {
        session.cart.push(1);
        theirs.update(&id, |visitor| visitor.cart.push(2));
        clock.advance(MINUTE / 2);
        assert_eq!(session.try_save(), Err(Refused::Conflict));
        async {}
    };
    send(&app(&store, handler), &cookie(&id));
    assert_eq!(store.expires_in(&id), Some(MINUTE / 2));
}

#[test]
fn new_id_alone_proves_no_authentication() {
    let store = store();
    let id = *store.create().id();
    let handler = |mut session: Session<Visitor>| async move { session.rotate() };
    let given = send(&app(&store, handler), &cookie(&id)).given();
    assert!(!store.authenticated_within(&given, Duration::MAX));
}

#[test]
fn debug_of_a_layer_names_the_policy() {
    let layer = SessionLayer::new(store());
    for policy in [OnConflict::LastWins, OnConflict::Refuse, OnConflict::Merge(|_, _, _| ())] {
        let shown = format!("{:?}", layer.clone().on_conflict(policy));
        assert!(shown.contains(&format!("on_conflict: {policy:?}")), "{shown}");
    }
}

#[test]
fn refused_update_of_a_visitor_without_a_session_changes_nothing() {
    let builder = SessionStore::<Visitor>::builder().index_by(|it| it.user.map(Subject::from));
    let store = builder.max_per_subject(1, OnLimit::Reject).build().unwrap();
    store.create_with(Visitor { user: Some("ada"), cart: vec![] });
    let layer = SessionLayer::new(store.clone());
    let handler = |mut session: Session<Visitor>| async move {
        let signed_in = session.update(|visitor| visitor.user = Some("ada"));
        assert_eq!((signed_in, session.user), (Err(Refused::SubjectLimit), None));
        session.cart.push(7);
    };
    let given = send(&layered(layer, handler), "").given();
    assert_eq!(*store.load(&given).unwrap(), cart(&[7]));
}

#[test]
fn update_that_is_tried_again_once_there_is_room_is_applied_once() {
    let builder = SessionStore::<Visitor>::builder().max_sessions(1).on_full(OnFull::Refuse);
    let store = builder.build().unwrap();
    store.create();
    let theirs = store.clone();
    let handler = move |mut session: Session<Visitor>| {
        assert_eq!(session.update(|visitor| visitor.cart.push(1)), Err(Refused::AtCapacity));
        theirs.clear();
        assert_eq!(session.update(|visitor| visitor.cart.push(1)), Ok(()));
        async {}
    };
    let given = send(&layered(SessionLayer::new(store.clone()), handler), "").given();
    assert_eq!(*store.load(&given).unwrap(), cart(&[1]));
}
