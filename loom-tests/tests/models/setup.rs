//! What the models share: how far loom looks, and small stores whose ids and time are scripted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cloakroom::{Builder, Cause, ManualClock, SessionId, SessionStore, Subject, watch};

/// Preemptions in a model that is too large to be explored in full, unless `CLOAKROOM_PREEMPTIONS` says otherwise.
const PREEMPTIONS: usize = 3;

/// Steps of one schedule: beyond this, somebody waits for what never comes.
const STEPS: usize = 2_000;

/// Explores every schedule: for two threads. Then, with a bounded number of preemptions, those where every reader that
/// takes a lock leaves the shard biased.
pub fn exhaustive(model: impl Fn() + Sync + Send + 'static) {
    explore(None, Some(preemptions()), model);
}

/// Explores the schedules with a bounded number of preemptions: for three threads. Then, with one less, those of
/// biased shards.
pub fn bounded(model: impl Fn() + Sync + Send + 'static) {
    explore(Some(preemptions()), Some(preemptions() - 1), model);
}

/// Explores schedules in which every reader that takes a lock leaves the shard biased, with a bounded number of
/// preemptions, one less for three threads than for two.
pub fn biased(threads: usize, model: impl Fn() + Sync + Send + 'static) {
    check(watch::Bias::AtOnce, Some(preemptions() + 2 - threads), Arc::new(model));
}

/// Explores schedules in which every reader that takes a lock asks for a survey: for three threads.
pub fn surveyed(model: impl Fn() + Sync + Send + 'static) {
    check(watch::Bias::Surveyed, Some(preemptions() - 1), Arc::new(model));
}

fn preemptions() -> usize {
    let bound = std::env::var("CLOAKROOM_PREEMPTIONS").ok();
    bound.map_or(PREEMPTIONS, |bound| bound.parse().expect("a number of preemptions"))
}

fn explore(
    preemptions: Option<usize>,
    when_biased: Option<usize>,
    model: impl Fn() + Sync + Send + 'static,
) {
    let model = Arc::new(model);
    check(watch::Bias::Never, preemptions, Arc::clone(&model));
    check(watch::Bias::AtOnce, when_biased, model);
}

fn check(
    bias: watch::Bias,
    preemptions: Option<usize>,
    model: Arc<impl Fn() + Sync + Send + 'static>,
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = STEPS;
    #[expect(clippy::disallowed_methods, reason = "a report, on which nothing depends")]
    let begin = Instant::now();
    let counts = Arc::new(Mutex::new((0_u64, 0_usize)));
    let counted = Arc::clone(&counts);
    builder.check(move || {
        watch::begin(bias);
        model();
        let mut counts = counted.lock().unwrap();
        *counts = (counts.0 + 1, counts.1 + watch::readers_announced());
    });
    let (schedules, announced) = *counts.lock().unwrap();
    println!("{schedules} schedules in {:.1?}, {announced} reads without a lock", begin.elapsed());
}

/// Returns the bits of an id that belongs into a bucket, of four, of a shard. The number keeps ids of
/// one bucket apart.
pub fn id(shard: u128, bucket: u128, number: u128) -> u128 {
    number << 8 | bucket << 4 | shard
}

/// Like [`id`], of a session that makes the first slice panic that takes it.
pub fn faulty_id(shard: u128, bucket: u128) -> u128 {
    id(shard, bucket, 0) | 1 << 7
}

/// Begins a store of two shards in which the model's first thread draws these ids, in this order.
pub fn store<T>(clock: &ManualClock, ids: impl IntoIterator<Item = u128>) -> Builder<T> {
    store_with_drawers(clock, [ids.into_iter().collect()])
}

/// Begins a store of two shards in which each thread draws ids from a script of its own: which of two
/// draws comes first is nothing that loom sees.
pub fn store_with_drawers<T, const THREADS: usize>(
    clock: &ManualClock,
    scripts: [Vec<u128>; THREADS],
) -> Builder<T> {
    let scripts = Mutex::new(scripts.map(VecDeque::from));
    let drawers = Mutex::new(Vec::new());
    let next = move || {
        let (mut drawers, drawer) = (drawers.lock().unwrap(), loom::thread::current().id());
        let known = drawers.iter().position(|known| *known == drawer);
        let script = known.unwrap_or_else(|| {
            drawers.push(drawer);
            drawers.len() - 1
        });
        Ok(scripts.lock().unwrap()[script].pop_front().expect("the script has an id for each"))
    };
    SessionStore::builder().shards(2).sweep_budget(4).clock(clock.clone()).scripted_ids(next)
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Lets the sweep catch up with the clock, so that no slice is due in the model itself.
pub fn settle<T>(store: &SessionStore<T>, id: &SessionId) {
    for _ in 0..8 {
        let _ = store.contains(id);
    }
}

/// Draws the next id of the script and forgets its session: the script may then give it out again.
pub fn known_id<T: Default>(store: &SessionStore<T>) -> SessionId {
    let session = store.create();
    assert!(store.destroy(session.id()));
    *session.id()
}

/// The ends that a listener was told of. Not loom's: what is looked at is what was told, not when.
pub struct Told<T>(Arc<Mutex<Vec<(SessionId, Cause, T)>>>);

impl<T: Copy + Send + 'static> Told<T> {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    pub fn listen(&self, builder: Builder<T>) -> Builder<T> {
        let told = Arc::clone(&self.0);
        builder.on_end(move |end| told.lock().unwrap().push((end.id, end.cause, *end.data)))
    }

    /// Forgets what was told so far.
    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    pub fn ends(&self) -> Vec<(SessionId, Cause, T)> {
        self.0.lock().unwrap().clone()
    }
}

/// Says whose a session is: the number's; nobody's if it is 0.
pub fn subject(user: &u32) -> Option<Subject> {
    (*user != 0).then(|| Subject::from(*user))
}
