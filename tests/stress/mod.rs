//! Owns what the stress tests share: how many rounds, how threads meet, and who heard which end.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use cloakroom::{Cause, End, SessionId};

/// Returns `base` rounds, times the environment's `CLOAKROOM_ROUNDS` if that is set.
pub(crate) fn rounds(base: usize) -> usize {
    let factor = std::env::var("CLOAKROOM_ROUNDS").ok().and_then(|text| text.parse().ok());
    base * factor.unwrap_or(1)
}

/// Where threads wait for each other awake: waking from a blocking barrier takes longer than the
/// operations that are to overlap.
#[derive(Clone)]
pub(crate) struct Start {
    missing: Arc<AtomicUsize>,
}

impl Start {
    pub(crate) fn of(threads: usize) -> Self {
        Self { missing: Arc::new(AtomicUsize::new(threads)) }
    }

    /// Returns when all have come, and a moment later that differs from call to call.
    pub(crate) fn meet(&self) {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        self.missing.fetch_sub(1, Ordering::SeqCst);
        let mut spins = 0;
        while self.missing.load(Ordering::SeqCst) > 0 {
            spins += 1;
            if spins % 64 == 0 { thread::yield_now() } else { std::hint::spin_loop() }
        }
        let skew = call.wrapping_mul(0x9E37_79B9) >> 8 & 63;
        (0..skew).for_each(|_| std::hint::spin_loop());
    }
}

fn start<R: Send + 'static>(
    start: &Start,
    actor: impl FnOnce() -> R + Send + 'static,
) -> JoinHandle<R> {
    let start = start.clone();
    thread::spawn(move || {
        start.meet();
        actor()
    })
}

fn finish<R>(thread: JoinHandle<R>) -> R {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs two actors at once.
pub(crate) fn race2<A: Send + 'static, B: Send + 'static>(
    a: impl FnOnce() -> A + Send + 'static,
    b: impl FnOnce() -> B + Send + 'static,
) -> (A, B) {
    let meeting = Start::of(2);
    let other = start(&meeting, a);
    meeting.meet();
    let b = b();
    (finish(other), b)
}

/// Runs one actor on several threads at once, each with its number.
pub(crate) fn race<R: Send + 'static>(
    threads: usize,
    actor: impl Fn(usize) -> R + Send + Sync + 'static,
) -> Vec<R> {
    let (meeting, actor) = (Start::of(threads), Arc::new(actor));
    let begun: Vec<_> = (0..threads)
        .map(|me| {
            let actor = Arc::clone(&actor);
            start(&meeting, move || actor(me))
        })
        .collect();
    begun.into_iter().map(finish).collect()
}

/// What a listener was told of one session.
type Told = Vec<(Cause, u64)>;

/// Every end a listener was told of, by id, with the data it saw.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<HashMap<SessionId, Told>>>);

impl Heard {
    pub(crate) fn listener(&self) -> impl Fn(End<'_, u64>) + Send + Sync + 'static {
        self.listener_of(|data| *data)
    }

    /// Like [`listener`](Self::listener), of sessions with other data, of which it keeps a number.
    pub(crate) fn listener_of<T>(
        &self,
        number: impl Fn(&T) -> u64 + Send + Sync + 'static,
    ) -> impl Fn(End<'_, T>) + Send + Sync + 'static {
        let heard = self.clone();
        move |end| {
            let mut ends = heard.0.lock().unwrap();
            ends.entry(end.id).or_default().push((end.cause, number(end.data)));
        }
    }

    /// Returns what was heard of one session.
    pub(crate) fn of(&self, id: &SessionId) -> Told {
        self.0.lock().unwrap().get(id).cloned().unwrap_or_default()
    }

    pub(crate) fn ids(&self) -> Vec<SessionId> {
        self.0.lock().unwrap().keys().copied().collect()
    }

    /// Returns how many ends were heard, and fails if any id was heard of twice.
    pub(crate) fn each_once(&self) -> usize {
        let ends = self.0.lock().unwrap();
        for (id, heard) in ends.iter() {
            assert_eq!(heard.len(), 1, "{id:?} ended {heard:?}");
        }
        ends.len()
    }
}
