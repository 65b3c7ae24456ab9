//! tower-sessions: its `MemoryStore`, cloakroom behind its interface, and tower-sessions-moka-store, which
//! implements the interface of the version before.
//!
//! Measured is the `SessionStore` interface that a backend offers, without the `Session` and the
//! middleware above it. None of the interfaces tells how many sessions it holds.

/// Makes a module with a [`Peer`](crate::peer::Peer) for a store that is written against `$core`.
macro_rules! tower_peer {
    ($module:ident, $core:ident, $store:ty, $open:expr, $name:literal, $cleanup:expr) => {
        mod $module {
            use std::str::FromStr;
            use std::time::{Duration, Instant};

            use pollster::block_on;
            use serde_json::Value;
            use time::OffsetDateTime;
            use $core::SessionStore;
            use $core::session::{Id, Record};

            use crate::peer::{Cleanup, Lifetimes, Payload, Peer, Settings, text};

            pub struct Tower {
                store: $store,
                ttl: Duration,
            }

            fn attributes(payload: Payload) -> [(String, Value); 2] {
                [
                    (text::NEXT.to_owned(), Value::from(payload.next())),
                    (text::USER.to_owned(), Value::from(text::FILLING)),
                ]
            }

            impl Tower {
                fn create_for(&self, payload: Payload, lifetime: Duration) -> Id {
                    let mut record = Record {
                        id: Id::default(),
                        data: attributes(payload).into_iter().collect(),
                        expiry_date: OffsetDateTime::now_utc() + lifetime,
                    };
                    block_on(self.store.create(&mut record)).expect("memory does not fail");
                    record.id
                }
            }

            impl Peer for Tower {
                type Id = Id;
                type Handle = Record;

                const NAME: &'static str = $name;
                const LIFETIMES: Lifetimes = Lifetimes::OfSession;
                const CLEANUP: Cleanup = $cleanup;

                fn open(settings: &Settings) -> Self {
                    Self { store: $open, ttl: settings.ttl }
                }

                fn create(&self, payload: Payload) -> Id {
                    self.create_for(payload, self.ttl)
                }

                fn create_until(&self, payload: Payload, deadline: Instant) -> Id {
                    let lifetime = deadline.saturating_duration_since(Instant::now());
                    self.create_for(payload, lifetime)
                }

                fn load(&self, id: &Id) -> Option<Record> {
                    block_on(self.store.load(id)).expect("memory does not fail")
                }

                fn next(handle: &Record) -> usize {
                    let next = handle.data.get(text::NEXT).and_then(Value::as_u64);
                    next.expect("every session names another") as usize
                }

                fn save(&self, handle: &mut Record, payload: Payload) {
                    handle.data.extend(attributes(payload));
                    block_on(self.store.save(handle)).expect("memory does not fail");
                }

                fn destroy(&self, id: &Id) {
                    block_on(self.store.delete(id)).expect("memory does not fail");
                }

                fn unknown_id() -> Id {
                    Id::default()
                }

                fn load_malformed(&self, text: &str) -> Option<bool> {
                    let id = Id::from_str(text).ok();
                    Some(id.is_some_and(|id| self.load(&id).is_some()))
                }

                fn stored(&self) -> Option<usize> {
                    None
                }
            }
        }
    };
}

tower_peer!(
    on_a_map,
    tower_sessions,
    tower_sessions::MemoryStore,
    tower_sessions::MemoryStore::default(),
    "tower-memory",
    Cleanup::Never
);
tower_peer!(
    on_cloakroom,
    tower_sessions,
    cloakroom::adapters::tower_sessions::Store,
    cloakroom::adapters::tower_sessions::Store::default(),
    "cloakroom-tower",
    Cleanup::ByUse
);
tower_peer!(
    on_moka,
    tower_sessions_core_014,
    tower_sessions_moka_store::MokaStore,
    tower_sessions_moka_store::MokaStore::new(None),
    "tower-moka",
    Cleanup::ByUse
);

pub use on_a_map::Tower as TowerMemory;
pub use on_cloakroom::Tower as TowerCloakroom;
pub use on_moka::Tower as TowerMoka;
