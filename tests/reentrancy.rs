//! Every operation called inside every hook: user code never runs under a lock.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use cloakroom::{Cause, Expiry, ManualClock, OnLimit, Session, SessionId, SessionStore, Subject};

const MINUTE: Duration = Duration::from_secs(60);

/// Stands for "hangs": each pair needs some microseconds, and a loaded machine many times that.
const WATCHDOG: Duration = Duration::from_secs(20);

/// Small, so that recursion shows.
const SMALL_STACK: usize = 256 * 1024;

type Store = SessionStore<Value>;
type Operation = fn(&Store, &mut Session<Value>);
type Trigger = fn(&Store, &ManualClock, Session<Value>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Hook {
    Listener,
    Drop,
    Clone,
    Closure,
}

/// Runs an action, once, when its hook is called.
struct Trap {
    hook: Hook,
    action: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

/// A value whose `Clone` and `Drop` are hooks.
#[derive(Default)]
struct Value {
    trap: Option<Arc<Trap>>,
}

impl Value {
    fn fire(&self, hook: Hook) {
        let Some(trap) = self.trap.as_ref().filter(|trap| trap.hook == hook) else {
            return;
        };
        let action = trap.action.lock().unwrap().take();
        if let Some(action) = action {
            action();
        }
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        self.fire(Hook::Clone);
        Self { trap: self.trap.clone() }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.fire(Hook::Drop);
    }
}

/// A table's row returns nothing.
fn ignore<R>(_: R) {}

/// Every operation of the store, on a session that may be the hook's own.
const OPERATIONS: &[(&str, Operation)] = &[
    ("create", |store, _| ignore(store.create())),
    ("create_with", |store, _| ignore(store.create_with(Value::default()))),
    ("create_with_id", |store, _| ignore(store.create_with_id(String::from("victim")))),
    ("try_create", |store, _| ignore(store.try_create())),
    ("try_create_with", |store, _| ignore(store.try_create_with(Value::default()))),
    ("try_create_with_id", |store, session| {
        ignore(store.try_create_with_id(session.id(), Value::default()));
    }),
    ("load", |store, session| ignore(store.load(session.id()))),
    ("peek", |store, session| ignore(store.peek(session.id()))),
    ("contains", |store, session| ignore(store.contains(session.id()))),
    ("destroy", |store, session| ignore(store.destroy(session.id()))),
    ("save", |store, session| ignore(store.save(session))),
    ("save a change", |store, session| {
        session.trap = None;
        store.save(session);
    }),
    ("try_save", |store, session| ignore(store.try_save(session))),
    ("update", |store, session| ignore(store.update(session.id(), |value| value.trap = None))),
    ("touch", |store, session| ignore(store.touch(session.id()))),
    ("expires_in", |store, session| ignore(store.expires_in(session.id()))),
    ("set_expiry", |store, session| ignore(store.set_expiry(session.id(), Duration::ZERO))),
    ("set_expiry never", |store, session| ignore(store.set_expiry(session.id(), Expiry::Never))),
    ("rotate", |store, session| ignore(store.rotate(session))),
    ("try_rotate", |store, session| ignore(store.try_rotate(session))),
    ("for_each", |store, _| store.for_each(|_, value| value.fire(Hook::Closure))),
    ("retain all", |store, _| assert_eq!(store.retain(|_, _| true), 0)),
    ("retain none", |store, _| ignore(store.retain(|_, _| false))),
    ("clear", |store, _| store.clear()),
    ("purge_expired", |store, _| ignore(store.purge_expired())),
    ("len", |store, _| ignore((store.len(), store.is_empty()))),
    ("stats", |store, _| ignore(store.stats())),
    ("clone and debug", |store, session| drop(format!("{:?} {session:?}", store.clone()))),
];

/// Lets the handle go, so that the store's reference to the value is the last.
#[expect(clippy::needless_pass_by_value, reason = "to drop it is the point")]
fn id_of(session: Session<Value>) -> SessionId {
    *session.id()
}

/// What makes a session end or its value go, so that listeners and `Drop` run.
const ENDS: &[(&str, Trigger)] = &[
    ("destroy", |store, _, victim| assert!(store.destroy(&id_of(victim)))),
    ("retain", |store, _, victim| {
        let id = id_of(victim);
        assert!(store.retain(|seen, _| *seen != id) >= 1);
    }),
    ("clear", |store, _, victim| {
        drop(victim);
        store.clear();
    }),
    ("purge", |store, clock, victim| {
        drop(victim);
        clock.advance(MINUTE);
        assert!(store.purge_expired() >= 1);
    }),
    ("sweep by a load", |store, clock, victim| {
        let id = id_of(victim);
        clock.advance(MINUTE);
        // As many slices as it takes to come round.
        for _ in 0..8 {
            assert!(store.load(&id).is_none_or(|session| session.trap.is_none()));
            clock.advance(Duration::from_secs(4));
        }
    }),
    ("create on a dead id", |store, clock, victim| {
        let id = id_of(victim);
        clock.advance(MINUTE);
        assert!(store.try_create_with_id(&id, Value::default()).is_ok());
    }),
    ("eviction", |store, _, victim| {
        drop(victim);
        (0..4).for_each(|_| ignore(store.create()));
    }),
];

/// What else runs hooks, each named by the hook it runs.
const OTHERS: &[(&str, Hook, Trigger)] = &[
    ("listener of rotate", Hook::Listener, |store, _, mut victim| {
        assert!(store.rotate(&mut victim));
    }),
    ("drop of what save replaced", Hook::Drop, |store, _, victim| {
        drop(victim);
        assert!(store.save(&elsewhere("victim")));
    }),
    ("drop of what update replaced", Hook::Drop, |store, _, victim| {
        drop(victim);
        assert!(store.update("victim", |value| value.trap = None).is_some());
    }),
    ("drop in the update closure", Hook::Drop, |store, _, victim| {
        drop(victim);
        store.update("victim", |value| *value = Value::default());
    }),
    ("drop of the last handle", Hook::Drop, |store, _, victim| {
        store.destroy("victim");
        drop(victim);
    }),
    ("drop of a refused value", Hook::Drop, |store, _, victim| {
        let refused = Value { trap: victim.trap.clone() };
        assert!(store.try_create_with_id("victim", refused).is_err());
    }),
    ("clone in save", Hook::Clone, |store, _, victim| ignore(store.save(&victim))),
    ("clone in try_save", Hook::Clone, |store, _, mut victim| ignore(store.try_save(&mut victim))),
    ("clone in update", Hook::Clone, |store, _, _| ignore(store.update("victim", |_| ()))),
    ("clone in deref_mut", Hook::Clone, |_, _, mut victim| {
        drop(std::mem::take(&mut *victim));
    }),
    ("closure of update", Hook::Closure, |store, _, _| {
        store.update("victim", |value| value.fire(Hook::Closure));
    }),
    ("closure of for_each", Hook::Closure, |store, _, _| {
        store.for_each(|_, value| value.fire(Hook::Closure));
    }),
    ("closure of retain, which keeps", Hook::Closure, |store, _, _| {
        store.retain(|_, value| {
            value.fire(Hook::Closure);
            true
        });
    }),
    ("closure of retain, which ends", Hook::Closure, |store, _, _| {
        store.retain(|_, value| {
            value.fire(Hook::Closure);
            false
        });
    }),
];

fn hooks() -> Vec<(String, Hook, Trigger)> {
    let ends = ENDS.iter().flat_map(|(name, trigger)| {
        let listener = (format!("listener of {name}"), Hook::Listener, *trigger);
        [listener, (format!("drop after {name}"), Hook::Drop, *trigger)]
    });
    let others = OTHERS.iter().map(|(name, hook, trigger)| ((*name).to_owned(), *hook, *trigger));
    ends.chain(others).collect()
}

fn new_store(clock: &ManualClock) -> Store {
    let store = Store::builder().shards(2).max_sessions(4).idle_timeout(MINUTE);
    let store = store.clock(clock.clone()).on_end(|end| end.data.fire(Hook::Listener));
    store.build().unwrap()
}

/// Returns a handle of the same id that holds no value of the store: another store made it.
fn elsewhere(id: &str) -> Session<Value> {
    let store = Store::builder().build().unwrap();
    store.try_create_with_id(id, Value::default()).unwrap()
}

/// Runs one operation inside one hook; says what is wrong, if anything is.
fn run_pair(hook: Hook, trigger: Trigger, operation: Operation) -> Result<(), &'static str> {
    let clock = ManualClock::new();
    let store = new_store(&clock);
    let mut handles = ["victim", "bystander"].map(elsewhere);
    let ran = Arc::new(AtomicBool::new(false));
    let (inside, flag) = (store.clone(), Arc::clone(&ran));
    let action = move || {
        handles.iter_mut().for_each(|session| operation(&inside, session));
        flag.store(true, Ordering::SeqCst);
    };
    let trap = Arc::new(Trap { hook, action: Mutex::new(Some(Box::new(action))) });
    let victim = store.try_create_with_id("victim", Value { trap: Some(trap) }).unwrap();
    clock.advance(Duration::from_secs(1));
    store.try_create_with_id("bystander", Value::default()).unwrap();
    trigger(&store, &clock, victim);
    if !ran.load(Ordering::SeqCst) {
        return Err("the hook never ran, or its operation panicked");
    }
    store.clear();
    for _ in 0..10 {
        let session = store.create();
        if store.load(session.id()).is_none() || !store.destroy(session.id()) {
            return Err("the store is broken afterwards");
        }
    }
    let mut count = 0;
    store.for_each(|_, _| count += 1);
    if count == store.len() && store.stats().panics == 0 { Ok(()) } else { Err("miscounted") }
}

/// Runs something on a thread of its own and says so if it does not return in time.
fn watched<R: Send + 'static>(
    stack: usize,
    run: impl FnOnce() -> R + Send + 'static,
) -> Result<R, &'static str> {
    let (done, report) = channel();
    let thread = thread::Builder::new().stack_size(stack);
    thread.spawn(move || drop(done.send(run()))).unwrap();
    report.recv_timeout(WATCHDOG).map_err(|error| match error {
        RecvTimeoutError::Timeout => "hangs",
        RecvTimeoutError::Disconnected => "panics",
    })
}

