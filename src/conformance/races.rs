//! Owns the checks in which two threads meet on one session, again and again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{Check, Failure, LONG, Lifetime, Subject, Trial, Verdict, ensure, list, needs};

pub(super) fn all<S: Subject>() -> Vec<Check<S>> {
    let mut all = list![false;
        racing_creates_under_one_key_get_different_keys,
        save_racing_a_destroy_brings_nothing_back,
        save_racing_a_rotation_leaves_one_good_key,
        loads_after_a_rotation_find_the_new_key_only_on_any_thread,
        racing_rotations_leave_one_good_key,
        rotation_racing_a_clearing_brings_nothing_back,
        save_racing_a_clearing_brings_nothing_back,
        touch_racing_a_destroy_brings_nothing_back,
        load_racing_a_save_finds_the_old_or_the_new,
        one_of_two_racing_saves_unless_changed_is_refused,
        racing_additions_all_count,
        addition_racing_a_destroy_brings_nothing_back,
    ];
    all.extend(list![true;
        save_racing_the_sweep_is_kept_or_refused,
        touch_racing_the_sweep_is_kept_or_refused,
        loads_during_a_sweep_find_every_live_session,
    ]);
    all
}

/// The steps by which one of two actors is held back differ from round to round, and in the last of each
/// such number of rounds it waits until the other has finished: each comes first in some.
const SKEWS: usize = 8;

/// Pauses of the processor in one step: a microsecond or so.
const PAUSES: usize = 32;

/// Loads in a row, so that one of them falls into the middle of a save.
const LOOKS: usize = 20;

/// Raises a flag when dropped, also by a panic.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Waits awake, because waking takes longer than what is to overlap.
fn wait_until(holds: impl Fn() -> bool) {
    let mut spins = 0_u32;
    while !holds() {
        spins += 1;
        if spins % 64 == 0 { thread::yield_now() } else { std::hint::spin_loop() }
    }
}

/// Runs two actors at once, one of them on this thread.
fn race<A: Send, B>(round: usize, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B) -> (A, B) {
    let missing = AtomicUsize::new(2);
    let done = [const { AtomicBool::new(false) }; 2];
    let begin = |me: usize| {
        missing.fetch_sub(1, Ordering::SeqCst);
        wait_until(|| missing.load(Ordering::SeqCst) == 0);
        match round / 2 % SKEWS {
            _ if round % 2 != me => {}
            step if step == SKEWS - 1 => wait_until(|| done[1 - me].load(Ordering::SeqCst)),
            step => (0..step).for_each(|_| {
                (0..PAUSES).for_each(|_| std::hint::spin_loop());
                // Where there is one core, the other is to come first too.
                thread::yield_now();
            }),
        }
        Done(&done[me])
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let _done = begin(0);
            a()
        });
        let b = {
            let _done = begin(1);
            b()
        };
        let a = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (a, b)
    })
}

fn racing_creates_under_one_key_get_different_keys<S: Subject>(trial: &Trial<S>) -> Verdict {
    for round in 0..trial.rounds {
        let wanted = trial.store.planted_key();
        let create = |value| trial.store.create_under(&wanted, value);
        let (one, two) = race(round, || create(1), || create(2));
        let (one, two) = (needs(one)?, needs(two)?);
        ensure(one != two, "two sessions got the same key")?;
        let found = (trial.value(&one), trial.value(&two));
        ensure(found == (Some(1), Some(2)), "a new session was overwritten by another")?;
    }
    Ok(())
}

fn save_racing_a_destroy_brings_nothing_back<S: Subject>(trial: &Trial<S>) -> Verdict {
    for round in 0..trial.rounds {
        let key = trial.create(1);
        let handle = trial.load(&key)?;
        race(round, || trial.save(handle, 2), || trial.store.destroy(&key));
        trial.is_gone(&key, "a save brought a destroyed session back")?;
    }
    Ok(())
}

fn save_racing_a_rotation_leaves_one_good_key<S: Subject>(trial: &Trial<S>) -> Verdict {
    for round in 0..trial.rounds {
        let old = trial.create(1);
        let (late, handle) = (trial.load(&old)?, trial.load(&old)?);
        let ((), new) = race(round, || trial.save(late, 2), || trial.store.rotate(handle));
        trial.is_gone(&old, "a save made the old key good again")?;
        ensure(trial.value(&new).is_some(), "the rotated session was lost")?;
    }
    Ok(())
}

