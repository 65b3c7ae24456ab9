//! Random operations against a store and the reference model of `tests/model`, over all settings.
//!
//! `CLOAKROOM_CASES` sets how many cases are run. A failure is shrunk to a short list of operations.

mod model;

use cloakroom::{SessionId, SessionStore};
use model::{Bound, Config, Data, Lifetimes, Op, Run, Span, Target, Until, Whose};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};

/// Cases that are run unless `CLOAKROOM_CASES` says otherwise.
const CASES: u32 = 600;

/// Operations in one case, at the most.
const OPERATIONS: usize = 200;

fn cases() -> u32 {
    match std::env::var("CLOAKROOM_CASES") {
        Ok(cases) => cases.parse().expect("CLOAKROOM_CASES is a number"),
        Err(_) => CASES,
    }
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        // Enough to shrink the longest case to the end.
        max_shrink_iters: 100_000,
        failure_persistence: None,
        ..Default::default()
    })
}

fn configs() -> impl Strategy<Value = Config> {
    let bound =
        prop_oneof![Just(Bound::None), Just(Bound::One), Just(Bound::Eight), Just(Bound::Forty),];
    let lifetimes = prop_oneof![
        Just(Lifetimes::None),
        Just(Lifetimes::Idle),
        Just(Lifetimes::Ttl),
        Just(Lifetimes::Both),
        Just(Lifetimes::Same),
    ];
    let whose = prop_oneof![
        2 => Just(Whose::Nobodys),
        2 => Just(Whose::Listed),
        1 => Just(Whose::Reject),
        1 => Just(Whose::RevokeOldest),
        1 => Just(Whose::RevokeIdlest),
    ];
    let weighs = prop_oneof![3 => Just(false), 1 => Just(true)];
    (any::<bool>(), bound, lifetimes, any::<bool>(), any::<bool>(), whose, weighs).prop_map(
        |(many_shards, bound, lifetimes, small_budget, refuse, whose, weighs)| Config {
            many_shards,
            bound,
            lifetimes,
            small_budget,
            refuse,
            whose,
            weighs,
        },
    )
}

/// Mostly the newest few, so that operations meet on one session.
fn targets() -> impl Strategy<Value = Target> {
    prop_oneof![
        4 => (0u8..4).prop_map(Target::Back),
        2 => (0u8..6).prop_map(Target::Text),
        1 => any::<u8>().prop_map(Target::Back),
    ]
}

fn spans() -> impl Strategy<Value = Span> {
    prop_oneof![
        1 => Just(Span::Zero),
        3 => Just(Span::Nanosecond),
        8 => (0u8..12).prop_map(Span::Seconds),
        4 => targets().prop_map(Span::ToDeadline),
        4 => targets().prop_map(Span::ShortOfDeadline),
        1 => Just(Span::Century),
        1 => (0u8..4).prop_map(Span::ShortOfEnd),
    ]
}

fn untils() -> impl Strategy<Value = Until> {
    prop_oneof![
        1 => Just(Until::AtOnce),
        1 => any::<u8>().prop_map(Until::Nanoseconds),
        4 => (1u8..60).prop_map(Until::Seconds),
        1 => Just(Until::Eternity),
        1 => Just(Until::Never),
        2 => Just(Until::Policy),
    ]
}

fn handles() -> impl Strategy<Value = u8> {
    0u8..6
}

fn creations() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Create),
        4 => Just(Op::CreateWith),
        1 => any::<u8>().prop_map(Op::CreateMany),
        3 => (0u8..6).prop_map(Op::CreateWithId),
        2 => Just(Op::TryCreate),
        2 => Just(Op::TryCreateWith),
        3 => targets().prop_map(Op::TryCreateWithId),
    ]
}

