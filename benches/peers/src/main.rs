//! Measures cloakroom and its peers, interleaved, in one run. README.md says how to read it and what
//! is unfair to whom.

mod allocator;
mod check;
mod crew;
mod filled;
mod peer;
mod progress;
mod random;
mod report;
mod schedule;
mod stores;
mod workloads;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};
use serde_json::json;

use crew::Crew;
use schedule::Plan;
use stores::{ALL, Contender};
use workloads::Workload;
use workloads::growth::GrowthPlan;
use workloads::hot_shard::HotShardPlan;
use workloads::storm::StormPlan;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// Compares cloakroom with its peers: medians of interleaved rounds, and ratios to raw DashMap.
///
/// Without flags it runs every workload on every store, for about an hour. Leave the machine alone
/// meanwhile.
#[derive(Parser)]
#[command(name = "cloakroom-peers", max_term_width = 100)]
struct Flags {
    /// Stores to measure [default: all]
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(ALL.map(|store| store.name)))]
    stores: Vec<String>,
    /// Workloads to run [default: all]
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Sessions in a store, for the rates: 2 to 10M, for which some stores need 12 GB
    #[arg(long, value_delimiter = ',', default_value = "1k,100k,1M", value_parser = sessions)]
    sizes: Vec<usize>,
    /// Threads, for the rates: 1 to 256
    #[arg(long, value_delimiter = ',', default_value = "1,2,8,32", value_parser = threads)]
    threads: Vec<usize>,
    /// Rounds, of which the median is shown
    #[arg(long, default_value = "5", value_parser = above_zero)]
    rounds: usize,
    /// Milliseconds that each rate is measured for
    #[arg(long, default_value = "200", value_parser = above_zero)]
    duration_ms: usize,
    /// Sessions of the memory workload
    #[arg(long, default_value = "1M", value_parser = sessions)]
    memory_sessions: usize,
    /// Sessions that the growth workload fills up to
    #[arg(long, default_value = "1M", value_parser = sessions)]
    growth_sessions: usize,
    /// Sessions that expire in the storm
    #[arg(long, default_value = "1M", value_parser = sessions)]
    storm_sessions: usize,
    /// Seconds from the first session of the storm to its expiry; filling must take less than 3/8 of it
    #[arg(long, default_value = "10", value_parser = above_zero)]
    storm_lifetime: usize,
    /// Threads that load in the storm [default: one less than the cores, at least 1]
    #[arg(long, value_parser = threads)]
    storm_readers: Option<usize>,
    /// Threads that load in the hot shard
    #[arg(long, default_value = "8", value_parser = threads)]
    hot_readers: usize,
    /// Milliseconds that the hot shard is measured for
    #[arg(long, default_value = "3000", value_parser = above_zero)]
    hot_ms: usize,
    /// Run everything for moments only: shows that it works, and measures nothing. Other flags about
    /// sizes and times have no effect
    #[arg(long)]
    quick: bool,
    /// Write the tables to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write every round's figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloakroom-peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut flags: Flags) -> Result<(), String> {
    if flags.quick {
        flags.shorten();
    }
    // Opened first: after an hour is too late to learn that a file cannot be written.
    let mut markdown = flags.markdown.as_deref().map(create).transpose()?;
    let mut json = flags.json.as_deref().map(create).transpose()?;
    let heading = heading(&flags);
    println!("{heading}");
    write_to(&mut markdown, &format!("{heading}\n\n"))?;
    let (mut raw, mut written) = (Vec::new(), Ok(()));
    flags.plan().run(|table| {
        println!("{}", table.to_text());
        raw.push(table.to_json());
        let result = write_to(&mut markdown, &table.to_markdown());
        written = std::mem::replace(&mut written, Ok(())).and(result);
    })?;
    written?;
    let raw = json!({ "heading": heading, "tables": raw });
    write_to(&mut json, &format!("{raw:#}\n"))
}

impl Flags {
    fn shorten(&mut self) {
        self.sizes = vec![1_000, 10_000];
        self.threads = vec![1, 2];
        self.rounds = 1;
        self.duration_ms = 5;
        self.memory_sessions = 10_000;
        self.growth_sessions = 10_000;
        self.storm_sessions = 10_000;
        self.storm_lifetime = 1;
        self.hot_ms = 50;
    }

    fn plan(&self) -> Plan {
        let chosen = |store: &Contender| {
            self.stores.is_empty() || self.stores.iter().any(|name| name == store.name)
        };
        let workloads = match &self.workloads[..] {
            [] => Workload::value_variants().to_vec(),
            chosen => chosen.to_vec(),
        };
        let duration = Duration::from_millis(self.duration_ms as u64);
        Plan {
            stores: ALL.into_iter().filter(chosen).collect(),
            workloads,
            sizes: self.sizes.clone(),
            threads: self.threads.clone(),
            rounds: self.rounds,
            crew: Crew { threads: 1, warm_up: duration / 4, duration },
            memory_sessions: self.memory_sessions,
            growth: GrowthPlan { sessions: self.growth_sessions },
            storm: StormPlan {
                sessions: self.storm_sessions,
                lifetime: Duration::from_secs(self.storm_lifetime as u64),
                readers: self.storm_readers.unwrap_or_else(|| (cores() - 1).max(1)),
            },
            hot_shard: HotShardPlan {
                readers: self.hot_readers,
                duration: Duration::from_millis(self.hot_ms as u64),
            },
        }
    }
}

/// Returns the machine and the flags, for whoever reads the figures later.
fn heading(flags: &Flags) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model =
        model.map_or("unknown processor", |model| model.trim_start_matches(['\t', ':', ' ']));
    let (cores, rounds, given) = (cores(), flags.rounds, given());
    format!(
        "{cores} cores, {model}; flags: {}; medians of {rounds} rounds; in parentheses the ratio of rates to raw DashMap",
        if given.is_empty() { "none" } else { &given }
    )
}

/// Returns the flags that this was started with, without the files, which are of no interest later.
fn given() -> String {
    let mut given = Vec::new();
    let mut flags = std::env::args().skip(1);
    while let Some(flag) = flags.next() {
        match flag.split_once('=').map_or(flag.as_str(), |(name, _)| name) {
            "--markdown" | "--json" if flag.contains('=') => {}
            "--markdown" | "--json" => drop(flags.next()),
            _ => given.push(flag),
        }
    }
    given.join(" ")
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn write_to(file: &mut Option<File>, text: &str) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    file.write_all(text.as_bytes()).map_err(|error| format!("cannot write the results: {error}"))
}

/// Reads a number of sessions: `1000`, `100k`, `10M`.
fn sessions(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'M']) {
        Some(digits) if text.ends_with('k') => (digits, 1_000),
        Some(digits) => (digits, 1_000_000),
        None => (text, 1),
    };
    let number = digits.parse::<usize>().ok();
    let number = number.and_then(|number| number.checked_mul(unit));
    number.filter(|number| (2..=10_000_000).contains(number)).ok_or_else(|| {
        "must be a number from 2 to 10M, with k or M for thousands or millions".into()
    })
}

fn threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok();
    number
        .filter(|number| (1..=256).contains(number))
        .ok_or_else(|| "must be a number from 1 to 256".into())
}

fn above_zero(text: &str) -> Result<usize, String> {
    let number = text.parse().ok();
    number
        .filter(|number| (1..=1_000_000).contains(number))
        .ok_or_else(|| "must be a number from 1 to 1000000".into())
}
