//! Owns which thread has which stripe: a small number that no other living thread has.
//!
//! What is kept once for each stripe has one writer, which then needs no locked instruction. There are
//! [`OWNED`] stripes for the whole process; a thread that finds none free shares what it has with others.
//! The models in `loom-tests/` put a stand-in in this file's place.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stripes with one thread each: the bits of [`TAKEN`].
pub(crate) const OWNED: usize = u64::BITS as usize;

/// The number of a stripe that belongs to one thread: below [`OWNED`].
pub(crate) type Stripe = usize;

/// The stripe of all the threads that found no free one.
const SHARED: usize = OWNED;

/// The number of a thread that has yet to ask for a stripe.
const UNASKED: usize = usize::MAX;

/// Which stripes belong to a living thread, in every store of the process alike.
static TAKEN: AtomicU64 = AtomicU64::new(0);

std::thread_local! {
    /// The thread's stripe. Apart from `LEASE`, because without a destructor it is read at once.
    static STRIPE: Cell<usize> = const { Cell::new(UNASKED) };

    /// Gives the thread's stripe back when the thread ends.
    static LEASE: Lease = Lease::take();
}

/// Returns the thread's stripe, if it has one of its own.
#[inline(always)]
pub(crate) fn mine() -> Option<Stripe> {
    let stripe = STRIPE.get();
    (stripe < OWNED).then_some(stripe)
}

/// Asks for a stripe, if the thread has yet to: tells whether that was so.
#[cold]
pub(crate) fn ask() -> bool {
    if STRIPE.get() != UNASKED {
        return false;
    }
    // The lease cannot be had when the thread is being torn down.
    let stripe = LEASE.try_with(|lease| lease.0).unwrap_or(SHARED);
    STRIPE.set(stripe);
    true
}

/// Tells whether at most two threads have a stripe: one that works, and one that has made the store.
#[inline(always)]
pub(crate) fn are_few() -> bool {
    // For tests of what few threads do, by many.
    if cfg!(cloakroom_biased) {
        return true;
    }
    // Relaxed: a hint.
    let taken = TAKEN.load(Ordering::Relaxed);
    let but_one = taken & taken.wrapping_sub(1);
    but_one & but_one.wrapping_sub(1) == 0
}

/// Returns the stripes that belong to a living thread.
///
/// Whoever takes a stripe that is not among these sees what the caller wrote, SeqCst, before it asked; and the
/// caller sees all that was done by who gave one of the others back.
pub(crate) fn taken() -> impl Iterator<Item = Stripe> {
    // SeqCst, like the update in `take`: the first. As an Acquire it pairs with the Release in `drop`: the second.
    let mut left = TAKEN.load(Ordering::SeqCst);
    std::iter::from_fn(move || {
        let lowest = (left != 0).then(|| left.trailing_zeros() as usize);
        left &= left.wrapping_sub(1);
        lowest
    })
}

/// A thread's right to a stripe.
struct Lease(usize);

impl Lease {
    fn take() -> Self {
        let lowest_free = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
        // SeqCst: see `taken`. As an Acquire it pairs with the Release in `drop`, so that what the stripe's last owner
        // wrote is seen before it is added to.
        let before = TAKEN.fetch_update(Ordering::SeqCst, Ordering::Relaxed, lowest_free);
        Self(before.map_or(SHARED, |taken| taken.trailing_ones() as usize))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // While the thread is torn down, it shares with the others.
        STRIPE.set(SHARED);
        if self.0 < OWNED {
            // Release: pairs with the Acquires in `take` and `taken`.
            TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::HashSet;
    #[cfg(not(cloakroom_biased))]
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread::{self, JoinHandle};

    fn ask_for_stripe() -> Stripe {
        ask();
        mine().unwrap()
    }

    /// A thread that waits with its stripe until it is told to end.
    struct Owner {
        stripe: usize,
        end: mpsc::Sender<()>,
        thread: JoinHandle<()>,
    }

    impl Owner {
        fn start() -> Self {
            let (taken, stripe) = mpsc::channel();
            let (end, ended) = mpsc::channel();
            let thread = thread::spawn(move || {
                taken.send(ask_for_stripe()).unwrap();
                ended.recv().unwrap();
            });
            Self { stripe: stripe.recv().unwrap(), end, thread }
        }

        fn end(self) {
            self.end.send(()).unwrap();
            self.thread.join().unwrap();
        }
    }

    /// Does something while many threads have stripes.
    #[cfg(not(cloakroom_biased))]
    pub(crate) fn in_a_crowd(work: impl FnOnce()) {
        let crowd = [(); 3].map(|()| Owner::start());
        assert!(!are_few());
        work();
        crowd.into_iter().for_each(Owner::end);
    }

    /// Does something where only the calling thread has a stripe: in a process of its own, in which a test, which is
    /// named, does nothing else.
    #[cfg(not(cloakroom_biased))]
    pub(crate) fn alone(test: &str, work: impl FnOnce()) {
        const ALONE: &str = "CLOAKROOM_TEST_ALONE";
        if std::env::var_os(ALONE).is_some() {
            assert!(are_few());
            return work();
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.args([test, "--exact", "--test-threads=1"]).env(ALONE, "1");
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[cfg(not(cloakroom_biased))]
    fn two_threads_are_few_and_three_are_not() {
        alone("stripe::tests::two_threads_are_few_and_three_are_not", || {
            ask_for_stripe();
            let second = Owner::start();
            assert!(are_few());
            let third = Owner::start();
            assert!(!are_few());
            second.end();
            assert!(are_few());
            third.end();
        });
    }

    /// Whoever writes what belongs to a stripe loads and stores: two writers would lose what they write.
    #[test]
    fn stripe_belongs_to_one_living_thread() {
        let mut owners: Vec<_> = (0..6).map(|_| Owner::start()).collect();
        for round in 0..20 {
            // A gap below those that are still taken, and one among them.
            owners.remove(round % 3).end();
            owners.remove(2 + round % 2).end();
            owners.extend([Owner::start(), Owner::start()]);
            let stripes: HashSet<_> = owners.iter().map(|owner| owner.stripe).collect();
            assert_eq!(stripes.len(), owners.len());
            let taken: HashSet<_> = taken().collect();
            assert!(stripes.is_subset(&taken), "{stripes:?} are not all in {taken:?}");
        }
        owners.into_iter().for_each(Owner::end);
    }

    #[test]
    fn stripe_of_a_thread_that_has_ended_is_given_to_another() {
        for _ in 0..4 * OWNED {
            let stripe = thread::spawn(ask_for_stripe).join().unwrap();
            assert!(stripe < OWNED);
        }
    }
}
