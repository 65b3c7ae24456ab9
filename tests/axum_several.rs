//! The axum layer where several handles of one request change its session: what one leaves, another neither loses nor
//! counts twice, whatever is refused in between.

#[path = "axum/harness.rs"]
#[allow(dead_code, reason = "each of the tests needs a part of it")]
mod harness;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::routing::get;
use cloakroom::SessionStore;
use cloakroom::adapters::axum::{OnConflict, Refused, Session, SessionLayer};
use harness::{Visitor, cookie, layered, send, store};
use proptest::prelude::*;

/// Adds what a request added to what is stored.
fn merge(loaded: &Visitor, changed: &Visitor, stored: &mut Visitor) {
    stored.cart.extend(changed.cart.iter().filter(|item| !loaded.cart.contains(item)));
}

type Handles = [Session<Visitor>; 2];

/// Sends a request to a handler with two handles, and returns the status and the cart that is stored in the end.
fn two_handles(
    policy: OnConflict<Visitor>,
    store: &SessionStore<Visitor>,
    act: fn(&SessionStore<Visitor>, Handles),
) -> (u16, Vec<u32>) {
    let id = *store.create().id();
    let theirs = store.clone();
    let layer = SessionLayer::new(store.clone()).on_conflict(policy);
    let handler = move |first: Session<Visitor>, second: Session<Visitor>| {
        act(&theirs, [first, second]);
        async {}
    };
    let status = send(&layered(layer, handler), &cookie(&id)).status.as_u16();
    (status, store.load(&id).unwrap().cart.clone())
}

#[test]
fn change_after_an_update_leaves_what_another_handle_has_left() {
    for (policy, kept) in [
        (OnConflict::Merge(merge), (200, vec![5, 1, 2, 6])),
        (OnConflict::Refuse, (409, vec![5, 1, 6])),
        (OnConflict::LastWins, (200, vec![5, 1, 6])),
    ] {
        let ended = two_handles(policy, &store(), |_, [mut first, mut second]| {
            first.cart.push(5);
            second.cart.push(2);
            drop(second);
            first.update(|visitor| visitor.cart.push(1)).unwrap();
            first.cart.push(6);
        });
        assert_eq!(ended, kept, "{policy:?}");
    }
}

#[test]
fn change_after_a_conflict_leaves_what_another_handle_has_left() {
    let ended =
        two_handles(OnConflict::Merge(merge), &store(), |store, [mut first, mut second]| {
            first.cart.push(5);
            second.cart.push(2);
            drop(second);
            store.update(&first.id().unwrap(), |visitor| visitor.cart.push(7));
            assert_eq!(first.try_save(), Err(Refused::Conflict));
            first.cart.push(6);
        });
    assert_eq!(ended, (200, vec![7, 2, 6]));
}

#[test]
fn change_after_a_refusal_leaves_what_another_handle_has_left() {
    let builder = SessionStore::<Visitor>::builder().max_bytes(9, |visitor| visitor.cart.len());
    let store = builder.build().unwrap();
    let ended = two_handles(OnConflict::Merge(merge), &store, |_, [mut first, mut second]| {
        first.cart.resize(10, 0);
        second.cart.push(2);
        drop(second);
        assert_eq!(first.try_save(), Err(Refused::TooLarge));
        first.cart = vec![6];
    });
    assert_eq!(ended, (200, vec![2, 6]));
}

#[test]
fn handle_that_is_let_go_within_the_update_of_another_loses_nothing() {
    let ended = two_handles(OnConflict::Merge(merge), &store(), |_, [mut first, second]| {
        let mut second = Some(second);
        let update = |visitor: &mut Visitor| {
            visitor.cart.push(1);
            let left = second.take().into_iter();
            left.for_each(|mut second| second.cart.push(2));
        };
        first.update(update).unwrap();
        first.cart.push(6);
    });
    assert_eq!(ended, (200, vec![1, 2, 6]));
}

/// A middleware that adds 100 to the cart and leaves it, around a handler.
fn behind_a_middleware<H, A>(layer: SessionLayer<Visitor>, handler: H) -> Router
where
    H: axum::handler::Handler<A, ()>,
    A: 'static,
{
    let add = async |request: Request, next: Next| {
        Session::<Visitor>::of(&request).unwrap().cart.push(100);
        next.run(request).await
    };
    Router::new().route("/", get(handler)).layer(middleware::from_fn(add)).layer(layer)
}

