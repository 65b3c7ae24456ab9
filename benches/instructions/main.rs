//! Runs one operation a number of times, for `ci/instructions` to count its instructions under callgrind.
//!
//! `instructions OPERATION TIMES`. What comes before the operation is the same for any number of times, so
//! that the difference of two runs is the operation alone.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use cloakroom::{
    Attributes, Builder, IdSource, ManualClock, Session, SessionId, SessionStore, Subject,
};

/// Sessions in the store.
const SESSIONS: usize = 1000;

const HOUR: Duration = Duration::from_secs(3600);

/// 56 bytes, as in `benches/peers`.
type Data = [u64; 7];

type Run = fn(usize);

const OPERATIONS: [(&str, Run); 22] = [
    ("load", |times| Filled::calm(ttl()).each(times, |store, id| drop(found(store.load(id))))),
    ("load-locked", |times| {
        Filled::new(ttl()).each(times, |store, id| drop(found(store.load(id))));
    }),
    ("load-idle", |times| {
        Filled::calm(idle()).each(times, |store, id| drop(found(store.load(id))));
    }),
    ("load-token", |times| {
        let filled = Filled::calm(ttl());
        let tokens: Vec<_> = filled.ids.iter().map(|id| id.to_token().to_string()).collect();
        cycle(&tokens, times, |token| drop(found(filled.store.load(token))));
    }),
    ("load-attributes", |times| {
        let clock = ManualClock::new();
        let builder = SessionStore::<Attributes>::builder().ttl(HOUR).clock(clock.clone());
        let store = builder.build().expect("the settings are valid");
        let ids: Vec<_> = (0..SESSIONS).map(|_| *store.create().id()).collect();
        let_calm(&store, &clock, &ids);
        cycle(&ids, times, |id| drop(store.load(id).map(|session: Session<Attributes>| session)));
    }),
    ("miss", |times| {
        let filled = Filled::new(ttl());
        let gone = filled.ids.iter().filter(|id| filled.store.destroy(*id)).copied();
        let gone: Vec<_> = gone.collect();
        let_calm(&filled.store, &filled.clock, &gone);
        cycle(&gone, times, |id| assert!(filled.store.load(id).is_none()));
    }),
    ("malformed", |times| {
        Filled::new(ttl()).each(times, |store, _| {
            assert!(store.load(black_box("no id at all, but about as long")).is_none());
        });
    }),
    ("save", |times| {
        let filled = Filled::new(ttl());
        let mut handles = filled.handles();
        for i in 0..times {
            let handle = &mut handles[i % SESSIONS];
            handle[1] += 1;
            assert!(filled.store.save(handle));
        }
    }),
    ("load-and-save", |times| {
        Filled::new(idle()).each(times, |store, id| {
            let mut session = found(store.load(id));
            session[1] += 1;
            assert!(store.save(&session));
        });
    }),
    // One thread among few, whose reads between two writes go without locks.
    ("nine-loads-and-a-save", |times| {
        let filled = Filled::new(ttl());
        let mut handles = filled.handles();
        for i in 0..times {
            let handle = &mut handles[i % SESSIONS];
            handle[1] += 1;
            assert!(filled.store.save(handle));
            (1..10)
                .for_each(|j| drop(found(filled.store.load(&filled.ids[(i + 7 * j) % SESSIONS]))));
        }
    }),
    ("load-of-subject", |times| {
        Filled::calm(indexed()).each(times, |store, id| drop(found(store.load(id))));
    }),
    ("save-of-subject", |times| {
        let filled = Filled::new(indexed());
        let mut handles = filled.handles();
        for i in 0..times {
            let handle = &mut handles[i % SESSIONS];
            handle[1] += 1;
            assert!(filled.store.save(handle));
        }
    }),
    ("create-and-destroy-of-subject", |times| replace(indexed(), times)),
    ("update", |times| {
        Filled::new(ttl()).each(times, |store, id| found(store.update(id, |data| data[1] += 1)));
    }),
    ("touch", |times| Filled::new(idle()).each(times, |store, id| assert!(store.touch(id)))),
    // By the system's clock, as users' stores go; it never lets readers do without locks.
    ("contains", |times| {
        let store = ttl().build().expect("the settings are valid");
        let ids: Vec<_> = (0..SESSIONS).map(|_| *store.create().id()).collect();
        cycle(&ids, times, |id| assert!(store.contains(id)));
    }),
    ("rotate", |times| {
        let filled = Filled::new(ttl().id_source(IdSource::Buffered));
        let mut handles = filled.handles();
        for i in 0..times {
            assert!(filled.store.rotate(&mut handles[i % SESSIONS]));
        }
    }),
    ("create-and-destroy", |times| replace(ttl(), times)),
    ("create-and-destroy-buffered", |times| replace(ttl().id_source(IdSource::Buffered), times)),
    ("create-and-evict", |times| {
        let filled = Filled::new(ttl().id_source(IdSource::Buffered).max_sessions(SESSIONS));
        filled.each(times, |store, _| drop(store.create()));
    }),
    // A subject's session takes a guest's room, and leaves it to another guest. No limit, so no walk of the thousand.
    ("evict-for-one-of-a-subject", |times| {
        let builder = ttl().index_by(|data| (data[0] != 0).then(|| Subject::from(data[0])));
        let builder = builder.id_source(IdSource::Buffered).max_sessions(SESSIONS + 1);
        let store = builder.clock(ManualClock::new()).build().expect("the settings are valid");
        (0..SESSIONS).for_each(|_| drop(store.create_with([7; 7])));
        store.create();
        for _ in 0..times {
            let session = store.create_with([7; 7]);
            assert!(store.destroy(session.id()));
            store.create();
        }
        assert_eq!(store.stats().evicted, times as u64);
    }),
    ("create-and-sweep", |times| {
        let filled = Filled::new(ttl().id_source(IdSource::Buffered));
        for _ in 0..times {
            filled.store.create();
            filled.clock.advance(HOUR / SESSIONS as u32);
        }
        assert!(filled.store.len() < 2 * SESSIONS);
    }),
];