/// Whoever rotates is the first to know the new key. So a session that is good under both keys or neither, until
/// then, shows to no load: what shows are loads after it, and what else meets the rotation, below.
fn loads_after_a_rotation_find_the_new_key_only_on_any_thread<S: Subject>(
    trial: &Trial<S>,
) -> Verdict {
    for _ in 0..trial.rounds {
        let old = trial.create(1);
        let handle = trial.load(&old)?;
        let (is_looking, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let new = OnceLock::new();
        let look = || {
            // Whatever the store keeps for each thread has the old key now, and gets it during the rotation.
            for _ in 0..LOOKS {
                let _begun = Done(&is_looking);
                drop(trial.store.load(&old));
            }
            wait_until(|| is_over.load(Ordering::SeqCst));
            let is_found = |key| trial.store.load(key).is_some();
            (is_found(&old), new.get().is_some_and(is_found))
        };
        let found = thread::scope(|scope| {
            let other = scope.spawn(look);
            wait_until(|| is_looking.load(Ordering::SeqCst));
            let over = Done(&is_over);
            new.get_or_init(|| trial.store.rotate(handle));
            drop(over);
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        ensure(!found.0, "the old key is still good for another thread")?;
        ensure(found.1, "another thread does not find the new key")?;
    }
    Ok(())
}

/// Only of a store that refuses to rotate what was rotated: where the framework's way is to end a session and create
/// another, whoever comes too late creates one too.
fn racing_rotations_leave_one_good_key<S: Subject>(trial: &Trial<S>) -> Verdict {
    let old = trial.create(1);
    let (first, late) = (trial.load(&old)?, trial.load(&old)?);
    trial.store.rotate(first);
    let refused = trial.value(&trial.store.rotate(late)).is_none();
    needs(refused.then_some(()))?;
    for round in 0..trial.rounds {
        let old = trial.create(1);
        let (one, two) = (trial.load(&old)?, trial.load(&old)?);
        let (one, two) = race(round, || trial.store.rotate(one), || trial.store.rotate(two));
        let good = [&one, &two].map(|key| trial.value(key).is_some());
        ensure(good != [false; 2], "the rotated session was lost")?;
        ensure(good != [true; 2] || one == two, "two rotations made two sessions of one")?;
        [one, two].iter().for_each(|key| trial.store.destroy(key));
    }
    Ok(())
}

/// Only of a store that refuses to rotate what was cleared, as above.
fn rotation_racing_a_clearing_brings_nothing_back<S: Subject>(trial: &Trial<S>) -> Verdict {
    let late = trial.load(&trial.create(1))?;
    needs(trial.store.clear())?;
    let refused = trial.value(&trial.store.rotate(late)).is_none();
    needs(refused.then_some(()))?;
    for round in 0..trial.rounds {
        let handle = trial.load(&trial.create(1))?;
        let (new, cleared) = race(round, || trial.store.rotate(handle), || trial.store.clear());
        needs(cleared)?;
        trial.is_gone(&new, "a session survived the clearing of the store by a rotation")?;
    }
    Ok(())
}

fn save_racing_a_clearing_brings_nothing_back<S: Subject>(trial: &Trial<S>) -> Verdict {
    for round in 0..trial.rounds {
        let key = trial.create(1);
        let handle = trial.load(&key)?;
        let ((), cleared) = race(round, || trial.save(handle, 2), || trial.store.clear());
        needs(cleared)?;
        trial.is_gone(&key, "a save brought a session back into a cleared store")?;
    }
    Ok(())
}

fn touch_racing_a_destroy_brings_nothing_back<S: Subject>(trial: &Trial<S>) -> Verdict {
    for round in 0..trial.rounds {
        let key = trial.create(1);
        let (touched, ()) =
            race(round, || trial.store.touch(&key, LONG), || trial.store.destroy(&key));
        needs(touched)?;
        trial.is_gone(&key, "a touch brought a destroyed session back")?;
    }
    Ok(())
}

fn load_racing_a_save_finds_the_old_or_the_new<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(0);
    for round in 0..trial.rounds {
        let value = round as u64 + 1;
        let handle = trial.load(&key)?;
        let look = || (0..LOOKS).map(|_| trial.value(&key)).collect::<Vec<_>>();
        let (found, ()) = race(round, look, || trial.save(handle, value));
        let expected = |found: &Option<u64>| *found == Some(value - 1) || *found == Some(value);
        let all = found.iter().all(expected) && found.is_sorted();
        ensure(all, "a load during a save found neither what was nor what is")?;
    }
    Ok(())
}

fn one_of_two_racing_saves_unless_changed_is_refused<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(0);
    for round in 0..trial.rounds {
        let values = [1, 2].map(|number| 10 * round as u64 + number);
        let (mut one, mut two) = (trial.load(&key)?, trial.load(&key)?);
        S::set(&mut one, values[0]);
        S::set(&mut two, values[1]);
        let save = |handle| trial.store.save_unless_changed(handle);
        let (one, two) = race(round, || save(one), || save(two));
        let (one, two) = (needs(one)?, needs(two)?);
        ensure(one || two, "of two saves each was refused for the other")?;
        ensure(!(one && two), "two saves were accepted of which one had not seen the other")?;
        let kept = Some(values[usize::from(two)]);
        ensure(trial.value(&key) == kept, "the save that was accepted is not what is loaded")?;
    }
    Ok(())
}

fn racing_additions_all_count<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(0);
    for round in 0..trial.rounds {
        let add = |number| trial.store.add(&key, number);
        let (one, two) = race(round, || add(1), || add(1000));
        ensure(needs(one)? && needs(two)?, "an addition to a live session was refused")?;
        let sum = 1001 * (round as u64 + 1);
        ensure(trial.value(&key) == Some(sum), "an addition was lost, or was counted twice")?;
    }
    Ok(())
}

