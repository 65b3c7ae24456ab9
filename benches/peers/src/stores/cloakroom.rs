//! cloakroom: typed, with buffered ids, with an idle timeout, with an index, and with `Attributes`.

use std::marker::PhantomData;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use cloakroom::{Attributes, Builder, Clock, IdSource, Session, SessionId, SessionStore, Subject};

use crate::peer::{Cleanup, Lifetimes, Payload, Peer, Settings, text};

/// What distinguishes one configuration from another.
pub trait Flavour: Send + Sync + 'static {
    type Data: Clone + Send + Sync + 'static;
    const NAME: &'static str;

    fn configure(builder: Builder<Self::Data>) -> Builder<Self::Data> {
        builder
    }
    fn data(payload: Payload) -> Self::Data;
    fn next(data: &Self::Data) -> usize;
}

/// A store with an absolute lifetime, which is what every peer with a lifetime has.
pub struct Typed;
/// The same with `IdSource::Buffered`.
pub struct Buffered;
/// The same with an idle timeout, so that a load writes the deadline.
pub struct Idle;
/// The typed store with a clock that a thread of its own moves on.
pub struct Ticking;
/// The typed store with an index: each session is another subject's.
pub struct Indexed;
/// A store of strings, as `SessionStore::new` makes it.
pub struct Strings;

macro_rules! typed {
    ($flavour:ty, $name:literal, $configure:expr) => {
        impl Flavour for $flavour {
            type Data = Payload;
            const NAME: &'static str = $name;

            fn configure(builder: Builder<Payload>) -> Builder<Payload> {
                let configure: fn(Builder<Payload>) -> Builder<Payload> = $configure;
                configure(builder)
            }
            fn data(payload: Payload) -> Payload {
                payload
            }
            fn next(data: &Payload) -> usize {
                data.next()
            }
        }
    };
}

typed!(Typed, "cloakroom", |builder| builder);
typed!(Buffered, "cloakroom-buffered", |builder| builder.id_source(IdSource::Buffered));
typed!(Idle, "cloakroom-idle", |builder| builder.idle_timeout(Duration::from_secs(3600)));
typed!(Ticking, "cloakroom-ticking", |builder| {
    builder.clock(Clock::ticking().expect("there is room for a thread"))
});
typed!(Indexed, "cloakroom-indexed", |builder| {
    builder.index_by(|payload| Some(Subject::from(payload.next())))
});

impl Flavour for Strings {
    type Data = Attributes;
    const NAME: &'static str = "cloakroom-attributes";

    fn data(payload: Payload) -> Attributes {
        let next = text::digits(payload.next());
        [(text::NEXT, next.as_str()), (text::USER, text::FILLING)].into_iter().collect()
    }
    fn next(data: &Attributes) -> usize {
        text::parse(data.get(text::NEXT).expect("every session names another"))
    }
}

pub struct Cloakroom<F: Flavour> {
    store: SessionStore<F::Data>,
    flavour: PhantomData<F>,
}

impl<F: Flavour> Peer for Cloakroom<F> {
    type Id = SessionId;
    type Handle = Session<F::Data>;

    const NAME: &'static str = F::NAME;
    const LIFETIMES: Lifetimes = Lifetimes::OfSession;
    const CLEANUP: Cleanup = Cleanup::ByUse;

    fn open(settings: &Settings) -> Self {
        let mut builder = SessionStore::builder().ttl(settings.ttl);
        if let Some(shards) = settings.shards {
            builder = builder.shards(shards);
        }
        let store = F::configure(builder).build().expect("the settings are valid");
        let flavour = PhantomData;
        Self { store, flavour }
    }

    fn create(&self, payload: Payload) -> SessionId {
        *self.store.create_with(F::data(payload)).id()
    }

    fn create_until(&self, payload: Payload, deadline: Instant) -> SessionId {
        let id = self.create(payload);
        let lifetime = deadline.saturating_duration_since(Instant::now());
        self.store.set_expiry(&id, lifetime);
        id
    }

    #[inline]
    fn load(&self, id: &SessionId) -> Option<Session<F::Data>> {
        self.store.load(id)
    }

    #[inline]
    fn next(handle: &Session<F::Data>) -> usize {
        F::next(handle)
    }

    fn save(&self, handle: &mut Session<F::Data>, payload: Payload) {
        **handle = F::data(payload);
        assert!(self.store.save(handle), "a session was lost");
    }

    fn destroy(&self, id: &SessionId) {
        assert!(self.store.destroy(id), "a session was lost");
    }

    fn unknown_id() -> SessionId {
        static OTHER: LazyLock<SessionStore<()>> = LazyLock::new(SessionStore::default);
        let id = *OTHER.create().id();
        OTHER.destroy(&id);
        id
    }

    fn load_malformed(&self, text: &str) -> Option<bool> {
        Some(self.store.load(text).is_some())
    }

    fn stored(&self) -> Option<usize> {
        Some(self.store.len())
    }
}
