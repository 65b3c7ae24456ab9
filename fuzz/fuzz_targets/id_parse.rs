//! Any text as an id: one canonical text for each id, everything else a plain miss that allocates
//! nothing.
#![no_main]

use cloakroom::{Expiry, SessionId, SessionStore};
use libfuzzer_sys::fuzz_target;

mod counting;

/// The one decoding of base64url without padding, written out bit by bit.
fn decode(text: &str) -> Option<Vec<bool>> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if text.chars().count() != 22 {
        return None;
    }
    let mut bits = Vec::new();
    for character in text.chars() {
        let value = ALPHABET.find(character)?;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1 == 1));
    }
    let surplus = bits.split_off(128);
    surplus.iter().all(|bit| !bit).then_some(bits)
}

fn misses(store: &SessionStore<u32>, text: &str) {
    assert!(store.load(text).is_none());
    assert!(store.peek(text).is_none());
    assert!(!store.contains(text));
    assert!(!store.touch(text));
    assert!(!store.destroy(text));
    assert!(!store.set_expiry(text, Expiry::Never));
    assert_eq!(store.expires_in(text), None);
    assert_eq!(store.update(text, |value| *value), None);
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mark = counting::Mark::now();
    let store = SessionStore::<u32>::builder().shards(2).build().expect("valid settings");
    let session = store.create();
    let mut parsed = None;
    let calls = counting::calls(|| {
        parsed = SessionId::parse(text);
        misses(&store, text);
    });
    assert_eq!(calls, 0, "a miss allocated");
    assert_eq!(parsed.is_some(), decode(text).is_some());
    if let Some(id) = parsed {
        assert_eq!(id.to_token().as_str(), text);
        assert_eq!(SessionId::parse(id.to_token().as_ref()), Some(id));
        assert!(!format!("{id:?}").contains(text));
    }
    assert_eq!((store.len(), store.contains(session.id())), (1, true));

    // The same text as a caller's id names one session, and is found by nothing else.
    let Ok(named) = store.try_create_with_id(text, 7) else { panic!("the id is free") };
    let id = *named.id();
    assert_eq!(parsed.unwrap_or(id), id);
    assert_eq!(store.load(text).map(|found| *found), Some(7));
    assert!(store.contains(id.to_token().as_ref()));
    misses(&store, &format!("{text}="));
    assert!(store.destroy(text) && !store.destroy(&id));
    assert_eq!(counting::calls(|| misses(&store, text)), 0, "a miss allocated");
    assert_eq!(store.len(), 1);
    mark.check(bytes.len(), 0);
});
