//! Checks that a session store keeps its promises, for whoever writes an adapter or a store of their own.
//!
//! The checks are the races in which session stores go wrong, and the contract of each framework's
//! interface: no late save brings a session back after a logout, or makes one under an id that a client
//! made up; no id is handed out that is taken; what has expired is gone. Whether a new session may get an
//! id that its creator asks for, and that is free, is the interface's affair. They are the checks that the
//! adapters here pass, and the frameworks' own memory stores do not.
//!
//! A store of a framework that there is an adapter for is checked as it is, for instance by
//! `Suite::tower_sessions`. Any other is given to [`Suite::run`] as a [`Subject`].
//!
//! ```
//! use cloakroom::SessionStore;
//! use cloakroom::conformance::{Suite, block_on};
//! # #[cfg(feature = "tower-sessions")]
//! use cloakroom::adapters::tower_sessions::Store;
//!
//! # #[cfg(feature = "tower-sessions")]
//! let report = Suite::new().rounds(20).tower_sessions(|clock| {
//!     Store::from(SessionStore::builder().clock(clock.clone()).build().expect("valid settings"))
//! });
//! # #[cfg(feature = "tower-sessions")]
//! report.assert_passed();
//! ```
//!
//! Time is injected: each check makes a store on a [`ManualClock`] of its own, and advances that. A store
//! that reads the system's clock is checked [without](Suite::without_clock), and what needs it is skipped.
//! Nothing here sleeps, and nothing needs a runtime: see [`Suite::block_on_with`] for stores that do.

#[cfg(feature = "actix-session")]
mod actix_session;
#[cfg(feature = "async-session")]
mod async_session;
mod block_on;
mod checks;
mod races;
mod report;
mod timed;
#[cfg(feature = "tower-sessions")]
mod tower_sessions;

pub use block_on::block_on;
pub use report::Report;

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::ManualClock;

/// How long a session is to live, as it is created or saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifetime {
    /// This long from now.
    For(Duration),
    /// No time at all: until a moment that has passed.
    Over,
}

/// A store under test, in words that fit every session interface.
///
/// A method that meets an error which its interface should not return panics: the check has then failed.
/// What an interface has no way to do stays `None`, and the checks that need it are skipped.
pub trait Subject: Send + Sync {
    /// What a client holds: the cookie.
    type Key: Clone + PartialEq + Send + Sync;
    /// A session as a request holds it, with one number as its data.
    type Handle: Send;

    /// Stores a new session.
    fn create(&self, value: u64, lifetime: Lifetime) -> Self::Key;

    /// Loads a session.
    fn load(&self, key: &Self::Key) -> Option<Self::Handle>;

    /// Returns the number in a handle.
    fn value(handle: &Self::Handle) -> u64;

    /// Changes the number in a handle, and saves nothing.
    fn set(handle: &mut Self::Handle, value: u64);

    /// Saves a handle, as at the end of a request.
    fn save(&self, handle: Self::Handle, lifetime: Lifetime);

    /// Ends a session, as at a logout.
    fn destroy(&self, key: &Self::Key);

    /// Gives a session a new key, as at a sign-in, the way that the framework's middleware does.
    ///
    /// The session keeps its end, or lives from now on as long as it was created to live. If it has ended, the
    /// key that is returned finds nothing; where the framework's way is to create another session, and that
    /// cannot be told, what needs it is skipped.
    fn rotate(&self, handle: Self::Handle) -> Self::Key;

    /// Returns a key of the right form that the store never gave to anybody.
    fn planted_key(&self) -> Self::Key;

    /// Makes a handle under a key without loading it, if the interface lets a request do that.
    fn forge(&self, key: &Self::Key, value: u64) -> Option<Self::Handle> {
        let _ = (key, value);
        None
    }

    /// Stores a new session under a key that the caller wants, and returns the key that it got: that one
    /// or another, but none that is taken.
    fn create_under(&self, key: &Self::Key, value: u64) -> Option<Self::Key> {
        let _ = (key, value);
        None
    }

    /// Saves a handle unless somebody else has saved the session since it was loaded, or it has ended, and tells whether
    /// it was saved. The session keeps its end, or lives from now on as long as it was created to live.
    fn save_unless_changed(&self, handle: Self::Handle) -> Option<bool> {
        let _ = handle;
        None
    }

    /// Adds to the number of a live session in one step, whatever other requests do, and tells whether there was one.
    fn add(&self, key: &Self::Key, number: u64) -> Option<bool> {
        let _ = (key, number);
        None
    }

    /// Lets a session live this long from now without saving it.
    fn touch(&self, key: &Self::Key, lifetime: Duration) -> Option<()> {
        let _ = (key, lifetime);
        None
    }

    /// Loads by a text that is no key, and tells whether that found a session.
    fn finds_text(&self, text: &str) -> Option<bool> {
        let _ = text;
        None
    }

    /// Removes what has expired.
    fn sweep(&self) -> Option<()> {
        None
    }

    /// Returns how many sessions take memory, those that nobody has the key of too.
    fn stored(&self) -> Option<usize> {
        None
    }

    /// Ends every session.
    fn clear(&self) -> Option<()> {
        None
    }
}

