//! Owns the recording of histories from real threads, window by window, and what is counted.
//!
//! At the end of each window all threads meet, so that no operation spans two windows, and share the
//! checking of its families between them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use cloakroom::ManualClock;

use super::check::{Needs, Op, State, check, explain, overlapping};
use super::subject::Subject;
use super::worker::{Field, Worker};

/// Threads that record: more than the cores of a small machine, so that some are always stopped in
/// the middle of an operation.
pub(super) const THREADS: usize = 4;

/// Ids that callers choose; with each go those that its sessions are rotated to.
const FAMILIES: usize = 4;

/// Operations of each thread in a window. All threads together stay within what the checker can
/// have open at once, even if they all choose the same family.
const PER_WINDOW: usize = 128 / THREADS;

/// What was recorded, and judged to be linearizable.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) operations: u64,
    /// Operations that overlapped another on the same id.
    pub(crate) overlapping: u64,
    /// Operations by name and outcome.
    pub(crate) outcomes: BTreeMap<(&'static str, &'static str), u64>,
    /// Sessions left in the store after all that may live were ended.
    pub(crate) leaked: usize,
}

impl Report {
    pub(crate) fn overlap_percent(&self) -> f64 {
        100.0 * self.overlapping as f64 / self.operations.max(1) as f64
    }

    fn count(&mut self, ops: &[Op]) {
        self.operations += ops.len() as u64;
        self.overlapping += overlapping(ops) as u64;
        for op in ops {
            let outcome = match op.needs {
                Needs::Gone if op.what == "create" => "done",
                Needs::Live if op.what == "create" => "taken",
                Needs::Gone => "gone",
                Needs::HoldsNot(_) => "conflict",
                Needs::Live | Needs::Holds(_) => "done",
            };
            *self.outcomes.entry((op.what, outcome)).or_default() += 1;
        }
    }

    fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.overlapping += other.overlapping;
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
    }
}

/// One family's history: the window that is being collected, and the states before it.
struct Family {
    window: Vec<Op>,
    states: Vec<State>,
    report: Report,
}

struct Run<S> {
    subject: Arc<S>,
    field: Arc<Field>,
    families: Vec<Mutex<Family>>,
    meeting: Meeting,
    refused: Mutex<Option<String>>,
}

/// Records at least this many operations on a store and judges them; or tells why they are refused.
pub(crate) fn run<S: Subject>(
    subject: S,
    clock: ManualClock,
    idle: Option<u64>,
    operations: u64,
) -> Result<Report, String> {
    let family =
        || Family { window: Vec::new(), states: vec![Vec::new()], report: Report::default() };
    let run = Arc::new(Run {
        subject: Arc::new(subject),
        field: Arc::new(Field::new(FAMILIES, clock, idle)),
        families: (0..FAMILIES).map(|_| Mutex::new(family())).collect(),
        meeting: Meeting::default(),
        refused: Mutex::new(None),
    });
    let windows = operations.div_ceil((THREADS * PER_WINDOW) as u64);
    let spawn = |index| {
        let run = Arc::clone(&run);
        thread::spawn(move || run.work(index, windows))
    };
    let threads: Vec<_> = (0..THREADS).map(spawn).collect();
    let joined: Vec<_> = threads.into_iter().map(thread::JoinHandle::join).collect();
    joined.into_iter().for_each(|result| result.expect("a recording thread panicked"));
    let refused = run.refused.lock().unwrap().take();
    refused.map_or_else(|| Ok(run.finish()), Err)
}

impl<S: Subject> Run<S> {
    fn work(&self, index: usize, windows: u64) {
        let _alarm = Alarm(&self.meeting);
        let mut worker = Worker::new(Arc::clone(&self.subject), Arc::clone(&self.field), index);
        for _ in 0..windows {
            (0..PER_WINDOW).for_each(|_| worker.act());
            for (log, family) in worker.log.iter_mut().zip(&self.families) {
                family.lock().unwrap().window.append(log);
            }
            self.meeting.wait();
            (index..FAMILIES).step_by(THREADS).for_each(|family| self.judge(family, &worker));
            self.meeting.wait();
            if self.refused.lock().unwrap().is_some() {
                break;
            }
        }
    }

    fn judge(&self, index: usize, worker: &Worker<S>) {
        let mut family = self.families[index].lock().unwrap();
        let mut window = std::mem::take(&mut family.window);
        window.sort_unstable_by_key(|op| op.call);
        family.report.count(&window);
        // Everything of the audit was called after all else had returned.
        window.extend(worker.audit(index, &window, &family.states));
        match check(self.field.idle, &family.states, &window) {
            Ok(states) => family.states = states,
            Err(placed) => {
                let reason = explain(&family.states, &window, placed);
                self.refused.lock().unwrap().get_or_insert(reason);
            }
        }
    }

    fn finish(&self) -> Report {
        let mut report = Report::default();
        let store = self.subject.store();
        for family in &self.families {
            let mut family = family.lock().unwrap();
            for (id, _) in family.states.iter().flatten() {
                store.destroy(id);
            }
            report.add(std::mem::take(&mut family.report));
        }
        store.purge_expired();
        report.leaked = store.len();
        report
    }
}

/// Where all threads wait for each other. They spin, giving the processor away, so that they set off
/// together; a barrier that sleeps would wake them one after the other.
#[derive(Default)]
pub(super) struct Meeting {
    arrived: AtomicUsize,
    round: AtomicUsize,
    abandoned: AtomicBool,
}

impl Meeting {
    pub(super) fn wait(&self) {
        // SeqCst throughout: simple, and never in the middle of a window.
        let round = self.round.load(Ordering::SeqCst);
        if self.arrived.fetch_add(1, Ordering::SeqCst) == THREADS - 1 {
            self.arrived.swap(0, Ordering::SeqCst);
            self.round.fetch_add(1, Ordering::SeqCst);
        }
        while self.round.load(Ordering::SeqCst) == round {
            assert!(!self.abandoned.load(Ordering::SeqCst), "another thread panicked");
            thread::yield_now();
        }
    }
}

/// Frees the other threads from waiting for one that panicked.
pub(super) struct Alarm<'a>(pub(super) &'a Meeting);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.abandoned.swap(true, Ordering::SeqCst);
        }
    }
}
