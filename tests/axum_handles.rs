//! The axum layer where the handles of one request work at the same time, as in several tasks: what one
//! does in the middle of a rotation or a save of another, at the one moment that matters.
//!
//! That moment is had from the store's listener and from its `index_by`, which run where no lock is held.

#[path = "axum/harness.rs"]
#[allow(dead_code, reason = "each of the tests needs a part of it")]
mod harness;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};
use std::time::Duration;

use axum::body::Body;
use axum::http::{self, StatusCode};
use cloakroom::adapters::axum::{OnConflict, Refused, Session, SessionLayer};
use cloakroom::{Builder, ManualClock, SessionStore};
use harness::{Visitor, app, cart, cookie, layered, send, store};
use tower::{Layer, Service, service_fn};

thread_local! {
    /// What happens at the next such moment.
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

fn meanwhile(act: impl FnOnce() + 'static) {
    MEANWHILE.set(Some(Box::new(act)));
}

fn the_moment() {
    let act = MEANWHILE.take();
    act.into_iter().for_each(|act| act());
}

/// Each end in this store is such a moment.
fn eventful() -> Builder<Visitor> {
    SessionStore::builder().on_end(|_| the_moment())
}

#[test]
fn rotation_that_meets_a_logout_keeps_neither_the_old_session_nor_its_place() {
    let store = eventful().build().unwrap();
    let id = *store.create_with(cart(&[1])).id();
    let handler = |mut first: Session<Visitor>, mut second: Session<Visitor>| async move {
        meanwhile(move || {
            second.destroy();
            second.update(|visitor| visitor.cart.push(9)).unwrap();
        });
        assert_eq!(first.rotate(), Err(Refused::Gone));
    };
    let given = send(&app(&store, handler), &cookie(&id)).given();
    assert_eq!(*store.load(&given).unwrap(), cart(&[9]), "the session after the logout");
    assert_eq!(store.len(), 1, "the one before it lives on under no id");
}

/// What a handler does with two handles of its request, and what it hands over to happen in the middle.
type Act =
    fn(Session<Visitor>, Session<Visitor>, &dyn Fn(Box<dyn FnOnce()>)) -> Result<(), Refused>;

/// Sends a request of a session whose cart holds a 1 to a handler. What that hands over happens in the middle
/// of its next save: when the data is stored, and before the request has taken note of that.
fn stored_meanwhile(act: Act) -> Visitor {
    let (clock, hour) = (ManualClock::new(), Duration::from_secs(3600));
    let store = eventful().ttl(hour).clock(clock.clone()).shards(2).build().unwrap();
    // Is swept by whatever comes when it has expired.
    store.create();
    clock.advance(hour / 2);
    let id = *store.create_with(cart(&[1])).id();
    let handler = move |first: Session<Visitor>, second: Session<Visitor>| {
        let in_the_middle = |act| {
            clock.advance(hour / 2);
            MEANWHILE.set(Some(act));
        };
        let done = act(first, second, &in_the_middle);
        MEANWHILE.with_borrow(|act| assert!(act.is_none(), "nothing happened in between"));
        async move { done }
    };
    let given = send(&app(&store, handler), &cookie(&id)).given();
    assert!(given != id && store.len() == 1);
    Visitor::clone(&store.load(&given).unwrap())
}

#[test]
fn save_that_meets_a_rotation_leaves_the_browser_with_the_new_id() {
    let kept = stored_meanwhile(|mut first, mut second, in_the_middle| {
        first.cart.push(2);
        in_the_middle(Box::new(move || second.rotate().unwrap()));
        first.try_save()
    });
    assert_eq!(kept, cart(&[1, 2]));
}

#[test]
fn update_that_meets_a_rotation_leaves_the_browser_with_the_new_id() {
    let kept = stored_meanwhile(|mut first, mut second, in_the_middle| {
        in_the_middle(Box::new(move || second.rotate().unwrap()));
        first.update(|visitor| visitor.cart.push(2))
    });
    assert_eq!(kept, cart(&[1, 2]));
}

#[test]
fn save_that_was_stored_before_a_logout_does_not_show_in_the_session_after_it() {
    let kept = stored_meanwhile(|mut first, mut second, in_the_middle| {
        first.cart.push(2);
        let (hand_over, handed) = mpsc::channel();
        in_the_middle(Box::new(move || {
            second.destroy();
            second.update(|visitor| visitor.cart.push(9)).unwrap();
            hand_over.send(second).unwrap();
        }));
        first.try_save()?;
        let mut second = handed.recv().unwrap();
        // Catches up with what the request holds by now.
        second.cart.push(10);
        Ok(())
    });
    assert_eq!(kept, cart(&[9, 10]));
}

#[test]
fn save_during_which_another_handle_updates_does_not_hide_the_update_from_a_third() {
    let (clock, hour) = (ManualClock::new(), Duration::from_secs(3600));
    let store = eventful().ttl(hour).clock(clock.clone()).shards(2).build().unwrap();
    // Is swept by the save, when that is stored and the request has not yet taken note of it.
    store.create();
    clock.advance(hour / 2);
    let id = *store.create_with(cart(&[1])).id();
    let handler = move |mut first: Session<Visitor>,
                        mut second: Session<Visitor>,
                        mut third: Session<Visitor>| {
        first.cart.push(2);
        clock.advance(hour / 2);
        meanwhile(move || second.update(|visitor| visitor.cart.push(9)).unwrap());
        first.try_save().unwrap();
        third.cart.push(10);
        async {}
    };
    send(&app(&store, handler), &cookie(&id));
    assert_eq!(*store.load(&id).unwrap(), cart(&[1, 2, 9, 10]));
}

#[test]
fn save_that_meets_a_logout_puts_nothing_into_the_session_after_it() {
    for policy in [OnConflict::LastWins, OnConflict::Refuse, OnConflict::Merge(|_, _, _| ())] {
        // The store asks whose a session is before it saves it.
        let builder = SessionStore::<Visitor>::builder().index_by(|_| {
            the_moment();
            None
        });
        let store = builder.build().unwrap();
        let sent = cookie(store.create().id());
        let handler = |mut first: Session<Visitor>, mut second: Session<Visitor>| async move {
            first.cart.push(1);
            meanwhile(move || {
                second.destroy();
                second.update(|visitor| visitor.cart.push(9)).unwrap();
            });
            assert_eq!(first.try_save(), Err(Refused::Gone));
        };
        let layer = SessionLayer::new(store.clone()).on_conflict(policy);
        let given = send(&layered(layer, handler), &sent).given();
        assert_eq!((&*store.load(&given).unwrap(), store.len()), (&cart(&[9]), 1), "{policy:?}");
    }
}

#[test]
fn two_first_saves_at_once_make_one_session_and_the_policy_says_whose() {
    type Save = fn(Session<Visitor>) -> Result<(), Refused>;
    let at_once: Save = |mut session| session.try_save();
    let with_the_response: Save = |_| Ok(());
    for (policy, save, status, kept) in [
        (OnConflict::LastWins, at_once, 409, cart(&[9])),
        (OnConflict::LastWins, with_the_response, 200, cart(&[1])),
        (OnConflict::Refuse, with_the_response, 409, cart(&[9])),
    ] {
        // The store asks whose a session is before it creates it.
        let builder = SessionStore::<Visitor>::builder().index_by(|_| {
            the_moment();
            None
        });
        let store = builder.build().unwrap();
        let handler = move |mut first: Session<Visitor>, mut second: Session<Visitor>| async move {
            first.cart.push(1);
            meanwhile(move || second.update(|visitor| visitor.cart.push(9)).unwrap());
            save(first)
        };
        let layer = SessionLayer::new(store.clone()).on_conflict(policy);
        let reply = send(&layered(layer, handler), "");
        assert_eq!(reply.status.as_u16(), status, "{policy:?}");
        assert_eq!(*store.load(&reply.given()).unwrap(), kept, "{policy:?}");
        assert_eq!(store.len(), 1, "nobody would know the id of another");
    }
}

#[test]
fn first_save_during_which_another_handle_signs_out_makes_no_session() {
    let builder = SessionStore::<Visitor>::builder().index_by(|_| {
        the_moment();
        None
    });
    let store = builder.build().unwrap();
    let handler = |mut first: Session<Visitor>, mut second: Session<Visitor>| async move {
        first.cart.push(1);
        meanwhile(move || assert!(!second.destroy()));
        assert_eq!(first.try_save(), Err(Refused::Gone));
    };
    let reply = send(&app(&store, handler), "");
    assert!(reply.set_cookie().unwrap().ends_with("; Max-Age=0"));
    assert_eq!(store.len(), 0);
}

#[test]
fn merge_that_was_overtaken_runs_again_on_what_is_stored_then() {
    fn merge(loaded: &Visitor, changed: &Visitor, stored: &mut Visitor) {
        the_moment();
        stored.cart.extend(&changed.cart[loaded.cart.len()..]);
    }
    let store = store();
    let id = *store.create_with(cart(&[0])).id();
    let theirs = store.clone();
    let handler = move |mut session: Session<Visitor>| {
        session.cart.push(1);
        theirs.update(&id, |visitor| visitor.cart.push(2));
        let theirs = theirs.clone();
        meanwhile(move || theirs.update(&id, |visitor| visitor.cart.push(3)).unwrap());
        async {}
    };
    let layer = SessionLayer::new(store.clone()).on_conflict(OnConflict::Merge(merge));
    assert_eq!(send(&layered(layer, handler), &cookie(&id)).status, StatusCode::OK);
    assert_eq!(*store.load(&id).unwrap(), cart(&[0, 2, 3, 1]));
}

#[test]
fn rotation_during_which_the_response_leaves_ends_the_session_that_nobody_could_find() {
    let store = eventful().build().unwrap();
    let id = *store.create_with(cart(&[1])).id();
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let service = service_fn(move |request: http::Request<()>| {
        *keep.lock().unwrap() = Some(Session::<Visitor>::of(&request).unwrap());
        ready(Ok::<_, Infallible>(http::Response::new(Body::empty())))
    });
    let request = http::Request::builder().header("cookie", cookie(&id)).body(()).unwrap();
    let response = SessionLayer::new(store.clone()).layer(service).call(request);
    let mut session = kept.lock().unwrap().take().unwrap();
    meanwhile(move || {
        let left = pin!(response).poll(&mut Context::from_waker(Waker::noop()));
        assert!(left.is_ready());
    });
    assert_eq!(session.rotate(), Err(Refused::Gone));
    assert_eq!((store.len(), store.stats().rotated), (0, 1));
}

/// Two handles that are changed at once, what is done then, and how the policies end it.
fn two_changed_at_once(
    act: fn(Session<Visitor>, Session<Visitor>) -> Result<(), Refused>,
    ends: [(OnConflict<Visitor>, u16, Visitor); 3],
) {
    for (policy, status, kept) in ends {
        let store = store();
        let id = *store.create_with(cart(&[])).id();
        let handler = move |mut first: Session<Visitor>, mut second: Session<Visitor>| async move {
            first.cart.push(1);
            second.cart.push(2);
            act(first, second)
        };
        let layer = SessionLayer::new(store.clone()).on_conflict(policy);
        let reply = send(&layered(layer, handler), &cookie(&id));
        assert_eq!((reply.status.as_u16(), reply.set_cookie()), (status, None), "{policy:?}");
        assert_eq!(*store.load(&id).unwrap(), kept, "{policy:?}");
    }
}

fn merge(loaded: &Visitor, changed: &Visitor, stored: &mut Visitor) {
    stored.cart.extend(&changed.cart[loaded.cart.len()..]);
}

#[test]
fn save_of_one_handle_leaves_what_another_has_left_to_the_policy() {
    two_changed_at_once(
        |mut first, second| {
            drop(second);
            first.try_save()
        },
        [
            (OnConflict::LastWins, 200, cart(&[2])),
            (OnConflict::Refuse, 409, cart(&[1])),
            (OnConflict::Merge(merge), 200, cart(&[1, 2])),
        ],
    );
}

#[test]
fn update_saves_what_its_handle_holds_as_the_policy_says() {
    two_changed_at_once(
        |mut first, mut second| {
            second.try_save()?;
            first.update(|visitor| visitor.cart.push(3))
        },
        [
            (OnConflict::LastWins, 200, cart(&[1, 3])),
            (OnConflict::Refuse, 409, cart(&[2])),
            (OnConflict::Merge(merge), 200, cart(&[2, 1, 3])),
        ],
    );
}

#[test]
fn update_of_a_handle_with_changes_leaves_those_of_another_request_to_the_policy() {
    for (policy, told, kept) in [
        (OnConflict::LastWins, Ok(()), cart(&[1, 3])),
        (OnConflict::Refuse, Err(Refused::Conflict), cart(&[2])),
        (OnConflict::Merge(merge), Ok(()), cart(&[2, 1, 3])),
    ] {
        let store = store();
        let id = *store.create_with(cart(&[])).id();
        let theirs = store.clone();
        let handler = move |mut session: Session<Visitor>| {
            session.cart.push(1);
            theirs.update(&id, |visitor| visitor.cart.push(2));
            assert_eq!(session.update(|visitor| visitor.cart.push(3)), told, "{policy:?}");
            assert_eq!(*session, *theirs.peek(&id).unwrap(), "{policy:?}");
            async {}
        };
        let layer = SessionLayer::new(store.clone()).on_conflict(policy);
        assert_eq!(send(&layered(layer, handler), &cookie(&id)).status, StatusCode::OK);
        assert_eq!(*store.load(&id).unwrap(), kept, "{policy:?}");
    }
}

#[test]
fn third_handle_shows_what_was_left_last() {
    let store = store();
    let id = *store.create_with(cart(&[])).id();
    let handler = |request: axum::extract::Request| async move {
        let [mut first, mut second] = [(); 2].map(|()| Session::<Visitor>::of(&request).unwrap());
        first.cart.push(1);
        second.cart.push(2);
        drop((first, second));
        format!("{:?}", Session::<Visitor>::of(&request).unwrap().cart)
    };
    assert_eq!(send(&app(&store, handler), &cookie(&id)).body, "[2]");
}

#[test]
fn rotation_by_one_handle_keeps_what_another_has_left() {
    let store = store();
    let id = *store.create_with(cart(&[0])).id();
    let handler = |mut first: Session<Visitor>, mut second: Session<Visitor>| async move {
        first.cart.push(1);
        drop(first);
        second.rotate()
    };
    let given = send(&app(&store, handler), &cookie(&id)).given();
    assert_eq!(*store.load(&given).unwrap(), cart(&[0, 1]));
}

#[test]
fn authentication_by_one_handle_keeps_what_another_has_begun() {
    let store = store();
    let handler = |mut first: Session<Visitor>, mut second: Session<Visitor>| async move {
        second.update(|visitor| visitor.cart.push(1))?;
        first.reauthenticate()
    };
    let given = send(&app(&store, handler), "").given();
    assert_eq!((&*store.load(&given).unwrap(), store.len()), (&cart(&[1]), 1));
}

/// Whoever signs in by it does not sign in the one that began after the logout.
#[test]
fn handle_of_a_session_that_has_ended_authenticates_no_other() {
    for goes_on in [false, true] {
        let store = store();
        let id = *store.create_with(cart(&[1])).id();
        let handler = move |mut first: Session<Visitor>, mut second: Session<Visitor>| async move {
            first.cart.push(5);
            second.destroy();
            if goes_on {
                second.update(|visitor| visitor.cart.push(9)).unwrap();
            }
            assert_eq!(first.reauthenticate(), Err(Refused::Gone), "another goes on: {goes_on}");
        };
        let response = send(&app(&store, handler), &cookie(&id));
        if goes_on {
            let given = response.given();
            assert!(!store.authenticated_within(&given, Duration::from_secs(60)));
            assert_eq!(*store.load(&given).unwrap(), cart(&[9]));
        }
    }
}

#[test]
fn refusal_of_what_one_handle_left_is_told_though_another_is_saved() {
    let builder = SessionStore::<Visitor>::builder().max_bytes(10, |visitor| visitor.cart.len());
    let store = builder.build().unwrap();
    let id = *store.create().id();
    let handler = |mut first: Session<Visitor>, mut second: Session<Visitor>| async move {
        first.cart = vec![7; 11];
        second.cart.push(1);
        drop(first);
        drop(second);
        "saved"
    };
    let reply = send(&app(&store, handler), &cookie(&id));
    assert_eq!((reply.status, &*reply.body), (StatusCode::PAYLOAD_TOO_LARGE, ""));
    assert_eq!(*store.load(&id).unwrap(), cart(&[1]));
}
