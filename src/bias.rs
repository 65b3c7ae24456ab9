//! Owns how a shard's lock is passed by: readers that need none, and writers that wait.
//!
//! A shared lock costs two locked instructions, on a word that all the shard's readers write. A shard that
//! is read and not written is therefore biased towards its readers: a reader writes the shard's address
//! into a word of its own, which takes one locked instruction and no line of another thread's, and takes
//! it back by a plain store. A writer, which holds the exclusive lock already, ends the bias and waits
//! until no reader names the shard; readers after it take the lock. This is *BRAVO* (Dice and Kogan,
//! "BRAVO: Biased Locking for Reader-Writer Locks", USENIX ATC 2019), but for when the bias comes back:
//! with a survey of the shards, if nobody has had the exclusive lock since the survey before. And where so few
//! threads work that there is hardly anybody to wait for, with a writer that has read since its last write but one.
//!
//! Knows nothing of tables and of who may wait for whom: `shards.rs` has the locks, `gate.rs` the order.

use std::ops::Range;

use crossbeam_utils::CachePadded;

use crate::clock::Tick;
use crate::stripe::{self, OWNED};
use crate::sync::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Backoff, Ordering, rest, seq_cst, surveys,
};

/// In a shard's state: nobody has had its exclusive lock since the last survey.
const CALM: u32 = 1 << 31;

/// In a shard's state: how many writers wait for it.
const WAITING: u32 = CALM - 1;

/// What a reader's word says while its thread reads nothing: up to this, how many more of its writes give the bias
/// back. Two, because a session is often ended and another begun at once. Not so large as an address.
const HAS_READ: usize = 2;

/// What a reader's word says while its thread reads nothing, and has read too little for what it wrote.
const NOWHERE: usize = 0;

/// Nanoseconds from the beginning of one survey of the shards to that of the next, at the least: a tick of the
/// coarse clock at the kernel's usual 250 Hz. About so often, at the most, has a shard's writer to look for readers
/// without a lock, but for those who give the bias back.
const SURVEY: u64 = 4_000_000;

/// Shards that are looked at together, at the most: as many as a slice of the sweep visits. Where all of them
/// become biased, some four hundred locked instructions.
const PART: usize = 128;

/// Of so many reads of a thread that took a lock one asks for a survey. A model cannot wait.
const READS: usize = if cfg!(cloakroom_loom) { 1 } else { 256 };

const _: () = assert!(align_of::<Shard>() > HAS_READ, "no shard's address is one of those numbers");

/// Each shard's bias, and who reads where because of it.
pub(crate) struct Bias {
    /// Dense, not padded: every reader reads it, and it is written only when any of it changes.
    shards: Box<[Shard]>,
    /// For each stripe, its thread: 8 KiB.
    readers: Box<[CachePadded<Reader>; OWNED]>,
    /// When the next survey may begin.
    due: AtomicU64,
    /// Where the survey is.
    turn: AtomicUsize,
}

/// What is known of a shard.
#[derive(Default)]
struct Shard {
    /// Whether readers need no lock. Written under the shard's shared or exclusive lock, and never as part of a
    /// read-modify-write.
    biased: AtomicBool,
    /// `CALM`, and the writers that wait.
    state: AtomicU32,
}

/// A thread that reads, which alone writes this.
#[derive(Default)]
struct Reader {
    /// The address of the shard that it reads without a lock, or one of [`NOWHERE`] to [`HAS_READ`]. Always written
    /// with Release: whoever reads any of them sees that all reads before it are over.
    at: AtomicUsize,
    /// How often it has read under a lock.
    locked: AtomicUsize,
}

/// A reader that has announced itself: as long as it lives, nobody changes what is in its shard.
pub(crate) struct Announced<'a>(&'a AtomicUsize);

impl Drop for Announced<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: pairs with the load in `is_at`, so that a writer writes after what was read here.
        self.0.store(HAS_READ, Ordering::Release);
    }
}

impl Bias {
    /// `now` is when the store begins.
    pub(crate) fn new(shards: usize, now: Tick) -> Self {
        let nobody = |_| CachePadded::<Reader>::default();
        Self {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            readers: Box::new(std::array::from_fn(nobody)),
            due: AtomicU64::new(now.saturating_add(SURVEY)),
            turn: AtomicUsize::new(shards),
        }
    }

