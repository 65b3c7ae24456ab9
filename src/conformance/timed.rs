//! Owns the checks that advance the clock.

use std::time::Duration;

use super::{Check, LONG, Lifetime, Subject, Trial, Verdict, ensure, list, needs};

pub(super) fn all<S: Subject>() -> Vec<Check<S>> {
    list![true;
        session_lives_until_its_end_and_not_longer,
        each_save_sets_the_end_anew,
        rotated_session_lives_to_its_end_or_its_lifetime_anew,
        save_after_expiry_brings_nothing_back,
        touch_moves_the_end,
        touch_brings_nothing_back,
        sweep_removes_the_expired_and_nothing_else,
        expired_sessions_do_not_pile_up,
    ]
}

/// What a session is short of its end when it must be there: more than a slow run of the suite takes,
/// because the frameworks' dates are those of the wall clock.
const MARGIN: Duration = Duration::from_secs(3600);

fn session_lives_until_its_end_and_not_longer<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(7);
    trial.clock.advance(LONG - MARGIN);
    ensure(trial.value(&key) == Some(7), "a session ended before its time")?;
    trial.clock.advance(MARGIN);
    trial.is_gone(&key, "an expired session was found")
}

fn each_save_sets_the_end_anew<S: Subject>(trial: &Trial<S>) -> Verdict {
    let (longer, shorter) = (trial.create(7), trial.create(8));
    trial.clock.advance(LONG / 2);
    trial.store.save(trial.load(&longer)?, Lifetime::For(LONG));
    trial.store.save(trial.load(&shorter)?, Lifetime::For(2 * MARGIN));
    trial.clock.advance(MARGIN);
    ensure(trial.value(&shorter) == Some(8), "a session ended before its time")?;
    trial.clock.advance(MARGIN);
    trial.is_gone(&shorter, "a save with an earlier end was not heeded")?;
    trial.clock.advance(LONG - 3 * MARGIN);
    ensure(trial.value(&longer) == Some(7), "a save with a later end was not heeded")?;
    trial.clock.advance(MARGIN);
    trial.is_gone(&longer, "an expired session was found")
}

fn rotated_session_lives_to_its_end_or_its_lifetime_anew<S: Subject>(trial: &Trial<S>) -> Verdict {
    let old = trial.create(7);
    trial.clock.advance(LONG / 2);
    let new = trial.store.rotate(trial.load(&old)?);
    trial.clock.advance(LONG / 2 - MARGIN);
    ensure(trial.value(&new) == Some(7), "a rotated session ended before its time")?;
    // The lifetime that is left in a framework's date is counted from the rotation, not from the create.
    trial.clock.advance(LONG / 2 + MARGIN);
    trial.is_gone(&new, "a rotated session outlived its time")
}

fn save_after_expiry_brings_nothing_back<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(7);
    let handle = trial.load(&key)?;
    trial.clock.advance(LONG);
    trial.save_late(handle, 8, &key, "a save brought an expired session back")
}

fn touch_moves_the_end<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(7);
    for _ in 0..4 {
        trial.clock.advance(LONG - MARGIN);
        needs(trial.store.touch(&key, LONG))?;
        ensure(trial.value(&key) == Some(7), "a touched session ended before its time")?;
    }
    trial.clock.advance(LONG);
    trial.is_gone(&key, "an expired session was found")
}

fn touch_brings_nothing_back<S: Subject>(trial: &Trial<S>) -> Verdict {
    let (destroyed, expired) = (trial.create(7), trial.create(8));
    trial.store.destroy(&destroyed);
    needs(trial.store.touch(&destroyed, LONG))?;
    needs(trial.store.touch(&trial.store.planted_key(), LONG))?;
    trial.is_gone(&destroyed, "a touch brought a destroyed session back")?;
    trial.clock.advance(LONG);
    needs(trial.store.touch(&expired, LONG))?;
    trial.is_gone(&expired, "a touch brought an expired session back")
}

fn sweep_removes_the_expired_and_nothing_else<S: Subject>(trial: &Trial<S>) -> Verdict {
    let expired: Vec<_> = (0..50).map(|value| trial.create(value)).collect();
    trial.clock.advance(LONG - MARGIN);
    let live: Vec<_> = (0..50).map(|value| trial.create(value)).collect();
    trial.clock.advance(MARGIN);
    needs(trial.store.sweep())?;
    for (value, key) in (0..).zip(&live) {
        ensure(trial.value(key) == Some(value), "a live session was swept")?;
    }
    for key in &expired {
        trial.is_gone(key, "an expired session was found")?;
    }
    ensure(
        trial.store.stored().is_none_or(|stored| stored == 50),
        "what has expired still takes memory",
    )
}

fn expired_sessions_do_not_pile_up<S: Subject>(trial: &Trial<S>) -> Verdict {
    needs(trial.store.stored())?;
    for _ in 0..20 {
        (0..100).for_each(|value| drop(trial.create(value)));
        trial.clock.advance(LONG);
    }
    let stored = needs(trial.store.stored())?;
    ensure(stored <= 400, "expired sessions stay in memory although the store is used")
}