/// Merges by what was appended, so that what was left before shows as often as it is counted.
fn append(loaded: &Visitor, changed: &Visitor, stored: &mut Visitor) {
    stored.cart.extend(&changed.cart[loaded.cart.len()..]);
}

fn carts(store: &SessionStore<Visitor>) -> Vec<Vec<u32>> {
    let mut carts = vec![];
    store.for_each(|_, visitor| carts.push(visitor.cart.clone()));
    carts
}

#[test]
fn what_a_middleware_left_counts_once_whatever_two_handles_do_with_it() {
    type Act = fn([Session<Visitor>; 3]);
    let change: Act = |[mut first, mut second, _third]| {
        first.cart.push(1);
        second.cart.push(2);
    };
    let save: Act = |[mut first, mut second, _third]| {
        first.cart.push(1);
        second.cart.push(2);
        drop(second);
        first.try_save().unwrap();
    };
    let save_when_it_is_part_of_a_part: Act = |[mut first, mut second, mut third]| {
        first.cart.push(1);
        second.cart.push(2);
        drop(second);
        third.cart.push(3);
        drop(third);
        first.try_save().unwrap();
    };
    let save_and_be_seen: Act = |[mut first, mut second, mut third]| {
        first.cart.push(1);
        second.cart.push(2);
        drop(second);
        third.cart.push(3);
        first.try_save().unwrap();
    };
    let update: Act = |[mut first, mut second, _third]| {
        first.cart.push(1);
        second.cart.push(2);
        drop(second);
        first.update(|visitor| visitor.cart.push(3)).unwrap();
    };
    let reauthenticate: Act = |[mut first, mut second, _third]| {
        first.cart.push(1);
        second.cart.push(2);
        drop(second);
        first.reauthenticate().unwrap();
    };
    for (act, of_a_known, of_a_new) in [
        // The last is let go of first.
        (change, vec![100, 2, 1], vec![100, 2, 1]),
        (save, vec![1, 100, 2], vec![1, 100, 2]),
        (save_when_it_is_part_of_a_part, vec![1, 100, 2, 3], vec![1, 100, 2, 3]),
        (save_and_be_seen, vec![1, 100, 2, 3], vec![1, 100, 2, 3]),
        (update, vec![1, 3, 100, 2], vec![1, 3, 100, 2]),
        (reauthenticate, vec![100, 2, 1], vec![1, 100, 2]),
    ] {
        for (known, kept) in [(true, of_a_known), (false, of_a_new)] {
            let store = store();
            let sent = if known { cookie(store.create().id()) } else { String::new() };
            let layer = SessionLayer::new(store.clone()).on_conflict(OnConflict::Merge(append));
            let handler = move |a, b, c| {
                act([a, b, c]);
                async {}
            };
            let reply = send(&behind_a_middleware(layer, handler), &sent);
            assert_eq!(reply.status, StatusCode::OK, "known: {known}");
            assert_eq!(carts(&store), [kept], "known: {known}");
        }
    }
}

/// What happens while a save is under way, where the store weighs what it is to store.
type Meanwhile = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

fn meanwhile(during: &Meanwhile, act: impl FnOnce() + Send + 'static) {
    *during.lock().unwrap() = Some(Box::new(act));
}

/// Lets handles of a request act after a middleware has left 100, and returns what is stored in the end.
fn left_by_a_middleware(
    known: bool,
    act: fn(&dyn Fn() -> Session<Visitor>, &Meanwhile),
) -> (u16, Vec<u32>) {
    let during = Meanwhile::default();
    let weighs = Arc::clone(&during);
    let weigh = move |_: &Visitor| {
        let now = weighs.lock().unwrap().take();
        now.into_iter().for_each(|now| now());
        1
    };
    let builder = SessionStore::<Visitor>::builder().max_bytes(100_000, weigh);
    let store = builder.build().unwrap();
    let sent = if known { cookie(store.create().id()) } else { String::new() };
    let handler = move |request: Request| {
        let open = || Session::<Visitor>::of(&request).unwrap();
        open().cart.push(100);
        act(&open, &during);
        async {}
    };
    let layer = SessionLayer::new(store.clone()).on_conflict(OnConflict::Merge(append));
    let status = send(&layered(layer, handler), &sent).status.as_u16();
    let mut carts = carts(&store);
    assert!(carts.len() <= 1, "{carts:?}");
    let mut kept = carts.pop().unwrap_or_default();
    kept.sort_unstable();
    (status, kept)
}

