//! Owns the choice between the real primitives and loom's.
//!
//! Everything whose interleavings matter takes its atomics, its back-off and its thread-locals from
//! here, so that the models in `loom-tests/` run the real source. `cloakroom_loom` is set by that
//! package alone: a bare `--cfg loom` would change other crates too.

#[cfg(not(cloakroom_loom))]
pub(crate) use self::real::*;

#[cfg(cloakroom_loom)]
pub(crate) use self::model::*;

pub(crate) use std::sync::atomic::Ordering;

#[cfg(not(cloakroom_loom))]
mod real {
    pub(crate) use crate::shards::Mutex;
    pub(crate) use ahash::RandomState;
    pub(crate) use crossbeam_utils::Backoff;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
    pub(crate) use std::thread_local;

    use std::thread;
    use std::time::Duration;

    /// How long a thread sleeps that waits for one which seems to have lost the processor.
    const REST: Duration = Duration::from_micros(50);

    /// Backs off a little longer each time, and sleeps in the end, so that a thread of a higher priority
    /// than the one it waits for lets it run.
    #[expect(clippy::disallowed_methods, reason = "the one place that waits for another thread")]
    pub(crate) fn rest(backoff: &Backoff) {
        if backoff.is_completed() { thread::sleep(REST) } else { backoff.snooze() }
    }

    /// Tells whether shards are surveyed.
    #[inline(always)]
    pub(crate) fn surveys() -> bool {
        true
    }

    /// Stands after a SeqCst write that is followed by a SeqCst read of something else. Both say all that is
    /// needed by themselves.
    #[inline(always)]
    pub(crate) fn seq_cst() {}
}

#[cfg(cloakroom_loom)]
mod model {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};

    /// The same in every schedule, so that a replay finds what it found before.
    pub(crate) type RandomState = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

    /// Like the real one, not poisoned by a panic.
    #[derive(Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> impl std::ops::DerefMut<Target = T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }

    /// Loom's macro knows no `const` blocks.
    macro_rules! plain_thread_local {
        ($(#[$doc:meta])* static $name:ident: $type:ty = const $start:block;) => {
            loom::thread_local! { $(#[$doc])* static $name: $type = $start; }
        };
    }
    pub(crate) use plain_thread_local as thread_local;

    pub(crate) fn rest(backoff: &Backoff) {
        backoff.snooze();
    }

    /// Only where a model has asked for it.
    pub(crate) fn surveys() -> bool {
        crate::shards::watch::surveys()
    }

    /// Loom takes a SeqCst read or write for a weaker one, but knows the fence that stands for them.
    pub(crate) fn seq_cst() {
        loom::sync::atomic::fence(super::Ordering::SeqCst);
    }

    /// Yields twice and is then completed, which is all a model can tell of a back-off.
    pub(crate) struct Backoff(std::cell::Cell<u32>);

    impl Backoff {
        pub(crate) fn new() -> Self {
            Self(std::cell::Cell::new(0))
        }

        pub(crate) fn snooze(&self) {
            self.0.set(self.0.get() + 1);
            crate::shards::watch::snoozed();
            loom::thread::yield_now();
        }

        pub(crate) fn is_completed(&self) -> bool {
            self.0.get() >= 2
        }
    }
}