fn ttl() -> Builder<Data> {
    SessionStore::builder().ttl(HOUR)
}

/// All sessions are one subject's, by a word of the data that no operation here changes.
fn indexed() -> Builder<Data> {
    ttl().index_by(|data| Some(Subject::from(data[0])))
}

fn idle() -> Builder<Data> {
    ttl().idle_timeout(HOUR / 2)
}

fn found<R>(found: Option<R>) -> R {
    found.expect("the session is live")
}

/// Reads so much, as time goes on, that readers need no locks from then on.
fn let_calm<T: Default + Clone>(store: &SessionStore<T>, clock: &ManualClock, ids: &[SessionId]) {
    for _ in 0..2 {
        clock.advance(Duration::from_millis(4));
        cycle(ids, 10_000, |id| drop(store.load(id)));
    }
}

/// A store with sessions, and their ids. Its clock stands still unless it is advanced: by the system's, a slower run
/// would move more deadlines, and its readers would do without locks for a longer part of it.
struct Filled {
    store: SessionStore<Data>,
    clock: ManualClock,
    ids: Vec<SessionId>,
}

impl Filled {
    fn new(builder: Builder<Data>) -> Self {
        let clock = ManualClock::new();
        let store = builder.clock(clock.clone()).build().expect("the settings are valid");
        let ids = (0..SESSIONS).map(|_| *store.create().id()).collect();
        Self { store, clock, ids }
    }

    /// Readers need no locks.
    fn calm(builder: Builder<Data>) -> Self {
        let filled = Self::new(builder);
        let_calm(&filled.store, &filled.clock, &filled.ids);
        filled
    }

    /// A handle of each session.
    fn handles(&self) -> Vec<Session<Data>> {
        self.ids.iter().map(|id| found(self.store.load(id))).collect()
    }

    fn each(&self, times: usize, operation: impl Fn(&SessionStore<Data>, &SessionId)) {
        cycle(&self.ids, times, |id| operation(&self.store, id));
    }
}

fn cycle<K>(keys: &[K], times: usize, mut operation: impl FnMut(&K)) {
    keys.iter().cycle().take(times).for_each(|key| operation(black_box(key)));
}

/// Destroys the oldest session and creates another.
fn replace(builder: Builder<Data>, times: usize) {
    let mut filled = Filled::new(builder);
    for i in 0..times {
        let oldest = &mut filled.ids[i % SESSIONS];
        assert!(filled.store.destroy(&*oldest));
        *oldest = *filled.store.create().id();
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [name, times] = arguments.as_slice() {
        let operation = OPERATIONS.iter().find(|(known, _)| known == name);
        if let (Some((_, run)), Ok(times)) = (operation, times.parse()) {
            run(times);
            return ExitCode::SUCCESS;
        }
    }
    // Also what `cargo bench` sees, which gives no operation.
    OPERATIONS.iter().for_each(|(name, _)| println!("{name}"));
    ExitCode::SUCCESS
}
