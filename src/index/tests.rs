use std::collections::VecDeque;

use super::*;

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
    index.remove(slot);
    drop((one, two));
    assert!(index.is_bare());
}

#[test]
fn node_that_was_struck_out_is_not_given_out_again_before_its_session_is_let_go() {
    let index = Index::new(2);
    let at = index.locate(&Subject::from(1));
    let slot = index.add(&at, id(1), 0, 1).unwrap();
    assert_eq!(index.strike(slot, &at, id(2)), Standing::Renamed(id(1)));
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
    let bytes = index.shards.iter().map(|lists| lists.lock().bytes()).sum::<usize>();
    assert!(bytes <= 40_000_000, "{bytes} bytes");
}
