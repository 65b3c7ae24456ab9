//! Owns the course of a run: one step after another, what is seen meanwhile, and its early end.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use cloakroom::StoreStats;

use crate::latency::{Operation, Tally, now};
use crate::settings::Settings;
use crate::text::{count, short, threads as in_threads};
use crate::visits::Load;

/// Looks in a short run: as many points as a plot can show.
const SAMPLES: u32 = 200;

/// Between two looks in a long run: no storm of expiries is missed.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Looks more often than this would be load of their own.
const OFTEN: Duration = Duration::from_millis(20);

/// A progress line that is read while it changes.
const SELDOM: Duration = Duration::from_millis(500);

/// A step that is over.
pub(crate) struct Step {
    pub(crate) threads: usize,
    /// Seconds into the run at which it began, with its warm-up.
    pub(crate) began: f64,
    /// Seconds that were measured, until the last thread was done.
    pub(crate) seconds: f64,
    pub(crate) tally: Tally,
}

impl Step {
    /// Returns timed operations a second.
    pub(crate) fn throughput(&self) -> f64 {
        self.tally.timed() as f64 / self.seconds
    }
}

/// What was seen at one moment, and since the moment before.
pub(crate) struct Sample {
    /// Seconds into the run.
    pub(crate) at: f64,
    pub(crate) throughput: f64,
    pub(crate) swept: f64,
    pub(crate) evicted: f64,
    pub(crate) resident: f64,
    pub(crate) unswept: f64,
}

/// Hears of Ctrl-C.
pub(crate) struct Interrupt(Receiver<()>);

impl Interrupt {
    /// From now on Ctrl-C is no sudden end.
    pub(crate) fn listen() -> Result<Self, String> {
        let (sender, receiver) = channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot listen for Ctrl-C ({error})"))?;
        thread::spawn(move || {
            // If it fails, Ctrl-C ends the process as ever.
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                _ = sender.send(());
            }
            // The thread stays, and with it the sender: who waits must not be woken by its end.
            loop {
                thread::park();
            }
        });
        Ok(Self(receiver))
    }

    /// Returns `true` if Ctrl-C was pressed; waits for it for a while.
    pub(crate) fn within(&self, wait: Duration) -> bool {
        self.0.recv_timeout(wait) != Err(RecvTimeoutError::Timeout)
    }
}

/// A line on standard error that is written over again and again; where nobody watches, one a second.
pub(crate) struct Progress {
    live: bool,
    shown: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { live: stderr().is_terminal(), shown: now() }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.shown.elapsed() >= if self.live { SELDOM } else { 2 * SELDOM }
    }

    pub(crate) fn show(&mut self, line: &str) {
        self.shown = now();
        self.write(line, if self.live { "" } else { "\n" });
    }

    /// Leaves a line that stays.
    fn keep(&self, line: &str) {
        self.write(line, "\n");
    }

    fn write(&self, line: &str, end: &str) {
        // What clears a longer line before it.
        let (start, clear) = if self.live { ("\r", "\x1b[K") } else { ("", "") };
        // A closed standard error is nobody who watches.
        _ = write!(stderr(), "{start}{line}{clear}{end}");
    }
}

/// A run as it goes.
pub(crate) struct Watch<'a> {
    load: &'a Load,
    interrupt: &'a Interrupt,
    progress: Progress,
    warm_up: Duration,
    share: Duration,
    start: Instant,
    /// Between two samples.
    pause: Duration,
    before: Look,
    /// When the progress line was changed, and after how many operations.
    shown: (f64, u64),
    /// What the store had counted when it was filled.
    filled: StoreStats,
    /// What all steps have counted.
    total: Tally,
    pub(crate) own_part: f64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) steps: Vec<Step>,
    pub(crate) interrupted: bool,
}

