//! The axum layer and extractor where requests, or the handles of one request, meet.
//!
//! The other request is made in the middle of a handler, so that each race runs in the one order that
//! matters.

#[path = "axum/harness.rs"]
#[allow(dead_code, reason = "each of the tests needs a part of it")]
mod harness;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use cloakroom::adapters::axum::{OnConflict, Refused, Session, SessionLayer};
use cloakroom::{SessionId, SessionStore};
use harness::{Visitor, app, cart, cookie, layered, send, store};

const POLICIES: [OnConflict<Visitor>; 3] =
    [OnConflict::LastWins, OnConflict::Refuse, OnConflict::Merge(merge)];

fn merge(loaded: &Visitor, changed: &Visitor, stored: &mut Visitor) {
    stored.cart.extend(&changed.cart[loaded.cart.len()..]);
}

fn with(store: &SessionStore<Visitor>, policy: OnConflict<Visitor>) -> SessionLayer<Visitor> {
    SessionLayer::new(store.clone()).on_conflict(policy)
}

/// A handler that adds 2 to the cart, in whose middle somebody else does something to the session.
fn interrupted(
    store: &SessionStore<Visitor>,
    policy: OnConflict<Visitor>,
    other: impl Fn(&SessionStore<Visitor>, &SessionId) + Clone + Send + Sync + 'static,
) -> Router {
    let theirs = store.clone();
    layered(with(store, policy), move |mut session: Session<Visitor>| {
        let (theirs, other) = (theirs.clone(), other.clone());
        async move {
            session.cart.push(2);
            other(&theirs, &session.id().unwrap());
            "added"
        }
    })
}

#[test]
fn two_requests_that_change_one_session_end_as_the_policy_says() {
    for (policy, status, kept) in [
        (OnConflict::LastWins, 200, cart(&[0, 2])),
        (OnConflict::Refuse, 409, cart(&[0, 1])),
        (OnConflict::Merge(merge), 200, cart(&[0, 1, 2])),
    ] {
        let store = store();
        let id = *store.create_with(cart(&[0])).id();
        let app = interrupted(&store, policy, |store, id| {
            store.update(id, |visitor| visitor.cart.push(1)).unwrap();
        });
        let reply = send(&app, &cookie(&id));
        assert_eq!((reply.status.as_u16(), reply.set_cookie()), (status, None), "{policy:?}");
        assert_eq!(reply.body, if status == 200 { "added" } else { "" });
        assert_eq!(*store.load(&id).unwrap(), kept, "{policy:?}");
    }
}

#[test]
fn session_that_a_parallel_request_ended_stays_ended_and_the_lost_change_is_counted() {
    let ends: [fn(&SessionStore<Visitor>, &SessionId); 3] = [
        |store, id| assert!(store.destroy(id)),
        |store, id| assert!(store.rotate(&mut store.load(id).unwrap())),
        |store, _| store.clear(),
    ];
    for (policy, status) in POLICIES.into_iter().zip([200, 409, 409]) {
        for (number, end) in ends.into_iter().enumerate() {
            let store = store();
            let id = *store.create_with(cart(&[0])).id();
            let reply = send(&interrupted(&store, policy, end), &cookie(&id));
            assert_eq!(reply.status.as_u16(), status, "{policy:?} {number}");
            // Neither a cookie nor its removal: the browser may have a newer one by now.
            assert_eq!(reply.set_cookie(), None);
            assert!(!store.contains(&id));
            assert_eq!((store.len(), store.stats().created), (usize::from(number == 1), 1));
            assert_eq!(store.stats().saves_refused, 1);
            store.for_each(|_, visitor| assert_eq!(*visitor, cart(&[0])));
        }
    }
}

