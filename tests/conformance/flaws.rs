//! Owns the list of flaws that a store may have, and which checks of the suite each fails.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// A save creates what is not there.
    SaveCreates,
    /// A save begins another session in place of what is not there.
    SaveBeginsAnother,
    SaveIsLost,
    /// A save leaves the end as it was.
    SaveKeepsTheEnd,
    /// A save takes the session out and puts it in again.
    SaveIsTorn,
    /// A handle is the stored session itself.
    HandlesAreShared,
    /// A save unless somebody else has saved saves whatever somebody else has saved.
    SaveSeesNoChange,
    /// It looks, and then saves.
    SaveLooksTooEarly,
    /// An addition puts in what it has taken out.
    AddIsTorn,
    AddCreates,
    /// A new session takes the place of whoever has the key.
    CreateOverwrites,
    CreateForgetsTheData,
    /// Only so many keys, and then the first again.
    FewKeys,
    DestroyDoesNothing,
    DestroyEndsAll,
    LoadIgnoresTheEnd,
    /// Any key finds a session.
    LoadFindsAnything,
    TouchCreates,
    TouchDoesNothing,
    RotateKeepsTheOldKey,
    RotateLosesTheSession,
    RotateForgetsTheEnd,
    /// A rotated session lives ten times as long.
    RotateProlongs,
    /// A rotated session lives a second.
    RotateCutsShort,
    /// Other threads find the old key as before.
    RotateShowsOnOneThread,
    /// The session is there under both keys for a while.
    RotateTakesOutLate,
    /// The session is there under neither key for a while.
    RotateIsTorn,
    ClearDoesNothing,
    /// Neither a sweep nor a create removes what has expired.
    NothingIsSwept,
    /// Only creates remove what has expired.
    SweepDoesNothing,
    SweepEndsAll,
    /// A sweep goes by the end that a session was created with.
    SweepGoesByTheFirstEnd,
    /// A sweep first gathers what has expired, and does not look again at a touch that was under way.
    SweepGathersFirst,
    /// A sweep goes by the ends of a while before, also for what has got another since.
    SweepGoesByEarlierEnds,
}