#[test]
fn what_a_middleware_left_counts_once_though_two_handles_save_it_at_once() {
    for known in [true, false] {
        let ended = left_by_a_middleware(known, |open, during| {
            let [mut first, mut second] = [open(), open()];
            first.cart.push(1);
            second.cart.push(2);
            meanwhile(during, move || second.try_save().unwrap());
            assert_eq!(first.try_save(), Err(Refused::Conflict));
        });
        assert_eq!(ended, (200, vec![2, 100]), "known: {known}");

        let ended = left_by_a_middleware(known, |open, during| {
            let [mut first, mut second] = [open(), open()];
            first.cart.push(1);
            second.cart.push(2);
            drop(first);
            let mut third = open();
            third.cart.push(3);
            meanwhile(during, move || second.try_save().unwrap());
            third.update(|visitor| visitor.cart.push(4)).unwrap();
        });
        assert_eq!(ended, (200, vec![1, 2, 3, 4, 100]), "known: {known}");
    }
}

#[test]
fn what_a_middleware_left_counts_once_though_a_handle_saves_it_beside_the_layer() {
    for known in [true, false] {
        let ended = left_by_a_middleware(known, |open, during| {
            let [mut first, mut second] = [open(), open()];
            first.cart.push(1);
            second.cart.push(2);
            drop(first);
            meanwhile(during, move || second.try_save().unwrap());
        });
        assert_eq!(ended, (200, vec![1, 2, 100]), "known: {known}");
    }
}

#[test]
fn what_a_middleware_left_outlasts_a_panic_in_the_save_of_another_handle() {
    for known in [true, false] {
        let ended = left_by_a_middleware(known, |open, during| {
            let mut handle = open();
            handle.cart.push(1);
            meanwhile(during, || panic!("user code"));
            let saved = catch_unwind(AssertUnwindSafe(|| handle.try_save()));
            assert!(saved.is_err());
        });
        assert_eq!(ended, (200, vec![100]), "known: {known}");
    }
}

#[test]
fn update_of_a_visitor_without_a_session_is_repeated_where_another_handle_has_begun_one() {
    for policy in [OnConflict::LastWins, OnConflict::Refuse, OnConflict::Merge(append)] {
        for known in [true, false] {
            let store = store();
            let sent = if known { cookie(store.create().id()) } else { String::new() };
            let layer = SessionLayer::new(store.clone()).on_conflict(policy);
            let handler = |mut first: Session<Visitor>, second: Session<Visitor>| async move {
                let mut second = Some(second);
                let seen = first.update(|visitor| {
                    if let Some(mut second) = second.take() {
                        second.update(|visitor| visitor.cart.push(1)).unwrap();
                    }
                    visitor.cart.push(2);
                    visitor.cart.clone()
                });
                assert_eq!((seen, &*first.cart), (Ok(vec![1, 2]), &[1, 2][..]));
            };
            assert_eq!(send(&layered(layer, handler), &sent).status, StatusCode::OK);
            assert_eq!(carts(&store), [[1, 2]], "{policy:?}, known: {known}");
        }
    }
}

#[test]
fn refused_save_leaves_what_a_middleware_has_left() {
    type Act = fn(&SessionStore<Visitor>, Session<Visitor>);
    let too_large: Act = |_, mut session| {
        session.cart.resize(10, 0);
        assert_eq!(session.try_save(), Err(Refused::TooLarge));
    };
    let meets_another: Act = |store, mut session| {
        store.update(&session.id().unwrap(), |visitor| visitor.cart.push(7));
        assert_eq!(session.try_save(), Err(Refused::Conflict));
    };
    for (policy, act, kept) in [
        (OnConflict::LastWins, too_large, vec![100]),
        (OnConflict::Merge(merge), too_large, vec![100]),
        (OnConflict::LastWins, meets_another, vec![100]),
        (OnConflict::Merge(merge), meets_another, vec![7, 100]),
    ] {
        let builder = SessionStore::<Visitor>::builder().max_bytes(9, |visitor| visitor.cart.len());
        let store = builder.build().unwrap();
        let id = *store.create().id();
        let theirs = store.clone();
        let layer = SessionLayer::new(store.clone()).on_conflict(policy);
        let handler = move |session: Session<Visitor>| {
            act(&theirs, session);
            async {}
        };
        let reply = send(&behind_a_middleware(layer, handler), &cookie(&id));
        assert_eq!((reply.status, &store.load(&id).unwrap().cart), (StatusCode::OK, &kept));
    }
}

