//! Owns the order of the measurements: round by round, and in each round store by store, so that
//! whatever the machine does meanwhile happens to all.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::crew::Crew;
use crate::progress::Progress;
use crate::report::{Column, Table, Unit};
use crate::stores::{Contender, Subject};
use crate::workloads::growth::{self, GrowthPlan};
use crate::workloads::hot_shard::{self, HotShardPlan};
use crate::workloads::storm::{self, StormPlan};
use crate::workloads::{Figures, Rated, Workload, memory};

/// Sessions up to which all stores are filled at once and take turns at each workload. Larger ones
/// are filled one by one, and each does all workloads of a round: all at once would take tens of
/// gigabytes at 1 M sessions.
const TOGETHER: usize = 100_000;

/// Turns that stores which are filled at once take at each workload of a round: where a machine is slow for some
/// seconds, it is for all.
const TURNS: u32 = 2;

fn turns(size: usize) -> u32 {
    if size <= TOGETHER { TURNS } else { 1 }
}

/// Everything that the flags have settled.
pub struct Plan {
    pub stores: Vec<Contender>,
    pub workloads: Vec<Workload>,
    pub sizes: Vec<usize>,
    pub threads: Vec<usize>,
    pub rounds: usize,
    pub crew: Crew,
    pub memory_sessions: usize,
    pub growth: GrowthPlan,
    pub storm: StormPlan,
    pub hot_shard: HotShardPlan,
}

impl Plan {
    /// Measures everything, and hands each table over as soon as it is complete.
    pub fn run(&self, mut finished: impl FnMut(Table)) -> Result<(), String> {
        let rated: Vec<Rated> = self.workloads.iter().filter_map(|w| w.rated()).collect();
        let mut progress = Progress::new(self.steps(rated.len()));
        for store in &self.stores {
            guarded(&format!("{}: check", store.name), || (store.check)())??;
        }
        for size in &self.sizes {
            if !rated.is_empty() {
                let tables = self.rates(*size, &rated, &mut progress)?;
                tables.into_iter().for_each(&mut finished);
            }
        }
        for workload in &self.workloads {
            if let Some(table) = self.whole_store(*workload, &mut progress)? {
                finished(table);
            }
        }
        Ok(())
    }

    fn steps(&self, rated: usize) -> usize {
        let turns: u32 = self.sizes.iter().map(|size| turns(*size)).sum();
        let rates = turns as usize * self.threads.len() * rated;
        let others = self.workloads.len() - rated;
        self.rounds * self.stores.len() * (rates + others)
    }

