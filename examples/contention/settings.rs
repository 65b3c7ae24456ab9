//! Owns the flags: what a load test can be told, and what is wrong with what it was told.

use std::fmt::{self, Display};
use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::Parser;
use cloakroom::{IdSource, SessionStore};

use crate::flags::{self, between};
use crate::latency::Operation;

/// What every session holds: `--payload` bytes on the heap.
pub(crate) type Payload = Box<[u8]>;

pub(crate) type Store = SessionStore<Payload>;

/// More would measure the operating system's scheduler.
const MAX_THREADS: usize = 1024;

/// The shortest measurement that a step is worth.
const SHORTEST_STEP: Duration = Duration::from_millis(100);

/// More than a step takes to be past its beginning.
const LONGEST_WARM_UP: Duration = Duration::from_secs(1);

/// Bytes of a session beside its payload at the least: an entry of the table, a record, a cookie.
const LEAST_OVERHEAD: u128 = 100;

/// Puts a session store under load and reports throughput, latency and sweeping
///
/// Visitors come again and again and load their session; some save it; some have lost their cookie
/// and get a new one, which leaves the old session to expire. So does whoever finds the session ended.
/// The test runs in steps, on 1, 2, 4 .. threads, each of which serves one visit after the other.
#[derive(Clone, Parser)]
pub(crate) struct Settings {
    /// Threads of the last step, up to 1024 [default: two for each core, at least 4]
    #[arg(long, value_name = "COUNT", value_parser = between(1, MAX_THREADS))]
    threads: Option<usize>,
    /// Runs only the last step
    #[arg(long)]
    one_step: bool,
    /// Visitors, each with one session to begin with
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = between(1_usize, 1_000_000_000))]
    pub(crate) sessions: usize,
    /// Bytes of data in each session, up to 1048576
    #[arg(long, value_name = "BYTES", default_value_t = 56, value_parser = between(0_usize, 1 << 20))]
    pub(crate) payload: usize,
    /// What visits are for, with their shares: load, save, update, touch, rotate, create, destroy
    #[arg(long, value_name = "SHARES", default_value = "load=90,save=8,create=2")]
    pub(crate) mix: Mix,
    /// How much more some visitors come than others: Zipf's exponent up to 5, 0 for all the same
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.99, value_parser = between(0.0, 5.0))]
    pub(crate) skew: f64,
    /// How long a session lives at the most; short, so that the sweep has work
    #[arg(long, value_name = "TIME", value_parser = flags::time, default_value = "4s")]
    ttl: Duration,
    /// How long an unused session lives [default: 2s, or --ttl if shorter]
    #[arg(long, value_name = "TIME", value_parser = flags::time)]
    idle_timeout: Option<Duration>,
    /// How many sessions there may be [default: no bound]
    #[arg(long, value_name = "COUNT", value_parser = between(1, usize::MAX))]
    pub(crate) max_sessions: Option<usize>,
    /// Shards of the store, a power of two [default: the store's own]
    #[arg(long, value_name = "COUNT", value_parser = shards)]
    shards: Option<usize>,
    /// Where ids come from: one call to the operating system for each, or for 64
    #[arg(long, value_name = "os|buffered", default_value = "os")]
    ids: Ids,
    /// How long to measure, all steps together
    #[arg(long, value_name = "TIME", value_parser = flags::time, default_value = "9s")]
    pub(crate) duration: Duration,
    /// How long each step runs before it is measured [default: a quarter of a step, at most 1s]
    #[arg(long, value_name = "TIME", value_parser = flags::time)]
    warm_up: Option<Duration>,
    /// Where the report goes, one HTML file
    #[arg(long, value_name = "PATH", default_value = "target/contention.html")]
    pub(crate) report: PathBuf,
}

#[derive(Clone, Copy)]
enum Ids {
    Os,
    Buffered,
}

impl FromStr for Ids {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "os" => Ok(Self::Os),
            "buffered" => Ok(Self::Buffered),
            _ => Err("must be os or buffered"),
        }
    }
}

impl Settings {
    /// Returns the flags, or what is wrong with them in one sentence.
    pub(crate) fn read() -> Result<Self, String> {
        let settings: Self = flags::parse()?;
        let (given, steps) = (settings.duration, settings.steps().len());
        if settings.step_duration() < SHORTEST_STEP {
            return Err(format!(
                "--duration is {given:?}, but must be at least {SHORTEST_STEP:?} for each of the \
                 {steps} steps"
            ));
        }
        settings.fits_memory()?;
        Ok(settings)
    }

