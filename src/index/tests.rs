use std::collections::{HashSet, VecDeque};

use super::*;

impl Index {
    /// Returns the memory that is in use, the allocator's own share left out.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|lists| lists.lock().bytes()).sum()
    }

    /// Keeps everybody out.
    pub(crate) fn hold(&self) -> Vec<impl Sized + use<'_>> {
        self.shards.iter().map(|lists| lists.lock()).collect()
    }
}

fn id(number: u32) -> SessionId {
    SessionId::from_bits(number.into())
}

fn ids(index: &Index, at: &Located) -> Vec<SessionId> {
    index.sessions(at).into_iter().map(|(_, id)| id).collect()
}

/// A generator whose numbers are the same in each run.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut state = 1_u64;
    move |below| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

#[test]
fn lists_are_what_plain_lists_would_be() {
    // Subjects of one session, and some of hundreds; more and then fewer than the buckets are for.
    let index = Index::new(2);
    let subjects: Vec<_> = (0..600_u32).map(|n| index.locate(&Subject::from(n))).collect();
    let mut lists = vec![VecDeque::new(); subjects.len()];
    let mut number = numbers();
    for step in 0..60_000_u32 {
        let whose = if number(2) == 0 { number(5) } else { number(subjects.len()) };
        let (at, list) = (&subjects[whose], &mut lists[whose]);
        let growing = step / 15_000 % 2 == 0;
        match number(8) {
            0..=4 if growing => {
                let slot = index.add(at, id(step), 7, usize::MAX).unwrap();
                list.push_front((slot, id(step)));
            }
            5 if !list.is_empty() => {
                let place = number(list.len());
                index.rename(list[place].0, id(step));
                list[place].1 = id(step);
            }
            _ if !list.is_empty() => {
                let (slot, id) = list.remove(number(list.len())).unwrap();
                if number(2) == 0 {
                    assert_eq!(index.strike(slot, at, id), Standing::Gone);
                }
                index.remove(slot);
            }
            _ => {}
        }
        if step % 5_000 == 0 {
            for (at, list) in subjects.iter().zip(&lists) {
                assert!(index.sessions(at).iter().eq(list));
            }
        }
    }
    for (slot, _) in lists.into_iter().flatten() {
        assert_eq!(index.born(slot), Some(7));
        index.remove(slot);
    }
    assert!(index.is_bare());
}

#[test]
fn walk_meets_what_stays_once_and_nothing_that_comes() {
    let index = Index::new(2);
    let at = index.locate(&Subject::from(1));
    let slots: Vec<_> = (0..300).map(|n| index.add(&at, id(n), 0, usize::MAX).unwrap()).collect();
    let mut walk = index.walk(&at).unwrap();
    let mut met = Vec::new();
    for step in 0.. {
        // Before the walk, at it, and behind it.
        index.add(&at, id(1000 + step), 0, usize::MAX).unwrap();
        index.remove(slots[299 - step as usize * 7]);
        index.remove(slots[step as usize * 7]);
        if !walk.step(&mut met) {
            break;
        }
        assert!(met.len() <= STEP * (step as usize + 1));
    }
    drop(walk);
    let met: Vec<_> = met.into_iter().map(|(_, id)| id).collect();
    let left = ids(&index, &at);
    assert!(
        left.iter().filter(|old| **old < id(1000)).all(|old| met
            .iter()
            .filter(|it| *it == old)
            .count()
            == 1)
    );
    assert!(met.iter().all(|it| *it < id(1000)));
    assert!(met.is_sorted_by(|a, b| a > b), "the newest first");
}

#[test]
fn walk_goes_on_when_whom_it_was_to_meet_next_has_left() {
    let index = Index::new(1);
    let at = index.locate(&Subject::from(1));
    for _ in 0..3 * STEP {
        index.add(&at, id(1), 0, usize::MAX).unwrap();
    }
    let sessions = index.sessions(&at);
    let mut walk = index.walk(&at).unwrap();
    let mut met = Vec::new();
    assert!(walk.step(&mut met));
    index.remove(sessions[STEP].0);
    while walk.step(&mut met) {}
    assert_eq!(met, [&sessions[..STEP], &sessions[STEP + 1..]].concat());
}

