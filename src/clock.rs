//! Owns time: what "now" is, and how a lifetime becomes a deadline.
//!
//! Time is a count of nanoseconds since a fixed origin, in one `u64`, which reaches 584 years. All
//! arithmetic saturates, so no lifetime, however large, can wrap round into an early expiry. Reads
//! the operating system's clocks and nothing else.

mod ticking;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::ticking::Ticking;
use crate::sync::{AtomicU64, Ordering};

/// Nanoseconds since the clock's origin. 0 and 1 are no times: `entry.rs` gives them a meaning.
pub(crate) type Tick = u64;

/// The deadline of what never expires. A multiple of 4, because `terms.rs` keeps two flags in the lowest bits.
pub(crate) const NEVER: Tick = u64::MAX - 3;

/// The last moment a clock shows and the last finite deadline: there, all that can expire has.
const LAST: Tick = NEVER - 2;

/// Where a clock with no origin of its own starts, in nanoseconds: any time that is not 0 or 1.
const ORIGIN: Tick = 1_000_000_000;

/// The longest lifetime a store keeps: 100 years of 365.25 days. Longer ones are cut to it.
///
/// A limit this far out only has to be finite and to leave room in 64 bits of nanoseconds.
pub const MAX_LIFETIME: Duration = Duration::from_secs(100 * 31_557_600);

/// Returns a lifetime in nanoseconds, cut to [`MAX_LIFETIME`].
pub(crate) fn ticks(lifetime: Duration) -> u64 {
    u64::try_from(lifetime.min(MAX_LIFETIME).as_nanos()).unwrap_or(LAST)
}

/// Returns the deadline that lies `lifetime` nanoseconds after `now`.
pub(crate) fn after(now: Tick, lifetime: u64) -> Tick {
    now.saturating_add(lifetime).min(LAST)
}

/// Returns the date and time by the wall clock, exactly.
#[cfg(any(feature = "tower-sessions", feature = "async-session"))]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Where a store takes the time from: the system's clock, or a [`ManualClock`] in tests.
///
/// # Examples
///
/// ```
/// use cloakroom::{Clock, ManualClock, SessionStore};
///
/// let time = ManualClock::new();
/// let store = SessionStore::<u32>::builder().clock(time.clone()).build()?;
/// let other = SessionStore::<u32>::builder().clock(Clock::system()).build()?;
/// # Ok::<(), cloakroom::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Ticking(Ticking),
    Manual(ManualClock),
}

impl Clock {
    /// Returns the system's clock: monotonic, and the default of every store.
    ///
    /// On Linux and Android it advances in the kernel's tick, 1 to 10 ms, which costs a fifth of a
    /// precise reading, and it counts the time that the machine was suspended. Elsewhere it is
    /// [`std::time::Instant`], which counts suspension on some systems only. It never goes back.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Returns the system's clock as a thread of its own reads it every millisecond: a load then looks
    /// at a word in memory, and makes no call.
    ///
    /// For stores of which nearly every operation is a load. Only `load` and `peek` trust the word; all
    /// other operations read the system's clock, and move the word on. Clones share the thread, which
    /// ends soon after the last of them and of the stores that use it.
    ///
    /// # Expiry
    ///
    /// As long as the thread gets no processor, loads may still find what expired meanwhile. A child
    /// that was forked has no such thread: there a session that is only ever loaded does not expire.
    ///
    /// # Errors
    ///
    /// If the system cannot start a thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{Clock, SessionStore};
    ///
    /// let store = SessionStore::<u32>::builder().clock(Clock::ticking()?).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ticking() -> io::Result<Self> {
        Ticking::start().map(|clock| Self(Source::Ticking(clock)))
    }

    /// Takes a reading of this clock together with the system's time of day.
    pub(crate) fn wall(&self) -> Wall {
        let now = self.now();
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the time of day")]
        match &self.0 {
            Source::System | Source::Ticking(_) => Wall { now, at: SystemTime::now() },
            Source::Manual(_) => Wall { now: ORIGIN, at: SystemTime::UNIX_EPOCH },
        }
    }

    /// Returns the time.
    #[inline]
    pub(crate) fn now(&self) -> Tick {
        match &self.0 {
            Source::System => system::now(),
            Source::Ticking(clock) => clock.now(),
            Source::Manual(clock) => clock.now(),
        }
    }

    /// Returns how long ago 1970 was by the wall clock, to be asked before [`now`](Self::now), which is
    /// coarse, ticking or not, and so is this: the two are of one tick and tell exactly what is left until a
    /// date, or they are of one and the next, and it is a tick too much.
    #[cfg(any(feature = "tower-sessions", feature = "async-session"))]
    pub(crate) fn since_1970(&self) -> Duration {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if matches!(self.0, Source::System | Source::Ticking(_)) {
            return system::since_1970();
        }
        wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
    }

    /// Returns the time for a load: as [`now`](Self::now), unless the clock is a ticking one. Written
    /// out, because through `now` it asks a second time which clock it is.
    #[inline]
    pub(crate) fn glance(&self) -> Tick {
        match &self.0 {
            Source::System => system::now(),
            Source::Ticking(clock) => clock.last(),
            Source::Manual(clock) => clock.now(),
        }
    }
}

/// A moment on a store's clock and on the system's.
pub(crate) struct Wall {
    now: Tick,
    at: SystemTime,
}