#[test]
fn update_loses_nothing_under_any_policy() {
    for policy in POLICIES {
        let store = store();
        let id = *store.create_with(cart(&[0])).id();
        let theirs = store.clone();
        let app = layered(with(&store, policy), move |mut session: Session<Visitor>| {
            theirs.update(&id, |visitor| visitor.cart.push(1));
            let items = session.update(|visitor| {
                visitor.cart.push(2);
                visitor.cart.len()
            });
            assert_eq!((items, &session.cart[..]), (Ok(3), &[0, 1, 2][..]));
            async {}
        });
        assert_eq!(send(&app, &cookie(&id)).status, StatusCode::OK);
        assert_eq!(*store.load(&id).unwrap(), cart(&[0, 1, 2]));
    }
}

#[test]
fn update_makes_a_session_for_a_visitor_without_one() {
    let store = store();
    let theirs = store.clone();
    let app = app(&store, move |mut session: Session<Visitor>| {
        assert_eq!(session.update(|visitor| visitor.cart.push(1)), Ok(()));
        assert_eq!((theirs.len(), session.id().is_some()), (1, true), "stored at once");
        session.cart.push(2);
        async {}
    });
    let id = send(&app, "").given();
    assert_eq!((&*store.load(&id).unwrap(), store.len()), (&cart(&[1, 2]), 1));
}

#[test]
fn update_that_panics_changes_nothing() {
    let store = store();
    let id = *store.create_with(cart(&[0])).id();
    let app = app(&store, |mut session: Session<Visitor>| async move {
        let before = session.cart.clone();
        let change = |visitor: &mut Visitor| {
            visitor.cart.push(1);
            assert!(visitor.cart.is_empty(), "planted");
        };
        assert!(catch_unwind(AssertUnwindSafe(|| session.update(change))).is_err());
        assert_eq!(session.cart, before);
    });
    assert_eq!(send(&app, &cookie(&id)).status, StatusCode::OK);
    assert_eq!(send(&app, "").set_cookie(), None);
    assert_eq!((store.len(), &*store.load(&id).unwrap()), (1, &cart(&[0])));
}

#[test]
fn update_saves_what_the_handle_had_changed_before() {
    let store = store();
    let id = *store.create_with(cart(&[0])).id();
    let app = app(&store, |mut session: Session<Visitor>| async move {
        session.user = Some("ada");
        session.update(|visitor| visitor.cart.push(1))
    });
    send(&app, &cookie(&id));
    assert_eq!(*store.load(&id).unwrap(), Visitor { user: Some("ada"), cart: vec![0, 1] });
}

#[test]
fn handler_that_asks_is_told_of_the_conflict_and_nothing_is_saved_behind_its_back() {
    for policy in POLICIES {
        let store = store();
        let id = *store.create_with(cart(&[0])).id();
        let theirs = store.clone();
        let app = layered(with(&store, policy), move |mut session: Session<Visitor>| {
            session.cart.push(2);
            theirs.update(&id, |visitor| visitor.cart.push(1));
            let told = session.try_save();
            assert_eq!(session.cart, [0, 1], "it sees what the other one saved");
            async move { told }
        });
        assert_eq!(send(&app, &cookie(&id)).status, StatusCode::CONFLICT);
        assert_eq!(*store.load(&id).unwrap(), cart(&[0, 1]), "{policy:?}");
    }
}

#[test]
fn handler_that_was_told_can_go_on_from_what_is_stored() {
    let store = store();
    let id = *store.create_with(cart(&[0])).id();
    let theirs = store.clone();
    let app = app(&store, move |mut session: Session<Visitor>| {
        session.cart.push(2);
        theirs.update(&id, |visitor| visitor.cart.push(1));
        assert_eq!(session.try_save(), Err(Refused::Conflict));
        session.cart.push(3);
        assert_eq!(session.try_save(), Ok(()));
        async move { session.update(|visitor| visitor.cart.push(4)) }
    });
    assert_eq!(send(&app, &cookie(&id)).status, StatusCode::OK);
    assert_eq!(*store.load(&id).unwrap(), cart(&[0, 1, 3, 4]));
}