fn uses() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => targets().prop_map(Op::Load),
        2 => targets().prop_map(Op::Peek),
        1 => targets().prop_map(Op::Contains),
        3 => targets().prop_map(Op::Touch),
        3 => targets().prop_map(Op::Update),
        2 => targets().prop_map(Op::TryUpdate),
        3 => targets().prop_map(Op::Destroy),
        2 => targets().prop_map(Op::ExpiresIn),
        3 => (targets(), untils()).prop_map(|(target, until)| Op::SetExpiry(target, until)),
        6 => handles().prop_map(Op::Mutate),
        4 => handles().prop_map(Op::Save),
        5 => handles().prop_map(Op::TrySave),
        2 => handles().prop_map(Op::CloneHandle),
        1 => handles().prop_map(Op::DropHandle),
        4 => handles().prop_map(Op::Rotate),
    ]
}

fn subjects() -> impl Strategy<Value = Op> {
    let subject = || 0u8..5;
    prop_oneof![
        4 => subject().prop_map(Op::SessionsOf),
        1 => subject().prop_map(Op::CountOf),
        1 => subject().prop_map(Op::RevokeAll),
        2 => (subject(), targets()).prop_map(|(subject, keep)| Op::RevokeOthers(subject, keep)),
        2 => handles().prop_map(Op::Reauthenticate),
        2 => (targets(), 0u8..20).prop_map(|(target, age)| Op::Authenticated(target, age)),
    ]
}

fn walks() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Purge),
        2 => (0u8..3).prop_map(Op::Retain),
        1 => Just(Op::Clear),
        2 => Just(Op::ForEach),
        1 => any::<u8>().prop_map(Op::Malformed),
    ]
}

fn operations() -> impl Strategy<Value = Vec<Op>> {
    let one = prop_oneof![
        8 => creations(),
        24 => uses(),
        6 => subjects(),
        7 => spans().prop_map(Op::Advance),
        2 => walks(),
    ];
    vec(one, 0..=OPERATIONS)
}

fn done(verdict: Result<(), String>) -> Result<(), TestCaseError> {
    verdict.map_err(TestCaseError::fail)
}

#[test]
fn store_does_what_the_reference_model_does() {
    let verdict = runner(cases()).run(&(configs(), operations()), |(config, ops)| {
        let mut run = Run::new(config);
        for op in ops {
            done(run.step(op))?;
        }
        done(run.validate())
    });
    if let Err(error) = verdict {
        panic!("{error}");
    }
}

const PLAIN: Config = Config {
    many_shards: false,
    bound: Bound::None,
    lifetimes: Lifetimes::Both,
    small_budget: false,
    refuse: false,
    whose: Whose::Listed,
    weighs: false,
};

const NEWEST: Target = Target::Back(0);

/// Runs a few operations, meddles with the newest session behind the model's back, and returns what the
/// model says to the next operation.
fn meddle<R>(
    before: &[Op],
    meddling: impl FnOnce(&SessionStore<Data>, &SessionId) -> R,
    after: Op,
) -> Result<(), String> {
    let mut run = Run::new(PLAIN);
    for op in before {
        run.step(*op).expect("nothing is wrong yet");
    }
    meddling(run.store(), &run.newest().expect("there is one"));
    run.step(after)
}