impl Wall {
    /// Returns the time of day of a tick, as far as the system can say it.
    pub(crate) fn at(&self, tick: Tick) -> SystemTime {
        let between = Duration::from_nanos(tick.abs_diff(self.now));
        let before = tick < self.now;
        let at = if before { self.at.checked_sub(between) } else { self.at.checked_add(between) };
        at.unwrap_or(self.at)
    }
}

impl From<ManualClock> for Clock {
    fn from(clock: ManualClock) -> Self {
        Self(Source::Manual(clock))
    }
}

/// A clock that stands still until it is told to advance, so that no test has to sleep.
///
/// Clones share the time.
///
/// # Examples
///
/// ```
/// use cloakroom::{ManualClock, SessionStore};
/// use std::time::{Duration, SystemTime};
///
/// let clock = ManualClock::new();
/// let store = SessionStore::<u32>::builder()
///     .ttl(Duration::from_secs(60))
///     .clock(clock.clone())
///     .build()?;
/// let session = store.create_with(7);
///
/// clock.advance(Duration::from_secs(59));
/// assert!(store.contains(session.id()));
/// clock.advance(Duration::from_secs(1));
/// assert!(!store.contains(session.id()));
/// # Ok::<(), cloakroom::BuildError>(())
/// ```
#[derive(Clone)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Returns a clock at its origin.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(ORIGIN)))
    }

    /// Moves the time on for every clone. A jump beyond 584 years stops there.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(LAST);
        let moved = |now: u64| Some(now.saturating_add(by).min(LAST));
        // SeqCst on both sides: a test that advances on one thread and looks on another must not
        // depend on how else the two are ordered.
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved);
    }

    /// Returns how far this clock has been advanced since it was made.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now() - ORIGIN)
    }

    #[inline]
    fn now(&self) -> Tick {
        // Pairs with the update in `advance`.
        self.0.load(Ordering::SeqCst)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("elapsed", &self.elapsed()).finish()
    }
}

/// The coarse monotonic clock, corrected for the time spent suspended.
///
/// `CLOCK_MONOTONIC_COARSE` is the cheapest clock there is, but stops during a suspend.
/// `CLOCK_BOOTTIME` does not, but has no coarse form. So the difference of the two is kept, and
/// measured again whenever the coarse clock has moved on by a tick.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use super::Tick;
    use rustix::time::{ClockId, clock_gettime};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// What is known of the time spent suspended.
    struct Suspended {
        /// Nanoseconds by which `CLOCK_BOOTTIME` is ahead of `CLOCK_MONOTONIC`. Only grows.
        time: AtomicU64,
        /// The coarse reading at which `time` was last measured.
        measured_at: AtomicU64,
    }

    static SUSPENDED: Suspended =
        Suspended { time: AtomicU64::new(0), measured_at: AtomicU64::new(0) };

    #[inline]
    pub(super) fn now() -> Tick {
        let coarse = read(ClockId::MonotonicCoarse);
        // Relaxed: at worst two threads measure the same difference.
        if coarse != SUSPENDED.measured_at.load(Ordering::Relaxed) {
            measure(coarse);
        }
        // Relaxed: the word stands alone, and `fetch_max` keeps it from going back. The kernel keeps
        // both within 292 years of each other, so that the sum cannot wrap.
        coarse.wrapping_add(SUSPENDED.time.load(Ordering::Relaxed))
    }

    #[cold]
    fn measure(coarse: Tick) {
        // This order lets a pause between the two make the difference too small, never too large:
        // too small mends itself at the next tick, too large would stay.
        let boot = read(ClockId::Boottime);
        let monotonic = read(ClockId::Monotonic);
        // Both Relaxed: see `now`.
        SUSPENDED.time.fetch_max(boot.saturating_sub(monotonic), Ordering::Relaxed);
        SUSPENDED.measured_at.fetch_max(coarse, Ordering::Relaxed);
    }

    #[cfg(any(feature = "tower-sessions", feature = "async-session"))]
    pub(super) fn since_1970() -> std::time::Duration {
        std::time::Duration::from_nanos(read(ClockId::RealtimeCoarse))
    }

    #[inline]
    fn read(clock: ClockId) -> Tick {
        let time = clock_gettime(clock);
        (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Nanoseconds by which a coarse clock is behind at the most: a tick at 100 Hz.
        const TICK: u64 = 10_000_000;

        /// `ci/suspend` runs it where the two clocks are a day apart, as after a day's suspend.
        #[test]
        fn time_spent_suspended_counts_as_elapsed() {
            let before = read(ClockId::Boottime);
            let now = now();
            assert!(now + TICK >= before, "the clock is {} ns behind", before - now);
            assert!(now <= read(ClockId::Boottime), "the clock is ahead");
        }

        #[test]
        fn clock_never_goes_back() {
            let mut last = 0;
            for _ in 0..100_000 {
                let now = now();
                assert!(now >= last);
                last = now;
            }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use super::{LAST, ORIGIN, Tick};
    use std::sync::OnceLock;
    use std::time::Instant;

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub(super) fn now() -> Tick {
        static BEGIN: OnceLock<Instant> = OnceLock::new();
        let origin = BEGIN.get_or_init(Instant::now);
        let elapsed = u64::try_from(origin.elapsed().as_nanos()).unwrap_or(LAST);
        ORIGIN.saturating_add(elapsed).min(LAST)
    }
}
