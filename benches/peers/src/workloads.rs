//! Owns the list of workloads. Each is in a file of its own; those that are a rate share the filled
//! stores of a round, the others open their own.

mod create;
mod create_destroy;
pub mod growth;
pub mod hot_shard;
mod load_hot;
mod load_latency;
mod load_throughput;
mod load_zipf;
mod malformed;
pub mod memory;
mod miss;
mod mixed;
mod save;
pub mod storm;

use clap::ValueEnum;

use crate::crew::Crew;
use crate::filled::Filled;
use crate::peer::Peer;

/// One figure for each column of a workload's table; `None` where the store has none.
pub type Figures = Vec<Option<f64>>;

/// What `--workloads` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Loads, each of the session that the one before named
    LoadLatency,
    /// Loads of random sessions
    LoadThroughput,
    /// Loads of one session by all threads
    LoadHot,
    /// Loads by a zipf distribution
    LoadZipf,
    /// Loads of ids that are unknown
    Miss,
    /// Loads by a text that is no id
    Malformed,
    /// Saves through handles that were loaded before
    Save,
    /// 90 % load, 8 % load and save, 2 % destroy and create
    Mixed,
    /// Destroys a session and creates another
    CreateDestroy,
    /// Creates until the size is reached, in a new store
    Create,
    /// Heap bytes per session
    Memory,
    /// All sessions but a few expire at once, while those few are loaded
    Storm,
    /// The worst create while a store grows
    Growth,
    /// A writer among looping readers of one session
    HotShard,
}

/// A workload whose figure is operations per second.
#[derive(Clone, Copy)]
pub enum Rated {
    LoadLatency,
    LoadThroughput,
    LoadHot,
    LoadZipf,
    Miss,
    Malformed,
    Save,
    Mixed,
    CreateDestroy,
    Create,
}

impl Workload {
    pub fn rated(self) -> Option<Rated> {
        Some(match self {
            Self::LoadLatency => Rated::LoadLatency,
            Self::LoadThroughput => Rated::LoadThroughput,
            Self::LoadHot => Rated::LoadHot,
            Self::LoadZipf => Rated::LoadZipf,
            Self::Miss => Rated::Miss,
            Self::Malformed => Rated::Malformed,
            Self::Save => Rated::Save,
            Self::Mixed => Rated::Mixed,
            Self::CreateDestroy => Rated::CreateDestroy,
            Self::Create => Rated::Create,
            Self::Memory | Self::Storm | Self::Growth | Self::HotShard => return None,
        })
    }
}

impl Rated {
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadLatency => "load, latency",
            Self::LoadThroughput => "load, throughput",
            Self::LoadHot => "load, hot",
            Self::LoadZipf => "load, zipf",
            Self::Miss => "miss",
            Self::Malformed => "malformed",
            Self::Save => "save",
            Self::Mixed => "mixed 90/8/2",
            Self::CreateDestroy => "create+destroy",
            Self::Create => "create",
        }
    }
}

/// Returns the operations per second of one workload on one store.
pub fn rate<P: Peer>(workload: Rated, filled: &Filled<P>, crew: &Crew) -> Option<f64> {
    match workload {
        Rated::LoadLatency => Some(load_latency::run(filled, crew)),
        Rated::LoadThroughput => Some(load_throughput::run(filled, crew)),
        Rated::LoadHot => Some(load_hot::run(filled, crew)),
        Rated::LoadZipf => Some(load_zipf::run(filled, crew)),
        Rated::Miss => Some(miss::run(filled, crew)),
        Rated::Malformed => malformed::run(filled, crew),
        Rated::Save => Some(save::run(filled, crew)),
        Rated::Mixed => Some(mixed::run(filled, crew)),
        Rated::CreateDestroy => Some(create_destroy::run(filled, crew)),
        Rated::Create => create::run(filled, crew),
    }
}