    /// Says so before the operating system ends the process, if it tells how much memory is free.
    fn fits_memory(&self) -> Result<(), String> {
        let bytes = self.sessions as u128 * 16
            + self.max_sessions.map_or(self.sessions, |max| max.min(self.sessions)) as u128
                * (self.payload as u128 + LEAST_OVERHEAD);
        let free = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u128>().ok()
        });
        match free.map(|kib| kib * 1024) {
            Some(free) if bytes > free => Err(format!(
                "--sessions is {}, but with --payload {} must fit into the {} MiB of free memory",
                self.sessions,
                self.payload,
                free >> 20
            )),
            _ => Ok(()),
        }
    }

    fn threads(&self) -> usize {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.unwrap_or((2 * cores).clamp(4, MAX_THREADS))
    }

    /// Returns the threads of each step.
    pub(crate) fn steps(&self) -> Vec<usize> {
        let most = self.threads();
        if self.one_step {
            return vec![most];
        }
        let powers = (0..).map(|step| 1 << step).take_while(|&n| n < most);
        powers.chain([most]).collect()
    }

    /// Returns for how long each step is measured.
    pub(crate) fn step_duration(&self) -> Duration {
        self.duration / u32::try_from(self.steps().len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn warm_up(&self) -> Duration {
        self.warm_up.unwrap_or((self.step_duration() / 4).min(LONGEST_WARM_UP))
    }

    fn idle_timeout(&self) -> Duration {
        self.idle_timeout.unwrap_or(self.ttl.min(Duration::from_secs(2)))
    }

    /// Makes the store, or says in one sentence what is wrong with its settings.
    pub(crate) fn store(&self) -> Result<Store, String> {
        let mut builder = SessionStore::builder().ttl(self.ttl).idle_timeout(self.idle_timeout());
        if let Some(shards) = self.shards {
            builder = builder.shards(shards);
        }
        if let Some(max_sessions) = self.max_sessions {
            builder = builder.max_sessions(max_sessions);
        }
        if let Ids::Buffered = self.ids {
            builder = builder.id_source(IdSource::Buffered);
        }
        builder.build().map_err(|error| flags::refused(&error, &[]))
    }
}

impl Display for Settings {
    /// What a reader must know to repeat the run, as flags.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| format!("{}ms", time.as_millis());
        let flag = |flag: &str, given: Option<usize>| {
            given.map_or(String::new(), |given| format!(" --{flag} {given}"))
        };
        let one_step = if self.one_step { " --one-step" } else { "" };
        let ids = if let Ids::Buffered = self.ids { "buffered" } else { "os" };
        write!(f, "--threads {}{one_step} --sessions {}", self.threads(), self.sessions)?;
        write!(f, " --payload {} --mix {} --skew {}", self.payload, self.mix, self.skew)?;
        write!(f, " --ttl {}", millis(self.ttl))?;
        write!(f, " --idle-timeout {}", millis(self.idle_timeout()))?;
        f.write_str(&flag("max-sessions", self.max_sessions))?;
        f.write_str(&flag("shards", self.shards))?;
        write!(f, " --ids {ids} --duration {}", millis(self.duration))?;
        write!(f, " --warm-up {}", millis(self.warm_up()))
    }
}

/// Reads a number of shards; for `value_parser`.
fn shards(text: &str) -> Result<usize, &'static str> {
    let number = text.parse().ok().filter(|number: &usize| number.is_power_of_two());
    number
        .filter(|number| (2..=65536).contains(number))
        .ok_or("must be a power of two from 2 to 65536")
}

/// What visits are for, and the share of each.
#[derive(Clone)]
pub(crate) struct Mix(pub(crate) Vec<(Operation, u32)>);

impl FromStr for Mix {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let share = |part: &str| {
            let (name, share) = part.split_once('=')?;
            let kind = Operation::CHOICES.into_iter().find(|kind| kind.name() == name)?;
            // Below a million, so that no sum overflows.
            let share = share.parse().ok().filter(|share| *share <= 1_000_000)?;
            Some((kind, share))
        };
        let shares: Option<Vec<_>> = text.split(',').map(share).collect();
        let some = shares.filter(|shares| shares.iter().any(|(_, share)| *share > 0));
        some.filter(|shares| shares.len() <= Operation::CHOICES.len()).map(Self).ok_or(
            "must be load, save, update, touch, rotate, create or destroy with shares up to \
             1000000, not all 0, such as load=90,save=8,create=2",
        )
    }
}

impl Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = self.0.iter().map(|(kind, share)| format!("{}={share}", kind.name()));
        f.write_str(&shares.collect::<Vec<_>>().join(","))
    }
}
