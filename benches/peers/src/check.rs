//! Owns the proof that a store does what is measured, before anything is measured.

use crate::peer::{Payload, Peer, Settings};

/// A text that is an id of no store, though it has the 22 characters of cloakroom's and
/// tower-sessions': so nothing can be said of it without reading it.
pub const MALFORMED: &str = "no such session at all";

/// Creates, loads, saves and destroys, and looks at what the store says.
pub fn run<P: Peer>() -> Result<(), String> {
    let store = P::open(&Settings::lasting(100));
    let ids: Vec<_> = (0..100).map(|next| store.create(Payload::naming(next))).collect();
    let named = |id| store.load(id).map(|handle| P::next(&handle));
    let all =
        ids.iter().enumerate().all(|(i, id)| named(id) == Some(i) && store.load(id).is_some());
    require::<P>(all, "loses what was created")?;

    let mut handle = store.load(&ids[7]).ok_or("it was there a moment ago")?;
    store.save(&mut handle, Payload::naming(99));
    require::<P>(named(&ids[7]) == Some(99), "loses what was saved")?;
    require::<P>(P::next(&handle) == 99, "does not change the handle")?;
    require::<P>(named(&ids[8]) == Some(8), "saves to another session")?;

    store.destroy(&ids[7]);
    require::<P>(named(&ids[7]).is_none(), "keeps what was destroyed")?;
    require::<P>(named(&P::unknown_id()).is_none(), "knows an unknown id")?;
    let malformed = store.load_malformed(MALFORMED);
    require::<P>(malformed != Some(true), "knows a malformed id")?;
    store.purge();
    require::<P>(store.stored().is_none_or(|stored| stored == 99), "miscounts")
}

fn require<P: Peer>(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{} {otherwise}: it cannot be measured", P::NAME)) }
}
