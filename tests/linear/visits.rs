//! Owns the recording of one subject's sessions: what real threads do to them, window by window.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use cloakroom::{CreateError, SaveError, SessionId};

use super::desk::{Desk, Visitor, take_revoked};
use super::history::{History, Report, Taken, Told};
use super::record::{Alarm, Meeting, THREADS};
use super::standing::{Event, Visit, Whose};

/// Operations of each thread in a window: with all their parts they stay within what the checker can have open.
const PER_WINDOW: usize = 3;

/// Ids that operations choose among: the last that were handed out.
const RECENT: usize = 8;

struct Field<D> {
    desk: D,
    limit: u64,
    stamps: AtomicU64,
    numbers: AtomicU64,
    recent: Mutex<Vec<SessionId>>,
    history: Mutex<History>,
    meeting: Meeting,
}

/// Records at least this many operations and judges them; or tells why they are refused.
pub(crate) fn run<D: Desk>(desk: D, limit: u64, operations: u64) -> Result<Report, String> {
    let field = Arc::new(Field {
        desk,
        limit,
        stamps: AtomicU64::new(0),
        numbers: AtomicU64::new(0),
        recent: Mutex::default(),
        history: Mutex::new(History::new()),
        meeting: Meeting::default(),
    });
    let windows = operations.div_ceil((THREADS * PER_WINDOW) as u64);
    let spawn = |index| {
        let field = Arc::clone(&field);
        thread::spawn(move || field.work(index, windows))
    };
    let threads: Vec<_> = (0..THREADS).map(spawn).collect();
    let joined: Vec<_> = threads.into_iter().map(thread::JoinHandle::join).collect();
    joined.into_iter().for_each(|result| result.expect("a recording thread panicked"));
    let mut history = field.history.lock().unwrap();
    let mut report = std::mem::take(&mut history.report);
    field.desk.store().retain(|_, _| false);
    report.leaked = field.desk.store().len() + field.desk.store().count_of(1);
    history.refused.take().map_or(Ok(report), Err)
}

impl<D: Desk> Field<D> {
    fn work(&self, index: usize, windows: u64) {
        let _alarm = Alarm(&self.meeting);
        let mut random = 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(index as u64 + 1);
        let mut log = Vec::new();
        for _ in 0..windows {
            (0..PER_WINDOW).for_each(|_| log.push(self.act(&mut random)));
            self.history.lock().unwrap().window.append(&mut log);
            self.meeting.wait();
            if index == 0 {
                self.judge();
            }
            self.meeting.wait();
            if self.history.lock().unwrap().refused.is_some() {
                break;
            }
        }
    }

    /// Does one operation, of a kind and on an id that are drawn by lot.
    fn act(&self, random: &mut u64) -> Taken {
        let mut draw = |below: usize| {
            // Xorshift: what is drawn only has to vary.
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            (*random >> 33) as usize % below
        };
        let (kind, choice) = (draw(100), draw(RECENT));
        let recent = self.recent.lock().unwrap();
        let id = recent.len().checked_sub(1).map(|last| recent[last - choice.min(last)]);
        drop(recent);
        match (kind, id) {
            (0..25, _) | (_, None) => self.create(true),
            (25..35, _) => self.create(false),
            (35..47, Some(id)) => self.sign_in(id),
            (47..55, Some(id)) => self.sign_out(id),
            (55..67, Some(id)) => self.destroy(id),
            (67..79, Some(id)) => self.rotate(id),
            (79..90, _) => self.list(),
            (90..95, _) => self.revoke(None),
            (_, Some(id)) => self.revoke(Some(id)),
        }
    }

