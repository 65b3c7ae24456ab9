//! Owns the list of what is compared, and hides each store's types from the schedule.

mod actix;
mod async_session;
mod caches;
mod cloakroom;
mod locked;
mod maps;
mod rust_web_server;
mod tower;

use crate::crew::Crew;
use crate::filled::Filled;
use crate::peer::Peer;
use crate::workloads::growth::GrowthPlan;
use crate::workloads::hot_shard::HotShardPlan;
use crate::workloads::storm::StormPlan;
use crate::workloads::{Figures, Rated, growth, hot_shard, memory, storm};
use crate::{check, workloads};

/// The store that ratios refer to.
pub const BASELINE: &str = "dashmap";

/// A store with sessions in it.
pub trait Subject {
    /// Returns operations per second; `None` if the workload makes no sense for the store.
    fn rate(&self, workload: Rated, crew: &Crew) -> Option<f64>;
}

impl<P: Peer> Subject for Filled<P> {
    fn rate(&self, workload: Rated, crew: &Crew) -> Option<f64> {
        workloads::rate(workload, self, crew)
    }
}

/// One store, as the schedule sees it.
#[derive(Clone, Copy)]
pub struct Contender {
    pub name: &'static str,
    /// Shows that the store does what is measured.
    pub check: fn() -> Result<(), String>,
    pub fill: fn(usize) -> Box<dyn Subject>,
    pub memory: fn(usize) -> Figures,
    pub growth: fn(&GrowthPlan) -> Figures,
    pub storm: fn(&StormPlan) -> Result<Figures, String>,
    pub hot_shard: fn(&HotShardPlan) -> Figures,
}

const fn contender<P: Peer>() -> Contender {
    Contender {
        name: P::NAME,
        check: check::run::<P>,
        fill: |sessions| Box::new(Filled::<P>::new(sessions)),
        memory: memory::run::<P>,
        growth: growth::run::<P>,
        storm: storm::run::<P>,
        hot_shard: hot_shard::run::<P>,
    }
}

/// All stores, in the order of the tables.
pub const ALL: [Contender; 20] = [
    contender::<maps::RawDashMap>(),
    contender::<cloakroom::Cloakroom<cloakroom::Typed>>(),
    contender::<cloakroom::Cloakroom<cloakroom::Buffered>>(),
    contender::<cloakroom::Cloakroom<cloakroom::Idle>>(),
    contender::<cloakroom::Cloakroom<cloakroom::Indexed>>(),
    contender::<cloakroom::Cloakroom<cloakroom::Ticking>>(),
    contender::<cloakroom::Cloakroom<cloakroom::Strings>>(),
    contender::<locked::LockedMap>(),
    contender::<maps::Papaya>(),
    contender::<maps::Scc>(),
    contender::<caches::QuickCache>(),
    contender::<caches::Moka>(),
    contender::<tower::TowerCloakroom>(),
    contender::<tower::TowerMemory>(),
    contender::<tower::TowerMoka>(),
    contender::<async_session::AsyncSession<::cloakroom::adapters::async_session::Store>>(),
    contender::<async_session::AsyncSession<::async_session::MemoryStore>>(),
    contender::<actix::Actix<::cloakroom::adapters::actix_session::Store>>(),
    contender::<actix::Actix<actix::Map>>(),
    contender::<rust_web_server::RustWebServer>(),
];
