//! Owns latencies: what is timed, how it is kept, and the table.

use std::time::Instant;

use hdrhistogram::Histogram;

use crate::text::{count, nanos};

/// A minute: nothing here takes longer, and what does counts as this.
const LONGEST: u64 = 60_000_000_000;

/// The percentiles of the table; the maximum comes after them.
pub(crate) const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

const OPERATIONS: usize = Operation::Ended as usize + 1;

/// What is timed by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Load,
    /// The change of one byte, which copies the payload, and the save.
    Save,
    Update,
    Touch,
    Rotate,
    /// A create, with the allocation of the payload.
    Create,
    Destroy,
    /// Any of them that finds the session ended.
    Ended,
}

impl Operation {
    /// What a visit can be for.
    pub(crate) const CHOICES: [Self; OPERATIONS - 1] = [
        Self::Load,
        Self::Save,
        Self::Update,
        Self::Touch,
        Self::Rotate,
        Self::Create,
        Self::Destroy,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Save => "save",
            Self::Update => "update",
            Self::Touch => "touch",
            Self::Rotate => "rotate",
            Self::Create => "create",
            Self::Destroy => "destroy",
            Self::Ended => "miss",
        }
    }
}

/// What was done: the latencies of each timed operation, in nanoseconds to three significant digits,
/// and how many more there were that were not timed.
pub(crate) struct Tally {
    timed: [Histogram<u64>; OPERATIONS],
    untimed: [u64; OPERATIONS],
}

impl Tally {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are valid");
        Self { timed: std::array::from_fn(|_| histogram()), untimed: [0; OPERATIONS] }
    }

    pub(crate) fn time(&mut self, operation: Operation, nanos: u64) {
        self.timed[operation as usize].saturating_record(nanos);
    }

    pub(crate) fn count_only(&mut self, operation: Operation) {
        self.untimed[operation as usize] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.timed.iter_mut().zip(&other.timed) {
            mine.add(theirs).expect("the bounds are the same");
        }
        for (mine, theirs) in self.untimed.iter_mut().zip(&other.untimed) {
            *mine += theirs;
        }
    }

    /// Returns how many operations were timed.
    pub(crate) fn timed(&self) -> u64 {
        self.timed.iter().map(Histogram::len).sum()
    }

    /// Returns how many operations of one kind there were, timed or not.
    pub(crate) fn all(&self, operation: Operation) -> u64 {
        self.timed[operation as usize].len() + self.untimed[operation as usize]
    }

    /// Returns how many operations of all kinds there were, timed or not.
    pub(crate) fn total(&self) -> u64 {
        self.timed() + self.untimed.iter().sum::<u64>()
    }

    /// Returns each operation that was timed, with its latencies.
    pub(crate) fn latencies(&self) -> impl Iterator<Item = (Operation, &Histogram<u64>)> {
        let all = Operation::CHOICES.into_iter().chain([Operation::Ended]).zip(&self.timed);
        all.filter(|(_, histogram)| !histogram.is_empty())
    }

    /// Returns the latencies of all timed operations together.
    pub(crate) fn all_latencies(&self) -> Histogram<u64> {
        let [first, others @ ..] = &self.timed;
        let mut all = first.clone();
        others.iter().for_each(|other| all.add(other).expect("the bounds are the same"));
        all
    }

    /// Returns the table: its heads, then for each operation a name, a count, the percentiles and the
    /// maximum.
    pub(crate) fn table(&self) -> Vec<Vec<String>> {
        let percentiles = PERCENTILES.map(|p| format!("p{p}"));
        let mut heads = vec!["operation".to_owned(), "count".to_owned()];
        heads.extend(percentiles.into_iter().chain(["max".to_owned()]));
        let row = |(operation, histogram): (Operation, &Histogram<u64>)| {
            let at = |p| nanos(histogram.value_at_quantile(p / 100.0) as f64);
            let mut row = vec![operation.name().to_owned(), count(histogram.len())];
            row.extend(PERCENTILES.into_iter().chain([100.0]).map(at));
            row
        };
        [heads].into_iter().chain(self.latencies().map(row)).collect()
    }
}

/// Reads the clock once between two operations: the end of one is the start of the next.
pub(crate) struct Timer(Instant);

impl Timer {
    pub(crate) fn start() -> Self {
        Self(now())
    }

    /// Returns the nanoseconds since the start or the last lap.
    pub(crate) fn lap(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.0, now());
        u64::try_from((self.0 - before).as_nanos()).unwrap_or(LONGEST)
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement needs the precise clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns what one reading of the clock takes, in nanoseconds: a part of every latency. The best of a
/// few rounds, in which nothing else had the core.
pub(crate) fn clock_reading() -> f64 {
    const READINGS: u32 = 1_000;
    let round = |_| {
        let start = now();
        for _ in 1..READINGS {
            std::hint::black_box(now());
        }
        start.elapsed().as_nanos() as f64 / f64::from(READINGS)
    };
    (0..20).map(round).fold(f64::MAX, f64::min)
}