#[test]
fn handler_that_was_told_of_the_end_can_begin_anew() {
    let store = store();
    let id = *store.create_with(cart(&[0])).id();
    let theirs = store.clone();
    let app = app(&store, move |mut session: Session<Visitor>| {
        session.cart.push(1);
        theirs.destroy(&id);
        assert_eq!(session.try_save(), Err(Refused::Gone));
        assert_eq!(session.update(|visitor| visitor.cart.push(1)), Err(Refused::Gone));
        assert!(!session.destroy());
        session.cart.push(2);
        async {}
    });
    assert_ne!(send(&app, &cookie(&id)).given(), id);
    store.for_each(|_, visitor| assert_eq!(*visitor, cart(&[2])));
}

#[test]
fn double_login_gives_each_request_a_session_of_its_own_and_neither_the_others_data() {
    let store = store();
    let id = *store.create_with(cart(&[1])).id();
    let theirs = store.clone();
    let app = app(&store, move |mut session: Session<Visitor>| {
        if let Some(mut same) = theirs.load(&id) {
            // The faster one of the two.
            theirs.rotate(&mut same);
            assert_eq!(session.rotate(), Err(Refused::Gone));
            assert!(!session.destroy());
        }
        session.user = Some("ada");
        async {}
    });
    let given = send(&app, &cookie(&id)).given();
    assert_eq!(*store.load(&given).unwrap(), Visitor { user: Some("ada"), cart: vec![] });
    assert_eq!((store.len(), store.contains(&id)), (2, false));
}

#[test]
fn logout_in_the_middle_of_many_saves_is_final() {
    for policy in POLICIES {
        let store = store();
        let id = *store.create_with(cart(&[])).id();
        let app = layered(with(&store, policy), |mut session: Session<Visitor>| async move {
            let signed_in = session.id().is_some();
            if signed_in {
                session.cart.push(1);
            }
            format!("{signed_in}")
        });
        let (saved, enough) = mpsc::channel();
        let savers: Vec<_> = (0..3)
            .map(|_| {
                let (app, saved) = (app.clone(), saved.clone());
                // Until the session is gone; a lost change may be a 409 in between.
                let save = move || send(&app, &cookie(&id)).body != "false";
                thread::spawn(move || while save() && saved.send(()).is_ok() {})
            })
            .collect();
        (0..30).for_each(|_| enough.recv().unwrap());
        assert!(store.destroy(&id));
        savers.into_iter().for_each(|saver| saver.join().unwrap());
        assert_eq!((store.len(), store.stats().created), (0, 1), "{policy:?}");
    }
}

