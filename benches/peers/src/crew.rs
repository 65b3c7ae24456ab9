//! Owns the threads that do a workload, and the count of what they get done in a span of time.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

/// Operations between two looks at whether time is up: few beside what fits into a span, many
/// beside the cost of a look.
const BATCH: u64 = 64;

/// How many threads work, and for how long.
#[derive(Clone, Copy)]
pub struct Crew {
    pub threads: usize,
    pub warm_up: Duration,
    pub duration: Duration,
}

/// Tells the others when a thread ends, by a panic too.
struct Finally<'a>(&'a AtomicBool);

impl Drop for Finally<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Crew {
    /// Returns how many operations per second all threads did together. `begin` makes each thread's
    /// operation, from the thread's number.
    ///
    /// What counts is what was done between two moments, whichever thread the scheduler let do it.
    pub fn rate<W: FnMut() + Send>(&self, begin: impl Fn(usize) -> W) -> f64 {
        // Made before the threads, so that none waits at the barrier for one that has failed.
        let work: Vec<W> = (0..self.threads).map(begin).collect();
        let counts: Vec<_> = work.iter().map(|_| CachePadded::new(AtomicU64::new(0))).collect();
        let (stop, ready) = (AtomicBool::new(false), Barrier::new(self.threads + 1));
        // Relaxed, all: a count has one writer, and nothing else is read by it.
        let total = || -> u64 { counts.iter().map(|count| count.load(Ordering::Relaxed)).sum() };
        thread::scope(|scope| {
            for (mut work, count) in work.into_iter().zip(&counts) {
                let (stop, ready) = (&stop, &ready);
                scope.spawn(move || {
                    let _finally = Finally(stop);
                    ready.wait();
                    let mut done = 0;
                    while !stop.load(Ordering::Relaxed) {
                        for _ in 0..BATCH {
                            work();
                        }
                        done += BATCH;
                        count.store(done, Ordering::Relaxed);
                    }
                });
            }
            let _finally = Finally(&stop);
            ready.wait();
            thread::sleep(self.warm_up);
            let (before, begin) = (total(), Instant::now());
            loop {
                thread::sleep(self.duration);
                let (done, spent) = (total() - before, begin.elapsed());
                // More than one batch, or the rate would be that of the scheduler; and not for ever,
                // if the threads have failed.
                if done > BATCH || stop.load(Ordering::Relaxed) {
                    break done as f64 / spent.as_secs_f64();
                }
            }
        })
    }
}