fn addition_racing_a_destroy_brings_nothing_back<S: Subject>(trial: &Trial<S>) -> Verdict {
    for round in 0..trial.rounds {
        let key = trial.create(1);
        let (added, ()) = race(round, || trial.store.add(&key, 1), || trial.store.destroy(&key));
        needs(added)?;
        trial.is_gone(&key, "an addition brought a destroyed session back")?;
    }
    Ok(())
}

/// Lets an act on a session meet the sweep as the session's end comes, and returns what it did, and whether in time.
///
/// By turns the sweeping thread moves the clock before it looks, and the other one after its act: there the act is
/// always in time, and the sweep may have begun before it.
fn race_the_sweep<S: Subject, B>(
    trial: &Trial<S>,
    turn: usize,
    act: impl FnOnce() -> B,
) -> Result<(B, bool), Failure> {
    let sweeper_moves = turn % 2 == 0;
    let advance = |moves: bool| {
        if moves {
            trial.clock.advance(LONG / 2)
        }
    };
    let before = trial.clock.elapsed();
    let sweep = || {
        advance(sweeper_moves);
        trial.store.sweep()
    };
    let act = || {
        let done = act();
        let in_time = trial.clock.elapsed() == before;
        advance(!sweeper_moves);
        (done, in_time)
    };
    let (swept, done) = race(turn / 2, sweep, act);
    needs(swept)?;
    Ok(done)
}

fn save_racing_the_sweep_is_kept_or_refused<S: Subject>(trial: &Trial<S>) -> Verdict {
    for turn in 0..2 * trial.rounds {
        let key = trial.store.create(1, Lifetime::For(LONG / 2));
        let handle = trial.load(&key)?;
        let ((), in_time) = race_the_sweep(trial, turn, || trial.save(handle, 2))?;
        let found = trial.value(&key);
        ensure(!in_time || found == Some(2), "a session that was saved in time was swept")?;
        ensure(found.is_none() || found == Some(2), "a session lives with its data of before")?;
        needs(trial.store.sweep())?;
        ensure(found == trial.value(&key), "a session was there and then swept, or came back")?;
    }
    Ok(())
}

fn touch_racing_the_sweep_is_kept_or_refused<S: Subject>(trial: &Trial<S>) -> Verdict {
    for turn in 0..2 * trial.rounds {
        let key = trial.store.create(1, Lifetime::For(LONG / 2));
        let touch = || (trial.store.touch(&key, LONG), trial.value(&key).is_some());
        let ((touched, seen), in_time) = race_the_sweep(trial, turn, touch)?;
        needs(touched)?;
        let found = trial.value(&key).is_some();
        ensure(!in_time || found, "a session that was touched in time was swept")?;
        ensure(!seen || found, "a session was found after it was touched, and then swept")?;
        trial.store.destroy(&key);
    }
    Ok(())
}

fn loads_during_a_sweep_find_every_live_session<S: Subject>(trial: &Trial<S>) -> Verdict {
    for round in 0..trial.rounds.div_ceil(20) {
        (0..100).for_each(|value| drop(trial.store.create(value, Lifetime::For(LONG / 2))));
        let live: Vec<_> = (0..100).map(|value| trial.create(value)).collect();
        trial.clock.advance(LONG / 2);
        let find_all = || live.iter().all(|key| trial.value(key).is_some());
        let (swept, found) = race(round, || trial.store.sweep(), find_all);
        needs(swept)?;
        ensure(found, "a live session was not found while the store was swept")?;
    }
    Ok(())
}