#[test]
fn parallel_requests_of_one_session_lose_no_update() {
    let store = store();
    let id = *store.create_with(cart(&[])).id();
    let app = app(&store, |mut session: Session<Visitor>| async move {
        session.update(|visitor| visitor.cart.push(1))
    });
    let threads = (0..4).map(|_| {
        let app = app.clone();
        let send = move || assert_eq!(send(&app, &cookie(&id)).status, StatusCode::OK);
        thread::spawn(move || (0..50).for_each(|_| send()))
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(store.load(&id).unwrap().cart.len(), 200);
}

/// A handler behind a middleware that holds a handle of its own all the while.
fn behind<M, H>(
    policy: OnConflict<Visitor>,
    store: &SessionStore<Visitor>,
    outer: M,
    inner: H,
) -> Router
where
    M: Fn(&mut Session<Visitor>, bool) + Clone + Send + Sync + 'static,
    H: Fn(&mut Session<Visitor>) + Clone + Send + Sync + 'static,
{
    let around = move |mut session: Session<Visitor>, request: Request, next: Next| {
        let outer = outer.clone();
        async move {
            outer(&mut session, false);
            let response: Response = next.run(request).await;
            outer(&mut session, true);
            response
        }
    };
    let handler = move |mut session: Session<Visitor>| {
        let inner = inner.clone();
        async move { inner(&mut session) }
    };
    let app = Router::new().route("/", get(handler)).layer(middleware::from_fn(around));
    app.layer(with(store, policy))
}

#[test]
fn middleware_that_changes_after_the_handler_keeps_what_the_handler_left() {
    for policy in POLICIES {
        let store = store();
        let outer = |session: &mut Session<Visitor>, after: bool| {
            if after {
                session.cart.push(2);
            }
        };
        let app = behind(policy, &store, outer, |session| session.cart.push(1));
        let id = send(&app, "").given();
        assert_eq!(*store.load(&id).unwrap(), cart(&[1, 2]));
        assert_eq!(send(&app, &cookie(&id)).status, StatusCode::OK);
        assert_eq!(*store.load(&id).unwrap(), cart(&[1, 2, 1, 2]), "{policy:?}");
        assert_eq!((store.stats().created, store.stats().saved), (1, 1), "one save a request");
        assert_eq!(store.stats().loaded, 3, "one load for two handles, and the two of this test");
    }
}

#[test]
fn handler_sees_what_a_middleware_left_before_it() {
    async fn mark(mut session: Session<Visitor>, request: Request, next: Next) -> Response {
        session.user = Some("ada");
        drop(session);
        next.run(request).await
    }
    let store = store();
    let look = |session: Session<Visitor>| async move { format!("{:?}", session.user) };
    let add = |mut session: Session<Visitor>| async move { session.cart.push(1) };
    let app = Router::new().route("/", get(look).post(add));
    let app = app.layer(middleware::from_fn(mark)).layer(SessionLayer::new(store.clone()));
    let reply = send(&app, "");
    assert_eq!((reply.body.as_str(), store.len()), ("Some(\"ada\")", 1), "a reader adds nothing");
    assert_eq!(*store.load(&reply.given()).unwrap(), Visitor { user: Some("ada"), cart: vec![] });
}

#[test]
fn two_handles_of_one_request_with_changes_at_once_are_like_two_requests() {
    for (policy, status, kept) in [
        (OnConflict::LastWins, 200, cart(&[0, 2])),
        (OnConflict::Refuse, 409, cart(&[0, 1])),
        (OnConflict::Merge(merge), 200, cart(&[0, 1, 2])),
    ] {
        let store = store();
        let id = *store.create_with(cart(&[0])).id();
        let outer = |session: &mut Session<Visitor>, after: bool| {
            if !after {
                session.cart.push(2);
            }
        };
        let app = behind(policy, &store, outer, |session| session.cart.push(1));
        assert_eq!(send(&app, &cookie(&id)).status.as_u16(), status, "{policy:?}");
        assert_eq!(*store.load(&id).unwrap(), kept, "{policy:?}");
        let reply = send(&app, "");
        assert_eq!(reply.status.as_u16(), status, "{policy:?}: two that begin a session");
        let kept = cart(&kept.cart[1..]);
        assert_eq!(*store.load(&reply.given()).unwrap(), kept, "{policy:?}: they begin one");
    }
}

/// What one handle saved is there for another that changes later, and not only for its first look.
#[test]
fn handle_that_changes_later_begins_with_what_another_has_saved() {
    for policy in POLICIES {
        for stored in [false, true] {
            let store = store();
            let sent =
                if stored { cookie(store.create_with(cart(&[])).id()) } else { String::new() };
            let handler = |mut first: Session<Visitor>, mut second: Session<Visitor>| async move {
                assert_eq!((first.cart.len(), second.cart.len()), (0, 0));
                first.cart.push(1);
                first.try_save()?;
                second.cart.push(2);
                Ok::<_, Refused>(format!("{:?}", second.cart))
            };
            let reply = send(&layered(with(&store, policy), handler), &sent);
            assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "[1, 2]"), "{policy:?}");
            store.for_each(|_, visitor| assert_eq!(*visitor, cart(&[1, 2]), "{policy:?}"));
            assert_eq!((store.len(), store.stats().conflicts), (1, 0), "{policy:?}");
        }
    }
}