#[test]
fn refused_save_of_changes_alone_leaves_the_handle_as_it_was() {
    for known in [true, false] {
        let builder = SessionStore::<Visitor>::builder().max_bytes(9, |visitor| visitor.cart.len());
        let store = builder.build().unwrap();
        let sent = if known { cookie(store.create().id()) } else { String::new() };
        let handler = async |request: Request| {
            let open = || Session::<Visitor>::of(&request).unwrap();
            open().cart.push(100);
            let [mut first, mut second] = [open(), open()];
            first.cart.resize(12, 0);
            second.cart.push(2);
            drop(second);
            assert_eq!(first.try_save(), Err(Refused::TooLarge));
            assert_eq!(first.cart.len(), 12);
        };
        let layer = SessionLayer::new(store.clone()).on_conflict(OnConflict::Merge(append));
        assert_eq!(send(&layered(layer, handler), &sent).status, StatusCode::OK);
        assert_eq!(carts(&store), [[100, 2]], "known: {known}");
    }
}

/// What one of three handles does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Change,
    OpenAnew,
    Update,
    Rotate,
    AnotherRequestUpdates,
    TrySave,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    use Step::{AnotherRequestUpdates, Change, OpenAnew, Rotate, TrySave, Update};
    // Handles that are opened when something was left share it.
    let all =
        vec![Change, Change, OpenAnew, OpenAnew, Update, Rotate, AnotherRequestUpdates, TrySave];
    prop::collection::vec((0..3_usize, prop::sample::select(all)), 1..12)
}

/// What a middleware puts into the cart.
const LEFT: u32 = 100;

/// Takes the steps, after a middleware has `left` something or not, and returns what was added to the cart, or `None`
/// if a handle was told of a conflict.
fn walk(
    request: &Request,
    store: &SessionStore<Visitor>,
    steps: &[(usize, Step)],
    left: bool,
    last: usize,
) -> Option<Vec<u32>> {
    let open = || Session::<Visitor>::of(request).unwrap();
    let mut added = vec![];
    if left {
        open().cart.push(LEFT);
        added.push(LEFT);
    }
    let mut handles = [open(), open(), open()];
    for (at, (handle, step)) in (0..).zip(steps) {
        let handle = &mut handles[*handle];
        match step {
            Step::Change => handle.cart.push(at),
            Step::Update => handle.update(|visitor| visitor.cart.push(at)).unwrap(),
            Step::AnotherRequestUpdates => {
                let Some(id) = handle.id() else { continue };
                store.update(&id, |visitor| visitor.cart.push(at)).unwrap();
            }
            Step::OpenAnew => *handle = open(),
            Step::Rotate => handle.rotate().unwrap(),
            Step::TrySave => handle.try_save().ok()?,
        }
        if matches!(step, Step::Change | Step::Update | Step::AnotherRequestUpdates) {
            added.push(at);
        }
    }
    handles.rotate_left(last);
    added.sort_unstable();
    Some(added)
}

proptest! {
    // What is lost is lost by few of them.
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn whatever_three_handles_do_each_change_counts_once(
        steps in steps(),
        last in 0..3_usize,
        (left, known) in any::<(bool, bool)>(),
    ) {
        let store = store();
        let sent = if known { cookie(store.create().id()) } else { String::new() };
        let told = Arc::new(Mutex::new(None));
        let (theirs, tell) = (store.clone(), Arc::clone(&told));
        let handler = move |request: Request| {
            *tell.lock().unwrap() = walk(&request, &theirs, &steps, left, last);
            async {}
        };
        let layer = SessionLayer::new(store.clone()).on_conflict(OnConflict::Merge(merge));
        let reply = send(&layered(layer, handler), &sent);
        prop_assert_eq!(reply.status, StatusCode::OK);
        if let Some(added) = told.lock().unwrap().take() {
            let mut kept = carts(&store).concat();
            kept.sort_unstable();
            prop_assert_eq!(kept, added);
        }
    }
}