#[test]
fn walks_of_one_list_do_not_meet_each_other() {
    let index = Index::new(2);
    let at = index.locate(&Subject::from(1));
    assert!(index.walk(&at).is_none());
    let slot = index.add(&at, id(1), 0, 1).unwrap();
    let (mut one, mut two) = (index.walk(&at).unwrap(), index.walk(&at).unwrap());
    assert_eq!(
        index.add(&at, id(2), 0, 1),
        Err(Full),
        "markers are no sessions, and sessions count"
    );
    let mut met = Vec::new();
    while one.step(&mut met) {}
    while two.step(&mut met) {}
    assert_eq!(met, [(slot, id(1)), (slot, id(1))]);
    let other = index.add(&at, id(2), 0, 2).unwrap();
    assert!(index.is_full(&at, 2) && !index.is_full(&at, 3));
    [slot, other].iter().for_each(|slot| _ = index.remove(*slot));
    drop((one, two));
    assert!(index.is_bare());
}

#[test]
fn node_that_was_struck_out_is_not_given_out_again_before_its_session_is_let_go() {
    let index = Index::new(2);
    let at = index.locate(&Subject::from(1));
    let slot = index.add(&at, id(1), 0, 1).unwrap();
    assert_eq!(index.strike(slot, &at, id(2)), Standing::Renamed(id(1)));
    assert_eq!(index.standing(slot, &at, id(2)), Standing::Renamed(id(1)));
    assert_eq!(index.standing(slot, &at, id(1)), Standing::Here);
    assert_eq!(index.strike(slot, &at, id(1)), Standing::Gone);
    assert_eq!(index.standing(slot, &at, id(1)), Standing::Gone);
    let other = index.add(&at, id(1), 0, 1).unwrap();
    assert_ne!(other, slot);
    index.remove(slot);
    assert_eq!(ids(&index, &at), [id(1)]);
    index.remove(other);
    assert!(index.is_bare());
}

#[test]
fn session_stays_where_its_subject_is_the_same() {
    let index = Index::new(2);
    let [a, b] = [1, 2].map(|n| index.locate(&Subject::from(n)));
    let slot = index.add(&a, id(1), 5, 1).unwrap();
    let guest = index.add(&index.among_guests(id(3)), id(3), 6, 1).unwrap();
    let elsewhere = index.among_guests(id(2));
    assert_eq!(index.born_elsewhere(slot, &a), None);
    assert_eq!(index.born_elsewhere(slot, &b), Some(5));
    assert_eq!(index.born_elsewhere(slot, &elsewhere), Some(5));
    assert_eq!(index.born_elsewhere(guest, &elsewhere), None, "all guests are in one place");
    assert_eq!(index.born_elsewhere(guest, &a), Some(6));
    [slot, guest].iter().for_each(|slot| _ = index.remove(*slot));
    assert!(index.is_bare());
}

#[test]
fn index_takes_at_most_forty_bytes_for_a_session_of_each_subject() {
    let index = Index::new(64);
    for n in 0..1_000_000_u32 {
        index.add(&index.locate(&Subject::from(n)), id(n), 0, usize::MAX).unwrap();
    }
    let bytes = index.bytes();
    assert!(bytes <= 40_000_000, "{bytes} bytes");
}

/// Numbers for ids whose guests are all kept in the first of two shards.
fn guest(number: u32) -> SessionId {
    id(number * 2)
}