/// Polls a future to its end: see [`Suite::block_on_with`].
type Driver = Arc<dyn Fn(Pin<&mut (dyn Future<Output = ()> + '_)>) + Send + Sync>;

/// The checks, and how to run them.
#[derive(Clone)]
pub struct Suite {
    rounds: usize,
    has_clock: bool,
    driver: Driver,
}

impl Suite {
    /// Returns a suite that repeats each race 200 times.
    #[must_use]
    pub fn new() -> Self {
        Self { rounds: 200, has_clock: true, driver: Arc::new(|future| block_on(future)) }
    }

    /// Sets how often each race is run: once at the least, so that none passes that never ran.
    #[must_use]
    pub fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds.max(1);
        self
    }

    /// Leaves out what needs the clock to be advanced: for a store that reads the system's.
    #[must_use]
    pub fn without_clock(mut self) -> Self {
        self.has_clock = false;
        self
    }

    /// Sets what runs the futures of an asynchronous store, from several threads: for one that needs a
    /// runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::conformance::Suite;
    ///
    /// let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    /// let suite = Suite::new().block_on_with(move |future| runtime.block_on(future));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn block_on_with(
        mut self,
        driver: impl Fn(Pin<&mut (dyn Future<Output = ()> + '_)>) + Send + Sync + 'static,
    ) -> Self {
        self.driver = Arc::new(driver);
        self
    }

    /// Runs what every session store has to pass. The closure makes a new store on the given clock.
    pub fn run<S: Subject>(&self, make: impl Fn(&ManualClock) -> S) -> Report {
        let checks = checks::all().into_iter().chain(timed::all()).chain(races::all());
        self.report(make, checks)
    }

    fn report<S>(
        &self,
        make: impl Fn(&ManualClock) -> S,
        checks: impl IntoIterator<Item = Check<S>>,
    ) -> Report {
        let mut report = Report::default();
        for check in checks {
            report.add(check.name, self.try_check(&make, &check));
        }
        report
    }

    fn try_check<S>(&self, make: &impl Fn(&ManualClock) -> S, check: &Check<S>) -> Verdict {
        if check.advances && !self.has_clock {
            return Err(Failure::Skipped);
        }
        // What a check broke is dropped with it: each one makes a store of its own.
        let verdict = catch_unwind(AssertUnwindSafe(|| {
            let clock = ManualClock::new();
            let store = make(&clock);
            (check.run)(&Trial { store, clock, rounds: self.rounds })
        }));
        verdict.unwrap_or_else(|panic| Err(Failure::Broken(message(&*panic).to_owned())))
    }
}

impl Default for Suite {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite")
            .field("rounds", &self.rounds)
            .field("has_clock", &self.has_clock)
            .finish_non_exhaustive()
    }
}

#[cfg(any(feature = "tower-sessions", feature = "actix-session", feature = "async-session"))]
fn wait<F: Future>(driver: &Driver, future: F) -> F::Output {
    let mut output = None;
    driver(std::pin::pin!(async { output = Some(future.await) }));
    match output {
        Some(output) => output,
        None => panic!("the driver returned before the future had ended"),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}

/// What a check runs on.
struct Trial<S> {
    store: S,
    clock: ManualClock,
    rounds: usize,
}

/// Why a check did not pass.
enum Failure {
    Broken(String),
    Skipped,
}

type Verdict = Result<(), Failure>;

/// One check, by the name of its function.
struct Check<S> {
    name: &'static str,
    /// Whether it advances the clock.
    advances: bool,
    run: fn(&Trial<S>) -> Verdict,
}

/// Makes a list of checks of functions.
macro_rules! list {
    ($advances:literal; $($check:ident),* $(,)?) => {
        vec![$($crate::conformance::Check {
            name: stringify!($check),
            advances: $advances,
            run: $check,
        }),*]
    };
}
use list;

/// Fails a check with a sentence about the store, unless something holds.
fn ensure(holds: bool, otherwise: &str) -> Verdict {
    if holds { Ok(()) } else { Err(Failure::Broken(otherwise.to_owned())) }
}

/// Returns what an interface can do, or skips the check.
fn needs<T>(supported: Option<T>) -> Result<T, Failure> {
    supported.ok_or(Failure::Skipped)
}

/// Long enough that no run of the suite takes as long by the wall clock, which frameworks read.
const LONG: Duration = Duration::from_secs(10 * 3600);

impl<S: Subject> Trial<S> {
    fn create(&self, value: u64) -> S::Key {
        self.store.create(value, Lifetime::For(LONG))
    }

    fn load(&self, key: &S::Key) -> Result<S::Handle, Failure> {
        let found = self.store.load(key);
        found.ok_or_else(|| Failure::Broken("a live session was not found".to_owned()))
    }

    fn value(&self, key: &S::Key) -> Option<u64> {
        self.store.load(key).map(|handle| S::value(&handle))
    }

    /// Saves another value through a handle.
    fn save(&self, mut handle: S::Handle, value: u64) {
        S::set(&mut handle, value);
        self.store.save(handle, Lifetime::For(LONG));
    }

    /// Saves another value through a handle whose session has ended under this key.
    fn save_late(&self, handle: S::Handle, value: u64, key: &S::Key, otherwise: &str) -> Verdict {
        self.brings_nothing(key, otherwise, || self.save(handle, value))
    }

    /// Does what comes too late for the session under this key. That is to bring neither it back nor another into being,
    /// whoever would have the key of that.
    fn brings_nothing<R>(
        &self,
        key: &S::Key,
        otherwise: &str,
        late: impl FnOnce() -> R,
    ) -> Result<R, Failure> {
        let before = self.store.stored();
        let done = late();
        let after = self.store.stored();
        self.is_gone(key, otherwise)?;
        ensure(before >= after, "what came too late for a session began another")?;
        Ok(done)
    }

    fn is_gone(&self, key: &S::Key, otherwise: &str) -> Verdict {
        ensure(self.store.load(key).is_none(), otherwise)
    }
}