#[test]
fn what_another_handle_has_destroyed_does_not_come_back() {
    for policy in POLICIES {
        let store = store();
        let id = *store.create_with(cart(&[0])).id();
        let outer = |session: &mut Session<Visitor>, after: bool| {
            if after {
                assert_eq!((session.id(), session.try_save()), (None, Err(Refused::Gone)));
            } else {
                session.cart.push(2);
            }
        };
        let app = behind(policy, &store, outer, |session| {
            session.destroy();
        });
        let reply = send(&app, &cookie(&id));
        assert!(reply.set_cookie().unwrap().ends_with("; Max-Age=0"));
        assert_eq!((store.len(), store.stats().created), (0, 1), "{policy:?}");
    }
}

#[test]
fn what_a_handle_holds_of_a_destroyed_session_does_not_get_into_the_next_one() {
    for (policy, asks) in POLICIES.into_iter().flat_map(|policy| [(policy, false), (policy, true)])
    {
        let store = store();
        let id = *store.create_with(cart(&[0])).id();
        let outer = move |session: &mut Session<Visitor>, after: bool| {
            if !after {
                session.cart.push(2);
            } else if asks {
                assert_eq!(session.try_save(), Err(Refused::Gone));
            }
        };
        let app = behind(policy, &store, outer, |session| {
            session.destroy();
            session.update(|visitor| visitor.cart.push(9)).unwrap();
        });
        let reply = send(&app, &cookie(&id));
        assert_eq!(reply.status, StatusCode::OK, "{policy:?}");
        assert_eq!(*store.load(&reply.given()).unwrap(), cart(&[9]));
        assert_eq!(store.stats().saved, 0, "{policy:?}");
    }
}

#[test]
fn what_was_left_to_be_saved_ends_with_the_session() {
    async fn mark(mut session: Session<Visitor>, request: Request, next: Next) -> Response {
        session.user = Some("ada");
        drop(session);
        next.run(request).await
    }
    for policy in POLICIES {
        let store = store();
        let id = *store.create_with(cart(&[0])).id();
        let end = |mut session: Session<Visitor>| async move { session.destroy().to_string() };
        let app = Router::new().route("/", get(end)).layer(middleware::from_fn(mark));
        let reply = send(&app.layer(with(&store, policy)), &cookie(&id));
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, "true"), "{policy:?}");
        assert_eq!((store.len(), store.stats().saves_refused), (0, 0));
    }
}

#[test]
fn handle_of_an_old_id_saves_under_the_new_one() {
    let store = store();
    let id = *store.create_with(cart(&[0])).id();
    let outer = |session: &mut Session<Visitor>, after: bool| {
        if !after {
            session.cart.push(1);
        }
    };
    let app = behind(OnConflict::Refuse, &store, outer, |session| session.rotate().unwrap());
    let given = send(&app, &cookie(&id)).given();
    assert_eq!(*store.load(&given).unwrap(), cart(&[0, 1]));
}

#[test]
fn handle_that_outlives_the_response_saves_only_when_told_and_begins_nothing() {
    let store = store();
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let app = app(&store, move |session: Session<Visitor>| {
        *keep.lock().unwrap() = Some(session);
        async {}
    });
    let take = || kept.lock().unwrap().take().unwrap();

    let id = *store.create_with(cart(&[0])).id();
    send(&app, &cookie(&id));
    let mut late = take();
    late.cart.push(1);
    drop(late);
    assert_eq!(*store.load(&id).unwrap(), cart(&[0]));
    send(&app, &cookie(&id));
    let mut late = take();
    assert_eq!(late.update(|visitor| visitor.cart.push(1)), Ok(()));
    late.cart.push(2);
    assert_eq!(late.try_save(), Ok(()));
    assert_eq!(late.rotate(), Err(Refused::ResponseSent));
    assert_eq!(*store.load(&id).unwrap(), cart(&[0, 1, 2]));

    send(&app, "");
    let mut late = take();
    assert_eq!(late.update(|visitor| visitor.cart.push(1)), Err(Refused::ResponseSent));
    assert_eq!((late.cart.len(), late.id(), store.len()), (0, None, 1));
}
