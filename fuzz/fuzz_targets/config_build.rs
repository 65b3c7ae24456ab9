//! Any settings: a store that works, or an error that names a setting that is out of range.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use cloakroom::{Clock, IdSource, ManualClock, OnFull, SessionStore};
use libfuzzer_sys::fuzz_target;

mod counting;

/// Bytes that a shard costs, at the most: 128 for its lock and table, on a line of its own, and the rest for
/// what the sweep and the gate keep of it.
const SHARD: usize = 160;

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Settings {
    ttl: Option<Lifetime>,
    idle_timeout: Option<Lifetime>,
    max_sessions: Option<Size>,
    refuse: bool,
    shards: Option<Size>,
    sweep_budget: Option<Size>,
    buffered: bool,
    system_clock: bool,
    ttl_secs: u64,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Lifetime {
    Nanoseconds(u64),
    Seconds(u64),
    Longest,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Size {
    Small(u8),
    PowerOfTwo(u8),
    Any(usize),
}

impl Lifetime {
    fn duration(self) -> Duration {
        match self {
            Self::Nanoseconds(count) => Duration::from_nanos(count),
            Self::Seconds(count) => Duration::from_secs(count),
            Self::Longest => Duration::MAX,
        }
    }
}

impl Size {
    fn number(self) -> usize {
        match self {
            Self::Small(number) => number.into(),
            Self::PowerOfTwo(exponent) => 1 << (exponent % usize::BITS as u8),
            Self::Any(number) => number,
        }
    }
}

/// Returns the settings that are documented to be out of range.
fn wrong(settings: Settings) -> Vec<&'static str> {
    let ttl = settings.ttl.map(Lifetime::duration);
    let idle = settings.idle_timeout.map(Lifetime::duration);
    let mut wrong = Vec::new();
    if ttl == Some(Duration::ZERO) {
        wrong.push("ttl");
    }
    if idle == Some(Duration::ZERO) || ttl.is_some_and(|ttl| idle > Some(ttl)) {
        wrong.push("idle_timeout");
    }
    if settings.max_sessions.is_some_and(|max| max.number() == 0) {
        wrong.push("max_sessions");
    }
    let shards = settings.shards.map(Size::number);
    if shards.is_some_and(|shards| !shards.is_power_of_two() || !(2..=65_536).contains(&shards)) {
        wrong.push("shards");
    }
    if settings.sweep_budget.is_some_and(|budget| !(1..=4096).contains(&budget.number())) {
        wrong.push("sweep_budget");
    }
    wrong
}

fn build(settings: Settings) -> Result<SessionStore<u32>, cloakroom::BuildError> {
    let on_full = if settings.refuse { OnFull::Refuse } else { OnFull::Evict };
    let ids = if settings.buffered { IdSource::Buffered } else { IdSource::Os };
    let mut builder = SessionStore::<u32>::builder().on_full(on_full).id_source(ids);
    if let Some(ttl) = settings.ttl {
        builder = builder.ttl(ttl.duration());
    }
    if let Some(idle) = settings.idle_timeout {
        builder = builder.idle_timeout(idle.duration());
    }
    if let Some(max) = settings.max_sessions {
        builder = builder.max_sessions(max.number());
    }
    if let Some(shards) = settings.shards {
        builder = builder.shards(shards.number());
    }
    if let Some(budget) = settings.sweep_budget {
        builder = builder.sweep_budget(budget.number());
    }
    if settings.system_clock {
        builder.clock(Clock::system()).build()
    } else {
        builder.clock(ManualClock::new()).build()
    }
}

/// Uses a store; on a manual clock, no time passes meanwhile.
fn works(store: &SessionStore<u32>, settings: Settings) {
    let session = store.create_with(7);
    assert_eq!(store.len(), 1);
    if !settings.system_clock {
        assert_eq!(store.load(session.id()).map(|found| *found), Some(7));
        assert!(store.expires_in(session.id()) > Some(Duration::ZERO));
        assert!(store.destroy(session.id()));
    }
    store.clear();
    assert!(store.is_empty());
}

/// Bytes that settings may cost because they ask for so many shards: no other number costs anything.
fn for_shards(settings: Settings, built: bool) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = settings.shards.map_or(256.max(8 * cores), Size::number);
    if built { shards * SHARD } else { 0 }
}

fuzz_target!(|settings: Settings| {
    let wrong = wrong(settings);
    let mark = counting::Mark::now();
    let built = build(settings);
    mark.check(size_of::<Settings>(), for_shards(settings, built.is_ok()));
    match built {
        Ok(store) => {
            assert!(wrong.is_empty(), "{wrong:?} were accepted: {settings:?}");
            works(&store, settings);
            mark.check(size_of::<Settings>(), for_shards(settings, true));
        }
        Err(error) => {
            assert!(wrong.contains(&error.setting()), "{error}: {settings:?}");
            assert!(error.to_string().starts_with(error.setting()), "{error}");
        }
    }
    // Seconds are cut to the longest lifetime; with 0 the session is dead at once.
    let store = SessionStore::new(settings.ttl_secs);
    let session = store.create();
    assert!(settings.ttl_secs > 0 || !store.contains(session.id()));
});