#[test]
fn guests_come_up_in_turn_and_the_newest_last() {
    let index = Index::new(2);
    let (mut ring, mut number) = (VecDeque::new(), numbers());
    for step in 0..20_000 {
        match number(5) {
            0 | 1 if ring.len() < 40 => {
                let at = index.among_guests(guest(step));
                ring.push_back((index.add(&at, guest(step), 0, 1).unwrap(), guest(step)));
            }
            2 if !ring.is_empty() => {
                let (slot, _) = ring.remove(number(ring.len())).unwrap();
                index.remove(slot);
            }
            3 => {
                let (most, mut sample) = (number(50) + 1, Vec::new());
                let sessions = index.sample_guests(most, &mut sample);
                let seen = most.min(ring.len());
                assert!(sample.iter().eq(ring.iter().take(seen)));
                assert_eq!(sessions, (seen < most).then_some(0));
                ring.rotate_left(seen);
            }
            _ => {}
        }
    }
    ring.into_iter().for_each(|(slot, _)| _ = index.remove(slot));
    assert!(index.is_bare());
}

#[test]
fn sample_of_several_shards_is_no_larger_than_was_asked_for() {
    let index = Index::new(4);
    (0..100).for_each(|n| _ = index.add(&index.among_guests(id(n)), id(n), 0, 1).unwrap());
    let mut sample = Vec::new();
    assert_eq!(index.sample_guests(40, &mut sample), None);
    assert_eq!(sample.len(), 40);
}

#[test]
fn looks_for_guests_begin_in_every_shard_in_turn() {
    let index = Index::new(4);
    (0..100).for_each(|n| _ = index.add(&index.among_guests(id(n)), id(n), 0, 1).unwrap());
    let mut sample = Vec::new();
    (0..4).for_each(|_| _ = index.sample_guests(sample.len() + 1, &mut sample));
    let shards: HashSet<_> = sample.iter().map(|(slot, _)| index.split(*slot).0).collect();
    assert_eq!(shards.len(), 4);
}

#[test]
fn no_subject_is_taken_for_a_guest() {
    assert_ne!(Key::new(0, u16::MAX), Key::GUEST);
}

#[test]
fn weight_goes_with_its_session_and_leaves_no_memory() {
    let index = Index::new(2);
    let at = index.locate(&Subject::from(1));
    let slots: Vec<_> = (0..200).map(|n| index.add(&at, id(n), 0, usize::MAX).unwrap()).collect();
    (1..).zip(&slots).for_each(|(weight, slot)| index.set_weight(*slot, weight));
    for (weight, slot) in (1..).zip(&slots) {
        assert_eq!(
            (index.weight(*slot), index.remove(*slot), index.weight(*slot)),
            (weight, weight, 0)
        );
    }
    assert!(index.is_bare());
}

#[test]
fn sessions_that_nobody_weighs_take_no_memory_for_weights() {
    let index = Index::new(1);
    let at = index.locate(&Subject::from(1));
    let slots: Vec<_> = (0..10).map(|n| index.add(&at, id(n), 0, usize::MAX).unwrap()).collect();
    let before = index.bytes();
    index.remove(slots[3]);
    assert_eq!(index.bytes(), before);
}

#[test]
fn memory_comes_back_when_most_have_left_and_is_used_again() {
    let index = Index::new(1);
    let bytes = || index.bytes();
    let add = |n: u32| index.add(&index.locate(&Subject::from(n)), id(n), 0, usize::MAX).unwrap();
    let mut slots: VecDeque<_> = (0..10_000).map(add).collect();
    let most = bytes();
    // As many leave as come, and the memory of those that left is that of those that come.
    let mut number = numbers();
    for n in 10_000..60_000 {
        index.remove(slots.swap_remove_back(number(slots.len())).unwrap());
        slots.push_back(add(n));
    }
    assert!(bytes() <= most * 5 / 4, "{} bytes, where {most} were enough before", bytes());
    let last = slots.pop_back().unwrap();
    slots.into_iter().for_each(|slot| _ = index.remove(slot));
    // Whoever leaves allocates nothing, and so no smaller place for the rest either; whoever comes does.
    let next = add(60_000);
    assert!(bytes() <= most / 50, "{} bytes for two of ten thousand", bytes());
    [last, next].iter().for_each(|slot| _ = index.remove(*slot));
    assert!(index.is_bare());
}