#[test]
fn model_notices_whatever_is_done_behind_its_back() {
    let create = [Op::CreateWith];
    let aged = [Op::CreateWith, Op::Advance(Span::Seconds(1))];
    let changed = [Op::CreateWith, Op::Mutate(0)];
    meddle(&create, |_, _| (), Op::Load(NEWEST)).expect("nothing was done");
    let never = cloakroom::Expiry::Never;
    let blank = |data: &mut Data| *data = Data::default();
    // The third and the fourth are a subject's.
    let listed = [Op::CreateMany(4), Op::Advance(Span::Seconds(1))];
    let back_and_forth = |store: &SessionStore<Data>, _: &SessionId| {
        let older = store.sessions_of(1)[1].id;
        let data = store.update(&older, std::mem::take).expect("it is live");
        store.update(&older, move |stored| *stored = data.clone());
    };
    for (meddling, verdict) in [
        ("revoke", meddle(&listed, |store, _| store.revoke_all(1), Op::CountOf(1))),
        ("keep", meddle(&listed, |store, id| store.revoke_others(1, id), Op::SessionsOf(1))),
        ("leave", meddle(&listed, |store, id| store.update(id, blank), Op::SessionsOf(1))),
        ("order", meddle(&listed, back_and_forth, Op::SessionsOf(1))),
        ("use", meddle(&listed, |store, id| store.touch(id), Op::SessionsOf(1))),
        ("ending", meddle(&listed, |store, id| store.set_expiry(id, never), Op::SessionsOf(1))),
        ("destroy", meddle(&create, |store, id| store.destroy(id), Op::Load(NEWEST))),
        ("create", meddle(&create, |store, _| store.create(), Op::ForEach)),
        ("clear", meddle(&create, |store, _| store.clear(), Op::Peek(NEWEST))),
        ("touch", meddle(&aged, |store, id| store.touch(id), Op::ExpiresIn(NEWEST))),
        ("load", meddle(&aged, |store, id| store.load(id), Op::Contains(NEWEST))),
        ("update", meddle(&create, |store, id| store.update(id, blank), Op::Peek(NEWEST))),
        ("conflict", meddle(&changed, |store, id| store.update(id, |_| ()), Op::TrySave(0))),
        ("expiry", meddle(&create, |store, id| store.set_expiry(id, never), Op::ExpiresIn(NEWEST))),
    ] {
        assert!(verdict.is_err(), "nobody noticed: {meddling}");
    }
}

#[test]
fn failing_case_shrinks_to_the_operations_that_matter() {
    let verdict = runner(200).run(&operations(), |ops| {
        // At a bound or a limit, or with lifetimes, the operations before decide whether the newest is alive.
        let mut run = Run::new(Config { lifetimes: Lifetimes::None, ..PLAIN });
        for op in ops {
            // The planted fault: whoever is touched is gone.
            if let (Op::Touch(Target::Back(0)), Some(newest)) = (op, run.newest()) {
                run.store().destroy(&newest);
            }
            done(run.step(op))?;
        }
        Ok(())
    });
    let Err(TestError::Fail(_, ops)) = verdict else { panic!("the fault was not found") };
    // Of some hundred; some that no longer matter may be left, because each is tried once.
    assert!(ops.len() <= 30, "not shrunk: {ops:?}");
}

/// Runs operations that once went wrong.
fn replay(config: Config, ops: &[Op]) {
    let mut run = Run::new(config);
    for op in ops {
        run.step(*op).unwrap_or_else(|difference| panic!("{op:?}: {difference}"));
    }
    run.validate().unwrap_or_else(|difference| panic!("{difference}"));
}

#[test]
fn taken_id_evicts_nobody_from_a_full_store() {
    for refuse in [false, true] {
        let config = Config { bound: Bound::One, refuse, ..PLAIN };
        replay(config, &[Op::CreateWithId(3), Op::TryCreateWithId(NEWEST), Op::Load(NEWEST)]);
    }
}

#[test]
fn reads_alone_remove_what_has_expired() {
    for lifetimes in [Lifetimes::Idle, Lifetimes::Ttl, Lifetimes::Both] {
        for (many_shards, small_budget) in [(false, false), (false, true), (true, true)] {
            let config = Config { many_shards, small_budget, lifetimes, ..PLAIN };
            let mut run = Run::new(config);
            let read = [Op::Advance(Span::Seconds(1)), Op::Contains(NEWEST)];
            let ops = [Op::CreateMany(200), Op::Advance(Span::Century)];
            // Many more reads than there are buckets.
            for op in ops.into_iter().chain(read.into_iter().cycle().take(5_000)) {
                run.step(op).unwrap_or_else(|difference| panic!("{difference}"));
                if run.store().is_empty() {
                    break;
                }
            }
            assert_eq!(run.store().len(), 0, "expired and never swept: {config:?}");
        }
    }
}

#[test]
fn own_save_is_no_conflict() {
    replay(PLAIN, &[Op::Create, Op::Save(0), Op::Mutate(0), Op::TrySave(0)]);
}