    /// Runs one operation between two stamps: see `worker.rs`.
    fn time<R>(
        &self,
        operation: impl FnOnce() -> R,
        judge: impl FnOnce(R) -> (&'static str, Vec<Event>),
    ) -> Taken {
        take_revoked();
        let call = self.stamps.fetch_add(1, Ordering::SeqCst);
        let result = operation();
        let ret = self.stamps.fetch_add(1, Ordering::SeqCst);
        let displaced = take_revoked().into_iter().map(Event::Revoked);
        let (name, mut events) = judge(result);
        events.extend(displaced);
        Taken { name, call, ret, events, told: None }
    }

    fn publish(&self, id: SessionId) {
        let mut recent = self.recent.lock().unwrap();
        if recent.len() == RECENT {
            recent.remove(0);
        }
        recent.push(id);
    }

    fn create(&self, signed_in: bool) -> Taken {
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let create = || self.desk.create(Visitor { signed_in });
        let whose = if signed_in { Whose::Subjects } else { Whose::Guests };
        self.time(create, |created| match created {
            Ok(session) => {
                let id = *session.id();
                self.publish(id);
                let name = if signed_in { "create" } else { "create a guest" };
                (name, vec![Event::Created(Visit { number, id, whose })])
            }
            Err(CreateError::SubjectLimit { .. }) if signed_in => {
                ("create: limit", vec![Event::Rejected])
            }
            Err(error) => panic!("{error}"),
        })
    }

    fn sign_in(&self, id: SessionId) -> Taken {
        let sign_in = || self.desk.store().try_update(&id, |visitor| visitor.signed_in = true);
        self.time(sign_in, |result| match result {
            Ok(()) => ("sign in", vec![Event::SignedIn(id)]),
            Err(SaveError::SubjectLimit) => ("sign in: limit", vec![Event::NotSignedIn(id)]),
            Err(SaveError::Gone) => ("sign in: gone", vec![Event::Missed(id)]),
            Err(error) => panic!("{error}"),
        })
    }

    fn sign_out(&self, id: SessionId) -> Taken {
        let sign_out = || self.desk.store().try_update(&id, |visitor| visitor.signed_in = false);
        self.time(sign_out, |result| match result {
            Ok(()) => ("sign out", vec![Event::SignedOut(id)]),
            Err(SaveError::Gone) => ("sign out: gone", vec![Event::Missed(id)]),
            Err(error) => panic!("{error}"),
        })
    }

    fn destroy(&self, id: SessionId) -> Taken {
        self.time(
            || self.desk.store().destroy(&id),
            |destroyed| match destroyed {
                true => ("destroy", vec![Event::Destroyed(id)]),
                false => ("destroy: gone", vec![Event::Missed(id)]),
            },
        )
    }

    fn rotate(&self, id: SessionId) -> Taken {
        let rotate = || {
            let mut session = self.desk.store().load(&id)?;
            self.desk.store().rotate(&mut session).then(|| *session.id())
        };
        self.time(rotate, |new| match new {
            Some(new) => {
                self.publish(new);
                ("rotate", vec![Event::Rotated(id, new)])
            }
            None => ("rotate: gone", vec![Event::Missed(id)]),
        })
    }

    fn list(&self) -> Taken {
        let mut ids = Vec::new();
        let list = || self.desk.store().sessions_of(1);
        let taken = self.time(list, |sessions| {
            ids.extend(sessions.iter().map(|session| session.id));
            ("list", ids.iter().map(|id| Event::Listed(*id)).collect())
        });
        Taken { told: Some(Told { named: ids, keep: None }), ..taken }
    }

    fn revoke(&self, keep: Option<SessionId>) -> Taken {
        let mut ids = Vec::new();
        let revoke = || self.desk.revoke(keep.as_ref());
        let name = if keep.is_some() { "revoke others" } else { "revoke all" };
        let taken = self.time(revoke, |ended| {
            ids.extend(ended);
            (name, ids.iter().map(|id| Event::Revoked(*id)).collect())
        });
        Taken { told: Some(Told { named: ids, keep }), ..taken }
    }

    /// Looks at what may live, while all is quiet, ends the guests among it, and judges the window.
    fn judge(&self) {
        let mut history = self.history.lock().unwrap();
        let mut audit = vec![self.list()];
        for id in history.may_live() {
            if self.desk.store().peek(&id).is_some_and(|visitor| !visitor.signed_in) {
                audit.push(self.destroy(id));
            }
        }
        history.judge(self.limit, audit);
    }
}