/// Each flaw, and exactly the checks that it fails.
pub(crate) const FLAWS: [(Flaw, &[&str]); 35] = [
    (Flaw::None, &[]),
    (
        Flaw::SaveCreates,
        &[
            "save_after_destroy_brings_nothing_back",
            "save_under_a_planted_key_creates_nothing",
            "save_after_the_end_brings_nothing_back",
            "save_under_the_old_key_after_a_rotation_brings_nothing_back",
            "cleared_store_is_empty_and_late_saves_leave_it_so",
            "late_save_unless_changed_brings_nothing_back",
            "save_after_expiry_brings_nothing_back",
            "save_racing_a_destroy_brings_nothing_back",
            "save_racing_a_rotation_leaves_one_good_key",
            "save_racing_a_clearing_brings_nothing_back",
        ],
    ),
    (
        Flaw::SaveBeginsAnother,
        &[
            "save_after_destroy_brings_nothing_back",
            "save_after_the_end_brings_nothing_back",
            "save_under_the_old_key_after_a_rotation_brings_nothing_back",
            "cleared_store_is_empty_and_late_saves_leave_it_so",
            "late_save_unless_changed_brings_nothing_back",
            "save_after_expiry_brings_nothing_back",
        ],
    ),
    (
        Flaw::SaveIsLost,
        &[
            "saved_change_is_found",
            "last_of_two_saves_wins",
            "save_with_a_past_end_ends_the_session",
            "save_after_the_end_brings_nothing_back",
            "save_unless_changed_refuses_the_second_of_two",
            "each_save_sets_the_end_anew",
            "load_racing_a_save_finds_the_old_or_the_new",
            "one_of_two_racing_saves_unless_changed_is_refused",
            "save_racing_the_sweep_is_kept_or_refused",
        ],
    ),
    (
        Flaw::SaveKeepsTheEnd,
        &[
            "save_with_a_past_end_ends_the_session",
            "save_after_the_end_brings_nothing_back",
            "each_save_sets_the_end_anew",
            "save_racing_the_sweep_is_kept_or_refused",
        ],
    ),
    (
        Flaw::SaveIsTorn,
        &[
            "save_racing_a_destroy_brings_nothing_back",
            "save_racing_a_rotation_leaves_one_good_key",
            "save_racing_a_clearing_brings_nothing_back",
            "load_racing_a_save_finds_the_old_or_the_new",
        ],
    ),
    (
        Flaw::HandlesAreShared,
        &[
            "unsaved_change_is_not_found",
            "last_of_two_saves_wins",
            "unsaved_change_of_a_rotated_session_does_not_show_under_the_old_key",
            "save_unless_changed_refuses_the_second_of_two",
            "one_of_two_racing_saves_unless_changed_is_refused",
        ],
    ),
    (
        Flaw::SaveSeesNoChange,
        &[
            "save_unless_changed_refuses_the_second_of_two",
            "one_of_two_racing_saves_unless_changed_is_refused",
        ],
    ),
    (Flaw::SaveLooksTooEarly, &["one_of_two_racing_saves_unless_changed_is_refused"]),
    (
        Flaw::AddIsTorn,
        &["racing_additions_all_count", "addition_racing_a_destroy_brings_nothing_back"],
    ),
    (
        Flaw::AddCreates,
        &[
            "addition_changes_what_is_there_and_brings_nothing_back",
            "addition_racing_a_destroy_brings_nothing_back",
        ],
    ),
    (
        Flaw::CreateOverwrites,
        &["taken_key_is_not_handed_out_again", "racing_creates_under_one_key_get_different_keys"],
    ),
    (
        Flaw::CreateForgetsTheData,
        &[
            "created_session_is_found_with_its_data",
            "taken_key_is_not_handed_out_again",
            "saved_change_is_found",
            "unsaved_change_is_not_found",
            "destroying_again_is_no_error_and_ends_nobody_else",
            "rotated_session_lives_under_the_new_key_only",
            "save_under_the_old_key_after_a_rotation_brings_nothing_back",
            "unsaved_change_of_a_rotated_session_does_not_show_under_the_old_key",
            "cleared_store_is_empty_and_late_saves_leave_it_so",
            "addition_changes_what_is_there_and_brings_nothing_back",
            "session_lives_until_its_end_and_not_longer",
            "each_save_sets_the_end_anew",
            "rotated_session_lives_to_its_end_or_its_lifetime_anew",
            "touch_moves_the_end",
            "sweep_removes_the_expired_and_nothing_else",
        ],
    ),
    (Flaw::FewKeys, &["no_key_is_handed_out_twice", "sweep_removes_the_expired_and_nothing_else"]),
    (
        Flaw::DestroyDoesNothing,
        &[
            "destroyed_session_is_not_found",
            "save_after_destroy_brings_nothing_back",
            "late_save_unless_changed_brings_nothing_back",
            "addition_changes_what_is_there_and_brings_nothing_back",
            "touch_brings_nothing_back",
            "save_racing_a_destroy_brings_nothing_back",
            "touch_racing_a_destroy_brings_nothing_back",
            "addition_racing_a_destroy_brings_nothing_back",
        ],
    ),
    (Flaw::DestroyEndsAll, &["destroying_again_is_no_error_and_ends_nobody_else"]),
    (
        Flaw::LoadIgnoresTheEnd,
        &[
            "session_created_with_a_past_end_is_not_found",
            "save_with_a_past_end_ends_the_session",
            "save_after_the_end_brings_nothing_back",
            "session_lives_until_its_end_and_not_longer",
            "each_save_sets_the_end_anew",
            "rotated_session_lives_to_its_end_or_its_lifetime_anew",
            "save_after_expiry_brings_nothing_back",
            "touch_moves_the_end",
            "touch_brings_nothing_back",
        ],
    ),
    (
        Flaw::LoadFindsAnything,
        &[
            "planted_key_finds_nothing",
            "malformed_key_is_a_plain_miss",
            "destroyed_session_is_not_found",
            "save_after_destroy_brings_nothing_back",
            "save_under_a_planted_key_creates_nothing",
            "session_created_with_a_past_end_is_not_found",
            "save_with_a_past_end_ends_the_session",
            "save_after_the_end_brings_nothing_back",
            "rotated_session_lives_under_the_new_key_only",
            "save_under_the_old_key_after_a_rotation_brings_nothing_back",
            "cleared_store_is_empty_and_late_saves_leave_it_so",
            "late_save_unless_changed_brings_nothing_back",
            "addition_changes_what_is_there_and_brings_nothing_back",
            "session_lives_until_its_end_and_not_longer",
            "each_save_sets_the_end_anew",
            "rotated_session_lives_to_its_end_or_its_lifetime_anew",
            "save_after_expiry_brings_nothing_back",
            "touch_moves_the_end",
            "touch_brings_nothing_back",
            "sweep_removes_the_expired_and_nothing_else",
            "save_racing_a_destroy_brings_nothing_back",
            "save_racing_a_rotation_leaves_one_good_key",
            "loads_after_a_rotation_find_the_new_key_only_on_any_thread",
            "save_racing_a_clearing_brings_nothing_back",
            "touch_racing_a_destroy_brings_nothing_back",
            "addition_racing_a_destroy_brings_nothing_back",
            "save_racing_the_sweep_is_kept_or_refused",
        ],
    ),
    (
        Flaw::TouchCreates,
        &["touch_brings_nothing_back", "touch_racing_a_destroy_brings_nothing_back"],
    ),
    (Flaw::TouchDoesNothing, &["touch_moves_the_end", "touch_racing_the_sweep_is_kept_or_refused"]),
    (
        Flaw::RotateKeepsTheOldKey,
        &[
            "rotated_session_lives_under_the_new_key_only",
            "save_under_the_old_key_after_a_rotation_brings_nothing_back",
            "save_racing_a_rotation_leaves_one_good_key",
            "loads_after_a_rotation_find_the_new_key_only_on_any_thread",
        ],
    ),
    (
        Flaw::RotateLosesTheSession,
        &[
            "rotated_session_lives_under_the_new_key_only",
            "save_under_the_old_key_after_a_rotation_brings_nothing_back",
            "rotated_session_lives_to_its_end_or_its_lifetime_anew",
            "save_racing_a_rotation_leaves_one_good_key",
            "loads_after_a_rotation_find_the_new_key_only_on_any_thread",
            "racing_rotations_leave_one_good_key",
        ],
    ),
    (Flaw::RotateForgetsTheEnd, &["rotated_session_lives_to_its_end_or_its_lifetime_anew"]),
    (Flaw::RotateProlongs, &["rotated_session_lives_to_its_end_or_its_lifetime_anew"]),
    (Flaw::RotateCutsShort, &["rotated_session_lives_to_its_end_or_its_lifetime_anew"]),
    (Flaw::RotateShowsOnOneThread, &["loads_after_a_rotation_find_the_new_key_only_on_any_thread"]),
    (Flaw::RotateTakesOutLate, &["racing_rotations_leave_one_good_key"]),
    (Flaw::RotateIsTorn, &["rotation_racing_a_clearing_brings_nothing_back"]),
    (
        Flaw::ClearDoesNothing,
        &[
            "cleared_store_is_empty_and_late_saves_leave_it_so",
            "save_racing_a_clearing_brings_nothing_back",
        ],
    ),
    (
        Flaw::NothingIsSwept,
        &["sweep_removes_the_expired_and_nothing_else", "expired_sessions_do_not_pile_up"],
    ),
    (Flaw::SweepDoesNothing, &["sweep_removes_the_expired_and_nothing_else"]),
    (
        Flaw::SweepEndsAll,
        &[
            "sweep_removes_the_expired_and_nothing_else",
            "save_racing_the_sweep_is_kept_or_refused",
            "touch_racing_the_sweep_is_kept_or_refused",
            "loads_during_a_sweep_find_every_live_session",
        ],
    ),
    (
        Flaw::SweepGoesByTheFirstEnd,
        &["save_racing_the_sweep_is_kept_or_refused", "touch_racing_the_sweep_is_kept_or_refused"],
    ),
    (Flaw::SweepGathersFirst, &["touch_racing_the_sweep_is_kept_or_refused"]),
    (
        Flaw::SweepGoesByEarlierEnds,
        &["save_racing_the_sweep_is_kept_or_refused", "touch_racing_the_sweep_is_kept_or_refused"],
    ),
];
