//! Owns the checks that need neither a clock nor a second thread.

use super::{Check, LONG, Lifetime, Subject, Trial, Verdict, ensure, list, needs};

pub(super) fn all<S: Subject>() -> Vec<Check<S>> {
    list![false;
        created_session_is_found_with_its_data,
        no_key_is_handed_out_twice,
        taken_key_is_not_handed_out_again,
        planted_key_finds_nothing,
        malformed_key_is_a_plain_miss,
        saved_change_is_found,
        unsaved_change_is_not_found,
        last_of_two_saves_wins,
        destroyed_session_is_not_found,
        destroying_again_is_no_error_and_ends_nobody_else,
        save_after_destroy_brings_nothing_back,
        save_under_a_planted_key_creates_nothing,
        session_created_with_a_past_end_is_not_found,
        save_with_a_past_end_ends_the_session,
        save_after_the_end_brings_nothing_back,
        rotated_session_lives_under_the_new_key_only,
        save_under_the_old_key_after_a_rotation_brings_nothing_back,
        unsaved_change_of_a_rotated_session_does_not_show_under_the_old_key,
        cleared_store_is_empty_and_late_saves_leave_it_so,
        save_unless_changed_refuses_the_second_of_two,
        late_save_unless_changed_brings_nothing_back,
        addition_changes_what_is_there_and_brings_nothing_back,
    ]
}

/// Texts that are the key of no store: too short, too long, of other alphabets.
const MALFORMED: [&str; 9] = [
    "",
    "=",
    "malformed",
    "no such session at all",
    "AAAAAAAAAAAAAAAAAAAAAB",
    "%00%ff",
    "\u{0}",
    "пароль",
    "../../../../etc/passwd",
];

fn created_session_is_found_with_its_data<S: Subject>(trial: &Trial<S>) -> Verdict {
    let (seven, eight) = (trial.create(7), trial.create(8));
    let found = (trial.value(&seven), trial.value(&eight));
    ensure(found == (Some(7), Some(8)), "what was created is not what is loaded")
}

fn no_key_is_handed_out_twice<S: Subject>(trial: &Trial<S>) -> Verdict {
    let keys: Vec<_> = (0..100).map(|value| trial.create(value)).collect();
    let twice = keys.iter().enumerate().any(|(i, key)| keys[..i].contains(key));
    ensure(!twice, "two sessions got the same key")
}

fn taken_key_is_not_handed_out_again<S: Subject>(trial: &Trial<S>) -> Verdict {
    let taken = trial.create(7);
    let other = needs(trial.store.create_under(&taken, 8))?;
    ensure(other != taken, "a taken key was handed out again")?;
    ensure(trial.value(&taken) == Some(7), "a live session was overwritten by a new one")?;
    ensure(trial.value(&other) == Some(8), "the new session was not stored")
}

fn planted_key_finds_nothing<S: Subject>(trial: &Trial<S>) -> Verdict {
    trial.create(7);
    trial.is_gone(&trial.store.planted_key(), "a key that was never given found a session")
}

fn malformed_key_is_a_plain_miss<S: Subject>(trial: &Trial<S>) -> Verdict {
    trial.create(7);
    for text in MALFORMED {
        ensure(!needs(trial.store.finds_text(text))?, "a malformed key found a session")?;
    }
    Ok(())
}

fn saved_change_is_found<S: Subject>(trial: &Trial<S>) -> Verdict {
    let (key, other) = (trial.create(1), trial.create(10));
    for value in 2..5 {
        trial.save(trial.load(&key)?, value);
        ensure(trial.value(&key) == Some(value), "what was saved is not what is loaded")?;
    }
    ensure(trial.value(&other) == Some(10), "a save changed another session")
}

fn unsaved_change_is_not_found<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(1);
    let mut handle = trial.load(&key)?;
    S::set(&mut handle, 2);
    ensure(trial.value(&key) == Some(1), "a change shows to other requests before it is saved")?;
    drop(handle);
    ensure(trial.value(&key) == Some(1), "a change that was never saved stays")
}

fn last_of_two_saves_wins<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(0);
    let (mut first, mut second) = (trial.load(&key)?, trial.load(&key)?);
    S::set(&mut first, 1);
    S::set(&mut second, 2);
    trial.store.save(second, Lifetime::For(LONG));
    trial.store.save(first, Lifetime::For(LONG));
    ensure(trial.value(&key) == Some(1), "the last save did not win")
}

fn destroyed_session_is_not_found<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(7);
    trial.store.destroy(&key);
    trial.is_gone(&key, "a destroyed session was found")
}

fn destroying_again_is_no_error_and_ends_nobody_else<S: Subject>(trial: &Trial<S>) -> Verdict {
    let (key, other) = (trial.create(7), trial.create(8));
    trial.store.destroy(&key);
    trial.store.destroy(&key);
    trial.store.destroy(&trial.store.planted_key());
    ensure(trial.value(&other) == Some(8), "another session was ended")
}