/// What the rates of the next sample are counted from.
struct Look {
    at: f64,
    done: u64,
    stats: StoreStats,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        settings: &Settings,
        load: &'a Load,
        interrupt: &'a Interrupt,
        progress: Progress,
    ) -> Self {
        let (own_part, filled) = (load.own_part(), load.store.stats());
        Self {
            load,
            interrupt,
            progress,
            warm_up: settings.warm_up(),
            share: settings.step_duration(),
            start: now(),
            pause: (settings.duration / SAMPLES).clamp(OFTEN, LONGEST_PAUSE),
            before: Look { at: 0.0, done: 0, stats: filled.clone() },
            shown: (0.0, 0),
            filled,
            total: Tally::new(),
            own_part,
            samples: Vec::new(),
            steps: Vec::new(),
            interrupted: false,
        }
    }

    /// Runs one step on so many threads, until its time is over or Ctrl-C.
    pub(crate) fn step(&mut self, threads: usize) -> Result<(), String> {
        let load = self.load;
        self.before = self.look();
        let began = self.before.at;
        load.warm_up();
        let (tally, seconds) = thread::scope(|scope| {
            let seed = |thread| (threads as u64) << 32 | thread;
            let spawn = |thread| {
                let worker = thread::Builder::new();
                worker.spawn_scoped(scope, move || load.run(seed(thread)))
            };
            let workers: Result<Vec<_>, _> = (0..threads as u64).map(spawn).collect();
            // Those that were started must end, or the scope would wait for them for ever.
            let workers = workers.inspect_err(|_| load.end());
            let workers = workers.map_err(|e| format!("cannot start {threads} threads ({e})"))?;
            self.wait(threads, self.warm_up);
            let start = now();
            load.measure();
            self.wait(threads, self.share);
            load.end();
            let mut tally = Tally::new();
            for worker in workers {
                tally.add(&worker.join().expect("a worker does not panic"));
            }
            Ok::<_, String>((tally, start.elapsed().as_secs_f64()))
        })?;
        // Too short a while would show a rate of its own.
        if self.samples.is_empty()
            || self.seconds() - self.before.at >= self.pause.as_secs_f64() / 2.0
        {
            self.sample();
        }
        self.total.add(&tally);
        let step = Step { threads, began, seconds, tally };
        if step.tally.timed() > 0 {
            self.progress.keep(&self.line(threads, step.throughput()));
            self.steps.push(step);
        }
        Ok(())
    }

    /// Waits so long or until Ctrl-C, and looks meanwhile.
    fn wait(&mut self, threads: usize, duration: Duration) {
        let start = now();
        while start.elapsed() < duration && !self.interrupted {
            let left = duration.saturating_sub(start.elapsed());
            self.interrupted = self.interrupt.within(left.min(self.pause).min(SELDOM));
            if self.seconds() - self.before.at >= self.pause.as_secs_f64() {
                self.sample();
            }
            if self.progress.is_due() {
                let (at, done) = (self.seconds(), self.load.done());
                let throughput = (done - self.shown.1) as f64 / (at - self.shown.0);
                self.shown = (at, done);
                let line = self.line(threads, throughput);
                self.progress.show(&line);
            }
        }
    }

    fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn look(&self) -> Look {
        Look { at: self.seconds(), done: self.load.done(), stats: self.load.store.stats() }
    }

    fn sample(&mut self) {
        let Look { at, done, stats } = self.look();
        let then = &self.before;
        let rate = |now: u64, before: u64| (now - before) as f64 / (at - then.at);
        self.samples.push(Sample {
            at,
            throughput: rate(done, then.done),
            swept: rate(stats.swept, then.stats.swept),
            evicted: rate(stats.evicted, then.stats.evicted),
            resident: stats.stored as f64,
            unswept: stats.expired_unswept as f64,
        });
        self.before = Look { at, done, stats };
    }

    fn line(&self, threads: usize, throughput: f64) -> String {
        let (rate, threads) = (short(throughput), in_threads(threads));
        let (resident, swept) = (self.load.store.len() as u64, self.load.store.stats().swept);
        let (resident, swept) = (count(resident), count(swept));
        let (at, steps) = (self.seconds(), self.steps.len() + 1);
        format!(
            "{at:>6.1} s  step {steps}, {threads:<12} {rate:>7} operations/s  \
             {resident:>11} sessions resident  {swept:>11} swept"
        )
    }

    /// Returns what does not add up, if the test and the store have not counted the same.
    pub(crate) fn balance(&self) -> Result<(), String> {
        let (now, then) = (self.load.store.stats(), &self.filled);
        let all = |operation| self.total.all(operation);
        let pairs = [
            ("operations", self.total.total(), self.load.done()),
            ("loads", all(Operation::Load), now.loaded - then.loaded),
            ("saves", all(Operation::Save) + all(Operation::Update), now.saved - then.saved),
            ("rotations", all(Operation::Rotate), now.rotated - then.rotated),
            ("destroyed sessions", all(Operation::Destroy), now.destroyed - then.destroyed),
            (
                "creates",
                all(Operation::Create),
                now.created + now.creates_refused - then.created - then.creates_refused,
            ),
        ];
        match pairs.into_iter().find(|(_, ours, theirs)| ours != theirs) {
            None => Ok(()),
            Some((what, ours, theirs)) => {
                Err(format!("{what} do not add up: {ours} in the table, {theirs} in the store"))
            }
        }
    }
}