    /// Announces the calling thread as a reader of a shard; `None` if it has to take the lock. `before` is called in
    /// between, if the shard is biased.
    #[inline(always)]
    pub(crate) fn announce(&self, shard: usize, before: impl FnOnce()) -> Option<Announced<'_>> {
        let shard = &self.shards[shard];
        // Relaxed: asked again below.
        if !shard.biased.load(Ordering::Relaxed) {
            return None;
        }
        let Some(stripe) = stripe::mine() else {
            // The thread has one the next time, if there is one.
            stripe::ask();
            return None;
        };
        let at = &self.readers[stripe].at;
        // Relaxed: the thread's own. Should it be reading without a lock already, then that announcement stays.
        if at.load(Ordering::Relaxed) > HAS_READ {
            return None;
        }
        before();
        // SeqCst, both, as in `take` and `is_at`: of a reader that announces itself and then asks for the bias, and
        // a writer that takes the bias and then asks for readers, one at least sees what the other did.
        at.store(address(shard), Ordering::SeqCst);
        seq_cst();
        let announced = Announced(at);
        // As an Acquire it pairs with the Release in `begin`: what was written before is seen.
        shard.biased.load(Ordering::SeqCst).then_some(announced)
    }

    /// Tells whether the holder of a shard's exclusive lock has to `end` its bias, or to note that it is not calm.
    #[inline(always)]
    pub(crate) fn is_on(&self, shard: usize) -> bool {
        let shard = &self.shards[shard];
        // Relaxed, both: the bias is only set under a lock of the shard, and this one excludes it. A survey that calls
        // the shard calm at this moment may be missed; then it is called so too early once.
        shard.biased.load(Ordering::Relaxed) || shard.state.load(Ordering::Relaxed) & CALM != 0
    }

    /// Ends a shard's bias and waits until no reader is in it without a lock. The caller holds the exclusive
    /// lock.
    #[inline(never)]
    pub(crate) fn end(&self, shard: usize) {
        let shard = &self.shards[shard];
        if take(shard) {
            for reader in self.readers() {
                let backoff = Backoff::new();
                while is_at(reader, shard) {
                    rest(&backoff);
                }
            }
        }
    }

    /// Like `end`, but does not wait: returns `false`, and leaves the bias, if a reader is there.
    #[inline(never)]
    pub(crate) fn try_end(&self, shard: usize) -> bool {
        let ended = {
            let shard = &self.shards[shard];
            !take(shard) || !self.readers().any(|reader| is_at(reader, shard))
        };
        if !ended {
            self.begin(shard);
        }
        ended
    }

    /// Everybody who may have announced itself: asked for after the bias has been taken.
    fn readers(&self) -> impl Iterator<Item = &AtomicUsize> {
        stripe::taken().map(|stripe| &self.readers[stripe].at)
    }

    /// To be called by who has to take a lock to read: tells whether to ask for a survey. Never, where the thread
    /// has no stripe, and could make no use of a bias.
    #[inline(always)]
    pub(crate) fn counts(&self) -> bool {
        if !surveys() {
            return false;
        }
        let Some(stripe) = stripe::mine() else {
            stripe::ask();
            return false;
        };
        let Reader { at, locked } = &*self.readers[stripe];
        // Relaxed, all but the store to `at`: the thread's own.
        if at.load(Ordering::Relaxed) < HAS_READ {
            at.store(HAS_READ, Ordering::Release);
        }
        let count = locked.load(Ordering::Relaxed).wrapping_add(1);
        locked.store(count, Ordering::Relaxed);
        count % READS == 0
    }

    /// Biases a shard that the calling thread has written, if few threads work and this one has read enough to do
    /// with the bias, and releases its exclusive lock, of which nothing but the lock may be left.
    #[inline(always)]
    pub(crate) fn give_back<L>(&self, shard: usize, lock: L) {
        if let Some(stripe) = stripe::mine() {
            let at = &self.readers[stripe].at;
            // Relaxed: the thread's own.
            let left = at.load(Ordering::Relaxed);
            if (NOWHERE + 1..=HAS_READ).contains(&left) && stripe::are_few() {
                at.store(left - 1, Ordering::Release);
                self.begin(shard);
            }
        }
        // Last: the next writer has to find the bias.
        drop(lock);
    }

    /// Looks at the next shards, if it is time to. `lock` locks one for reading, if that is possible at once.
    pub(crate) fn survey<L>(&self, now: Tick, lock: impl Fn(usize) -> Option<L>) {
        if let Some(part) = self.next_part(now) {
            part.for_each(|shard| self.look(shard, || lock(shard)));
        }
    }

    /// Returns the shards to be looked at next, to one thread.
    fn next_part(&self, now: Tick) -> Option<Range<usize>> {
        // Relaxed, all: whoever moves a word on looks, and nothing depends on who that is.
        let (shards, from) = (self.shards.len(), self.turn.load(Ordering::Relaxed));
        if from < shards {
            let to = shards.min(from + PART);
            self.turn.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).ok()?;
            return Some(from..to);
        }
        let due = self.due.load(Ordering::Relaxed);
        let next = now.saturating_add(SURVEY);
        if now < due {
            return None;
        }
        self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        let to = shards.min(PART);
        self.turn.store(to, Ordering::Relaxed);
        Some(0..to)
    }

    fn look<L>(&self, shard: usize, lock: impl Fn() -> Option<L>) {
        let Shard { biased, state } = &self.shards[shard];
        // Relaxed, all: hints, which say nothing about other memory.
        if biased.load(Ordering::Relaxed) {
            return;
        }
        if state.load(Ordering::Relaxed) & CALM == 0 {
            state.fetch_or(CALM, Ordering::Relaxed);
        } else if let Some(_lock) = lock() {
            self.begin(shard);
        }
    }

    /// Biases a shard towards its readers. The caller holds the shared lock, or the exclusive one and is done with it.
    #[inline(always)]
    pub(crate) fn begin(&self, shard: usize) {
        // Release: pairs with the Acquire in `announce`.
        self.shards[shard].biased.store(true, Ordering::Release);
    }

    /// Tells whether writers wait for a shard.
    #[inline]
    pub(crate) fn is_awaited(&self, shard: usize) -> bool {
        // Relaxed: a hint.
        self.shards[shard].state.load(Ordering::Relaxed) & WAITING != 0
    }

    /// Announces a writer to readers.
    pub(crate) fn await_lock(&self, shard: usize) {
        // Relaxed: a hint to readers; the lock itself orders everything.
        self.shards[shard].state.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a writer's announcement back.
    pub(crate) fn got_lock(&self, shard: usize) {
        // Relaxed: as in `await_lock`.
        self.shards[shard].state.fetch_sub(1, Ordering::Relaxed);
    }
}

