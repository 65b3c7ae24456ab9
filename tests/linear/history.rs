//! Owns the judgement of recorded windows of one subject's sessions, and what is counted of them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cloakroom::SessionId;

use super::check::{check, explain};
use super::standing::{Act, Event, Visit};

/// What was recorded, and judged to be possible.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) operations: u64,
    /// Operations that overlapped another.
    pub(crate) overlapping: u64,
    /// Operations by name and outcome.
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    /// Sessions left in the store after all that may live were ended.
    pub(crate) leaked: usize,
}

/// A list or a revocation: whom it named, and whom it was to keep. Of all others it says that they were not
/// the subject's.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) named: Vec<SessionId>,
    pub(crate) keep: Option<SessionId>,
}

/// An operation as it was recorded.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) name: &'static str,
    pub(crate) call: u64,
    pub(crate) ret: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) told: Option<Told>,
}

/// The window that is being collected, and what is known from before it.
pub(crate) struct History {
    pub(crate) window: Vec<Taken>,
    states: Vec<Vec<Visit>>,
    /// The numbers of the sessions that ids stand for.
    numbers: BTreeMap<SessionId, u64>,
    pub(crate) report: Report,
    pub(crate) refused: Option<String>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self {
            window: Vec::new(),
            states: vec![Vec::new()],
            numbers: BTreeMap::new(),
            report: Report::default(),
            refused: None,
        }
    }

    /// Returns every id under which a session may live after the window.
    pub(crate) fn may_live(&self) -> BTreeSet<SessionId> {
        let new =
            self.window.iter().flat_map(|taken| &taken.events).filter_map(|event| match event {
                Event::Created(visit) => Some(visit.id),
                Event::Rotated(_, new) => Some(*new),
                _ => None,
            });
        self.states.iter().flatten().map(|visit| visit.id).chain(new).collect()
    }

    /// Judges the window, and what was done after it while all was quiet.
    pub(crate) fn judge(&mut self, limit: u64, audit: Vec<Taken>) {
        let mut window = std::mem::take(&mut self.window);
        window.sort_unstable_by_key(|taken| taken.call);
        self.count(&window);
        window.extend(audit);
        self.learn(&window);
        let acts = match self.acts(&window) {
            Ok(acts) => acts,
            Err(reason) => {
                self.refused = Some(reason);
                return;
            }
        };
        match check(limit, &self.states, &acts) {
            Ok(states) => self.states = states,
            Err(placed) => self.refused = Some(explain(&self.states, &acts, placed)),
        }
        let live = self.may_live();
        self.numbers.retain(|id, _| live.contains(id));
    }

    fn count(&mut self, window: &[Taken]) {
        for (i, taken) in window.iter().enumerate() {
            let meets = |(j, other): (usize, &Taken)| {
                i != j && taken.call < other.ret && other.call < taken.ret
            };
            self.report.operations += 1;
            self.report.overlapping += u64::from(window.iter().enumerate().any(meets));
            *self.report.outcomes.entry(taken.name).or_default() += 1;
        }
    }

    /// Takes note of whom ids stand for. An id is known to others only after who made it has returned, so that
    /// the order of the calls will do.
    fn learn(&mut self, window: &[Taken]) {
        for event in window.iter().flat_map(|taken| &taken.events) {
            match event {
                Event::Created(visit) => _ = self.numbers.insert(visit.id, visit.number),
                Event::Rotated(old, new) => {
                    let number = self.numbers.get(old).copied();
                    self.numbers.extend(number.map(|number| (*new, number)));
                }
                _ => {}
            }
        }
    }

    /// Takes the operations apart, each into what it says of one session.
    fn acts(&self, window: &[Taken]) -> Result<Vec<Act>, String> {
        let mut acts = Vec::new();
        for taken in window {
            let act = |event| Act { event, call: taken.call, ret: taken.ret };
            acts.extend(taken.events.iter().copied().map(act));
            let Some(Told { named, keep }) = &taken.told else { continue };
            let (mut numbers, mut ids) = (BTreeSet::new(), HashSet::new());
            for id in named {
                let number = self.numbers.get(id).filter(|_| ids.insert(*id));
                let Some(number) = number.copied() else {
                    return Err(format!("{taken:?} names one twice, or one that nobody made"));
                };
                // Under another id, once more: what is promised once was the subject's throughout.
                if !numbers.insert(number) {
                    acts.push(act(Event::NotSubjects(number)));
                }
            }
            let kept = keep.and_then(|keep| Some((*self.numbers.get(&keep)?, keep)));
            if let Some((number, keep)) = kept.filter(|(number, _)| !numbers.insert(*number)) {
                acts.push(act(Event::NotKept(number, keep)));
            }
            let others = self.numbers.values().filter(|number| !numbers.contains(number));
            let others: BTreeSet<_> = others.copied().collect();
            acts.extend(others.into_iter().map(|number| act(Event::NotSubjects(number))));
        }
        Ok(acts)
    }
}