#[test]
fn any_operation_works_inside_any_hook() {
    let mut failed = Vec::new();
    for (hook_name, hook, trigger) in hooks() {
        for (operation_name, operation) in OPERATIONS {
            let pair = watched(1 << 20, move || run_pair(hook, trigger, *operation));
            if let Err(fault) = pair.and_then(|result| result) {
                failed.push(format!("{operation_name} inside {hook_name}: {fault}"));
            }
            // Each that hangs costs the watchdog's time.
            assert!(failed.len() < 5, "{failed:#?}");
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn listener_that_creates_a_session_for_each_end_neither_overflows_nor_hangs() {
    let heard = watched(SMALL_STACK, || {
        let heard = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&heard);
        let store = Arc::new_cyclic(|me: &Weak<SessionStore<u64>>| {
            let me = me.clone();
            let store = SessionStore::<u64>::builder().shards(2).max_sessions(2);
            let store = store.on_end(move |_| {
                counter.fetch_add(1, Ordering::SeqCst);
                me.upgrade().unwrap().create();
            });
            store.build().unwrap()
        });
        store.create();
        for _ in 0..20 {
            store.create();
            assert_eq!(store.len(), 2);
        }
        heard.load(Ordering::SeqCst)
    });
    assert!(heard.unwrap() >= 18);
}

/// What was made room for has it by then.
#[test]
fn listener_that_begins_a_session_for_each_that_makes_room_comes_to_an_end_and_is_in_nobodys_way() {
    let displaced: fn(&SessionStore<u64>) -> bool = |store| store.try_create_with(7).is_ok();
    let grows: fn(&SessionStore<u64>) -> bool = |store| {
        let mut session = store.create_with(1);
        *session = 60;
        store.try_save(&mut session).is_ok()
    };
    for (most, act) in [(1, displaced), (1_000, grows)] {
        let heard = watched(SMALL_STACK, move || {
            let heard = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&heard);
            let store = Arc::new_cyclic(|me: &Weak<SessionStore<u64>>| {
                let me = me.clone();
                let subject = |data: &u64| (*data == 7).then(|| Subject::from(7_u64));
                let store = SessionStore::<u64>::builder().shards(2).index_by(subject);
                let store = store.max_per_subject(most, OnLimit::RevokeOldest);
                let store = store.max_bytes(100, |data| *data as usize).on_end(move |end| {
                    if matches!(end.cause, Cause::Displaced | Cause::Evicted) {
                        counter.fetch_add(1, Ordering::SeqCst);
                        let _ = me.upgrade().unwrap().try_create_with(*end.data);
                    }
                });
                store.build().unwrap()
            });
            store.create_with(if most == 1 { 7 } else { 99 });
            assert!(act(&store));
            heard.load(Ordering::SeqCst)
        });
        assert!((1..100_000).contains(&heard.unwrap()));
    }
}

/// A value that, when dropped, creates another of its kind, as often as the counter allows.
///
/// Not for ever: its own handle may be the last, and then it is dropped by itself, not by the store.
struct Phoenix(Arc<SessionStore<Phoenix>>, Arc<AtomicUsize>);

impl Drop for Phoenix {
    fn drop(&mut self) {
        let left = |left: usize| left.checked_sub(1);
        if self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok() {
            self.0.create_with(Phoenix(Arc::clone(&self.0), Arc::clone(&self.1)));
        }
    }
}

#[test]
fn value_that_creates_another_when_dropped_does_not_overflow() {
    let left = watched(SMALL_STACK, || {
        let store = SessionStore::<Phoenix>::builder().shards(2).max_sessions(2);
        let store = Arc::new(store.build().unwrap());
        let left = Arc::new(AtomicUsize::new(1_000));
        for _ in 0..100 {
            store.create_with(Phoenix(Arc::clone(&store), Arc::clone(&left)));
            assert!(store.len() <= 2);
        }
        left.load(Ordering::SeqCst)
    });
    assert_eq!(left, Ok(0));
}

/// A value that, when dropped, destroys the session after its own.
struct Link(Weak<SessionStore<Link>>, Option<SessionId>);

impl Drop for Link {
    fn drop(&mut self) {
        if let (Some(store), Some(next)) = (self.0.upgrade(), self.1) {
            store.destroy(&next);
        }
    }
}

#[test]
fn chain_of_sessions_that_destroy_each_other_does_not_overflow() {
    const LINKS: usize = 10_000;
    let left = watched(SMALL_STACK, || {
        let store = Arc::new(SessionStore::<Link>::builder().shards(2).build().unwrap());
        let link = |next| *store.create_with(Link(Arc::downgrade(&store), next)).id();
        let first = (1..LINKS).fold(link(None), |next, _| link(Some(next)));
        assert!(store.destroy(&first));
        // A delivery hands on a bounded number; the next one goes on.
        for _ in 0..LINKS {
            let other = link(None);
            assert!(store.destroy(&other));
        }
        store.len()
    });
    assert_eq!(left, Ok(0));
}

#[test]
fn ends_that_a_listener_causes_are_heard_before_the_operation_returns() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&heard);
    let store = Arc::new_cyclic(|me: &Weak<SessionStore<u64>>| {
        let me = me.clone();
        let store = SessionStore::<u64>::builder().shards(2).on_end(move |end| {
            list.lock().unwrap().push(end.id);
            me.upgrade().unwrap().clear();
        });
        store.build().unwrap()
    });
    let mut ids: Vec<_> = (0..500).map(|n| *store.create_with(n).id()).collect();
    assert!(store.destroy(&ids[0]));
    let mut heard = heard.lock().unwrap().clone();
    heard.sort();
    ids.sort();
    assert!(heard == ids);
    assert!(store.is_empty());
}

#[test]
fn walk_ends_although_its_closure_rotates_every_session_it_meets() {
    let rotated = watched(SMALL_STACK, || {
        let store = SessionStore::<u64>::builder().shards(4).build().unwrap();
        (0..100).for_each(|n| drop(store.create_with(n)));
        let mut rotated = 0;
        let mut rotate = |id: &SessionId| {
            let mut session = store.load(id).unwrap();
            rotated += u64::from(store.rotate(&mut session));
        };
        store.for_each(|id, _| rotate(id));
        store.retain(|id, _| {
            rotate(id);
            true
        });
        assert_eq!(store.len(), 100);
        rotated
    });
    assert!(rotated.unwrap() >= 200);
}