fn address(shard: &Shard) -> usize {
    std::ptr::from_ref(shard).addr()
}

/// Takes the bias, and notes that the shard is not calm; tells whether there was a bias. The caller holds the
/// exclusive lock.
fn take(shard: &Shard) -> bool {
    // Relaxed, all three: see `is_on`.
    if shard.state.load(Ordering::Relaxed) & CALM != 0 {
        shard.state.fetch_and(WAITING, Ordering::Relaxed);
    }
    if !shard.biased.load(Ordering::Relaxed) {
        return false;
    }
    // SeqCst: see `announce`.
    shard.biased.store(false, Ordering::SeqCst);
    seq_cst();
    true
}

fn is_at(reader: &AtomicUsize, shard: &Shard) -> bool {
    // SeqCst: see `announce`. As an Acquire it pairs with the Release in `Announced`'s drop.
    reader.load(Ordering::SeqCst) == address(shard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    const SHARDS: usize = PART + 3;

    /// Surveys all shards once, as early as that is possible after `now`; returns the time then.
    fn survey(bias: &Bias, now: Tick) -> Tick {
        let now = now + SURVEY;
        for _ in 0..SHARDS.div_ceil(PART) {
            bias.survey(now, |_| Some(()));
        }
        now
    }

    fn biased(bias: &Bias) -> Vec<usize> {
        (0..SHARDS).filter(|shard| bias.announce(*shard, || ()).is_some()).collect()
    }

    #[test]
    fn shards_that_nobody_writes_from_one_survey_to_the_next_are_biased() {
        stripe::ask();
        let bias = Bias::new(SHARDS, 0);
        let now = survey(&bias, 0);
        assert!(biased(&bias).is_empty());
        for shard in [0, PART] {
            assert!(bias.is_on(shard), "a writer has to say that the shard is not calm");
            bias.end(shard);
        }
        let now = survey(&bias, now);
        let but =
            |not: &[usize]| (0..SHARDS).filter(|shard| !not.contains(shard)).collect::<Vec<_>>();
        assert_eq!(biased(&bias), but(&[0, PART]));

        bias.end(5);
        assert!(!bias.is_on(5));
        let now = survey(&bias, now);
        assert_eq!(biased(&bias), but(&[5]));
        survey(&bias, now);
        assert_eq!(biased(&bias), but(&[]));
    }

    #[test]
    fn surveys_are_a_while_apart() {
        stripe::ask();
        let bias = Bias::new(SHARDS, 7);
        for now in [7, 7 + SURVEY - 1] {
            bias.survey(now, |_| Some(()));
            assert!((0..SHARDS).all(|shard| !bias.is_on(shard)), "{now}");
        }
        let now = survey(&bias, 7);
        bias.survey(now + SURVEY - 1, |_| Some(()));
        assert!(biased(&bias).is_empty());
        survey(&bias, now);
        assert_eq!(biased(&bias).len(), SHARDS);
    }

    #[test]
    fn shard_that_is_locked_at_its_survey_is_not_biased() {
        stripe::ask();
        let bias = Bias::new(SHARDS, 0);
        let now = survey(&bias, 0) + SURVEY;
        for _ in 0..2 {
            bias.survey(now, |shard| (shard != 3).then_some(()));
        }
        assert!(!biased(&bias).contains(&3));
        assert_eq!(biased(&bias).len(), SHARDS - 1);
    }

    #[test]
    fn writers_that_wait_do_not_touch_the_bias_nor_it_them() {
        stripe::ask();
        let bias = Bias::new(2, 0);
        bias.await_lock(1);
        bias.await_lock(1);
        bias.begin(1);
        assert!(bias.is_awaited(1) && bias.announce(1, || ()).is_some());
        bias.got_lock(1);
        bias.end(1);
        assert!(bias.is_awaited(1) && bias.announce(1, || ()).is_none());
        bias.got_lock(1);
        assert!(!bias.is_awaited(1) && !bias.is_awaited(0));
    }

    #[test]
    fn bias_stays_for_who_does_not_wait_and_ends_for_who_waits_until_the_reader_has_left() {
        stripe::ask();
        let bias = Bias::new(2, 0);
        bias.begin(1);
        let reader = bias.announce(1, || ()).unwrap();
        assert!(!bias.try_end(1));
        assert!(bias.is_on(1), "nobody was kept out");

        let (ended, has_ended) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                bias.end(1);
                ended.send(()).unwrap();
            });
            while bias.is_on(1) {
                thread::yield_now();
            }
            let ended_early = (0..1000).any(|_| {
                thread::yield_now();
                has_ended.try_recv().is_ok()
            });
            assert!(!ended_early, "the reader is there");
            drop(reader);
            has_ended.recv().unwrap();
        });
        assert!(bias.announce(1, || ()).is_none());
        assert!(bias.try_end(1), "there is none");
    }

    #[test]
    fn thread_that_reads_without_a_lock_already_takes_the_lock() {
        stripe::ask();
        let bias = Bias::new(2, 0);
        bias.begin(0);
        bias.begin(1);
        let reader = bias.announce(0, || ()).unwrap();
        assert!(bias.announce(1, || ()).is_none() && bias.announce(0, || ()).is_none());
        assert!(!bias.try_end(0), "the first announcement stands");
        drop(reader);
        assert!(bias.try_end(0));
    }

    #[test]
    fn one_of_many_reads_under_a_lock_asks_for_a_survey() {
        stripe::ask();
        let bias = Bias::new(2, 0);
        let asked = (0..10 * READS).filter(|_| bias.counts()).count();
        assert_eq!(asked, 10);
    }

    #[test]
    fn reader_of_another_shard_or_store_holds_no_writer_up() {
        stripe::ask();
        let (bias, other) = (Bias::new(2, 0), Bias::new(2, 0));
        bias.begin(0);
        bias.begin(1);
        other.begin(1);
        let _reader = bias.announce(0, || ()).unwrap();
        assert!(other.try_end(1) && bias.try_end(1));
        assert!(!bias.try_end(0));
    }

    #[test]
    fn thread_that_has_yet_to_ask_for_a_stripe_takes_the_lock() {
        let bias = Bias::new(2, 0);
        bias.begin(0);
        let first = || (bias.announce(0, || ()).is_some(), bias.announce(0, || ()).is_some());
        let (first, second) = thread::scope(|scope| scope.spawn(first).join().unwrap());
        assert!(!first && second, "it asks for one, and has it the next time");
    }
}