    fn names(&self) -> Vec<&'static str> {
        self.stores.iter().map(|store| store.name).collect()
    }

    /// Returns the stores in the order of a round: each begins with another one, and every other
    /// one goes backwards, so that none is always the first or always follows the same.
    fn turn(&self, round: usize) -> Vec<Contender> {
        let mut stores = self.stores.clone();
        let first = round % stores.len();
        stores.rotate_left(first);
        if round % 2 == 1 {
            stores.reverse();
        }
        stores
    }

    /// Measures the rates of all stores with `size` sessions: a table for each number of threads.
    fn rates(
        &self,
        size: usize,
        rated: &[Rated],
        progress: &mut Progress,
    ) -> Result<Vec<Table>, String> {
        let empty = |threads: &usize| {
            let (unit, s) = match threads {
                1 => (Unit::Latency, ""),
                _ => (Unit::Rate, "s"),
            };
            let columns = rated.iter().map(|w| Column::new(w.name(), unit)).collect();
            let title = format!("{} sessions, {threads} thread{s}", short(size));
            Table::new(title, columns, &self.names())
        };
        let mut tables: Vec<_> = self.threads.iter().map(empty).collect();
        let at_once = if size <= TOGETHER { self.stores.len() } else { 1 };
        for round in 0..self.rounds {
            for group in self.turn(round).chunks(at_once) {
                let fill = |store: &Contender| {
                    let doing = format!("{}: filling with {}", store.name, short(size));
                    progress.say(&doing);
                    let subject = guarded(&doing, || (store.fill)(size))?;
                    Ok((store.name, subject))
                };
                let subjects = group.iter().map(fill).collect::<Result<Vec<_>, String>>()?;
                self.one_round(size, rated, &subjects, &mut tables, progress)?;
            }
        }
        Ok(tables)
    }

    fn one_round(
        &self,
        size: usize,
        rated: &[Rated],
        subjects: &[(&'static str, Box<dyn Subject>)],
        tables: &mut [Table],
        progress: &mut Progress,
    ) -> Result<(), String> {
        let turns = turns(size);
        let duration = self.crew.duration;
        for (threads, table) in self.threads.iter().zip(tables) {
            // Each turn warms up anew: the others have had the cache meanwhile.
            let crew = Crew { threads: *threads, duration: duration / turns, ..self.crew };
            for (column, workload) in rated.iter().enumerate() {
                let mut sums = vec![None; subjects.len()];
                for turn in 0..turns {
                    let mut order: Vec<usize> = (0..subjects.len()).collect();
                    if turn % 2 == 1 {
                        order.reverse();
                    }
                    for at in order {
                        let (name, subject) = &subjects[at];
                        let (what, size) = (workload.name(), short(size));
                        let doing = format!("{name}: {what}, sessions: {size}, threads: {threads}");
                        progress.step(&doing);
                        let rate = guarded(&doing, || subject.rate(*workload, &crew))?;
                        sums[at] = rate.map(|rate| rate + sums[at].unwrap_or(0.0));
                    }
                }
                for ((name, _), sum) in subjects.iter().zip(sums) {
                    table.add(name, column, sum.map(|sum| sum / f64::from(turns)));
                }
            }
        }
        Ok(())
    }

    /// Measures a workload that opens its own stores, if it is one.
    fn whole_store(
        &self,
        workload: Workload,
        progress: &mut Progress,
    ) -> Result<Option<Table>, String> {
        let (columns, title) = match workload {
            Workload::Memory => {
                (memory::COLUMNS, format!("memory, {} sessions", short(self.memory_sessions)))
            }
            Workload::Growth => {
                (growth::COLUMNS, format!("growth, to {} sessions", short(self.growth.sessions)))
            }
            Workload::Storm => (storm::COLUMNS, self.storm.title()),
            Workload::HotShard => (hot_shard::COLUMNS, self.hot_shard.title()),
            _ => return Ok(None),
        };
        let columns = columns.iter().map(|c| Column::new(c.name, c.unit)).collect();
        let mut table = Table::new(title, columns, &self.names());
        for round in 0..self.rounds {
            for store in self.turn(round) {
                let doing = format!("{}: {workload:?}, round {}", store.name, round + 1);
                progress.step(&doing);
                let figures = guarded(&doing, || self.figures(workload, &store))??;
                for (column, figure) in figures.into_iter().enumerate() {
                    table.add(store.name, column, figure);
                }
            }
        }
        Ok(Some(table))
    }

    fn figures(&self, workload: Workload, store: &Contender) -> Result<Figures, String> {
        match workload {
            Workload::Memory => Ok((store.memory)(self.memory_sessions)),
            Workload::Growth => Ok((store.growth)(&self.growth)),
            Workload::Storm => (store.storm)(&self.storm),
            Workload::HotShard => Ok((store.hot_shard)(&self.hot_shard)),
            rated => unreachable!("{rated:?} has a rate"),
        }
    }
}

/// Turns a panic, which has told its reason, into an error that says where it was.
fn guarded<R>(doing: &str, work: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| format!("{doing}: failed, see above"))
}

/// Returns a number of sessions as it is written in flags.
fn short(sessions: usize) -> String {
    match sessions {
        n if n >= 1_000_000 && n % 100_000 == 0 => format!("{} M", n as f64 / 1e6),
        n if n >= 1_000 && n % 100 == 0 => format!("{} k", n as f64 / 1e3),
        n => n.to_string(),
    }
}