fn save_after_destroy_brings_nothing_back<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(1);
    let handle = trial.load(&key)?;
    trial.store.destroy(&key);
    trial.save_late(handle, 2, &key, "a save brought a destroyed session back")
}

fn save_under_a_planted_key_creates_nothing<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.store.planted_key();
    let handle = needs(trial.store.forge(&key, 7))?;
    trial.store.save(handle, Lifetime::For(LONG));
    trial.is_gone(&key, "a key that the store never gave was adopted")
}

fn session_created_with_a_past_end_is_not_found<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.store.create(7, Lifetime::Over);
    trial.is_gone(&key, "a session was found after its end")
}

fn save_with_a_past_end_ends_the_session<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(7);
    trial.store.save(trial.load(&key)?, Lifetime::Over);
    trial.is_gone(&key, "a session was found after its end")
}

fn save_after_the_end_brings_nothing_back<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(7);
    let (handle, late) = (trial.load(&key)?, trial.load(&key)?);
    trial.store.save(handle, Lifetime::Over);
    trial.save_late(late, 8, &key, "a save brought an ended session back")
}

fn rotated_session_lives_under_the_new_key_only<S: Subject>(trial: &Trial<S>) -> Verdict {
    let old = trial.create(7);
    let new = trial.store.rotate(trial.load(&old)?);
    ensure(new != old, "the key stayed the same")?;
    ensure(trial.value(&new) == Some(7), "the session was lost")?;
    trial.is_gone(&old, "the old key is still good")
}

fn save_under_the_old_key_after_a_rotation_brings_nothing_back<S: Subject>(
    trial: &Trial<S>,
) -> Verdict {
    let old = trial.create(7);
    let late = trial.load(&old)?;
    let new = trial.store.rotate(trial.load(&old)?);
    trial.save_late(late, 8, &old, "a save made the old key good again")?;
    ensure(trial.value(&new) == Some(7), "a save under the old key changed the session")
}

fn unsaved_change_of_a_rotated_session_does_not_show_under_the_old_key<S: Subject>(
    trial: &Trial<S>,
) -> Verdict {
    let old = trial.create(7);
    let watching = trial.load(&old)?;
    let mut handle = trial.load(&old)?;
    S::set(&mut handle, 8);
    trial.store.rotate(handle);
    ensure(S::value(&watching) == 7, "what was written for the new key shows under the old one")
}

fn cleared_store_is_empty_and_late_saves_leave_it_so<S: Subject>(trial: &Trial<S>) -> Verdict {
    let keys: Vec<_> = (0..10).map(|value| trial.create(value)).collect();
    let late = trial.load(&keys[0])?;
    needs(trial.store.clear())?;
    let survived = "a session survived the clearing of the store";
    trial.save_late(late, 7, &keys[0], survived)?;
    for key in &keys {
        trial.is_gone(key, survived)?;
    }
    let after = trial.create(7);
    ensure(trial.value(&after) == Some(7), "a cleared store takes no session")
}

fn save_unless_changed_refuses_the_second_of_two<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(0);
    let (mut first, mut second) = (trial.load(&key)?, trial.load(&key)?);
    S::set(&mut first, 1);
    S::set(&mut second, 2);
    let saved = needs(trial.store.save_unless_changed(second))?;
    ensure(saved && trial.value(&key) == Some(2), "what nobody else had changed was not saved")?;
    let saved = needs(trial.store.save_unless_changed(first))?;
    ensure(!saved && trial.value(&key) == Some(2), "a save undid one that it had not seen")?;
    let mut third = trial.load(&key)?;
    S::set(&mut third, 3);
    let saved = needs(trial.store.save_unless_changed(third))?;
    ensure(saved && trial.value(&key) == Some(3), "what nobody else had changed was not saved")
}

fn late_save_unless_changed_brings_nothing_back<S: Subject>(trial: &Trial<S>) -> Verdict {
    let key = trial.create(1);
    let mut handle = trial.load(&key)?;
    trial.store.destroy(&key);
    S::set(&mut handle, 2);
    let save = || trial.store.save_unless_changed(handle);
    let saved = trial.brings_nothing(&key, "a save brought a destroyed session back", save)?;
    ensure(!needs(saved)?, "a save into a destroyed session was said to be one")
}

fn addition_changes_what_is_there_and_brings_nothing_back<S: Subject>(trial: &Trial<S>) -> Verdict {
    let (key, other) = (trial.create(7), trial.create(7));
    let added = needs(trial.store.add(&key, 10))?;
    ensure(added && trial.value(&key) == Some(17), "what was added is not what is loaded")?;
    ensure(trial.value(&other) == Some(7), "an addition changed another session")?;
    trial.store.destroy(&key);
    for key in [key, trial.store.planted_key()] {
        let add = || trial.store.add(&key, 10);
        let added = trial.brings_nothing(&key, "an addition brought a session into being", add)?;
        ensure(!needs(added)?, "an addition to no session was said to be one")?;
    }
    Ok(())
}
