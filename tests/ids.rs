//! Ids: their one text form, ids that callers bring, and that all else is a plain miss.

use std::collections::HashSet;
use std::time::Duration;

use cloakroom::{CreateError, IdSource, ManualClock, SessionId, SessionStore};
use proptest::prelude::*;

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The four characters whose low four bits are zero: the only ones that may end an id's text.
const LAST: &str = "AQgw";

fn store() -> SessionStore<u32> {
    SessionStore::builder().build().unwrap()
}

#[test]
fn token_is_22_characters_of_base64url() {
    let store = store();
    for _ in 0..500 {
        let token = store.create().id().to_token().to_string();
        assert_eq!(token.len(), 22);
        assert!(token.chars().all(|c| ALPHABET.contains(c)), "{token}");
        assert!(token.ends_with(|c| LAST.contains(c)), "{token}");
        assert_eq!(format!("{token:>30}").len(), 30);
    }
}

#[test]
fn ids_from_each_source_do_not_repeat_and_use_every_bit() {
    for source in [IdSource::Os, IdSource::Buffered] {
        let store = SessionStore::<u32>::builder().id_source(source).build().unwrap();
        let ids: HashSet<SessionId> = (0..2000).map(|_| *store.create().id()).collect();
        assert_eq!(ids.len(), 2000, "{source:?}");
        let tokens: Vec<String> = ids.iter().map(|id| id.to_token().to_string()).collect();
        for position in 0..22 {
            let used: HashSet<u8> = tokens.iter().map(|t| t.as_bytes()[position]).collect();
            // 2000 draws miss one of 64 values with a chance of about 1 in 10^12.
            assert_eq!(used.len(), if position == 21 { 4 } else { 64 }, "{source:?} {position}");
        }
    }
}

#[test]
fn well_known_texts_have_the_bits_that_rfc_4648_says() {
    let zero = SessionId::parse("AAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let ones = SessionId::parse("_____________________w").unwrap();
    assert!(zero < ones);
    let low = SessionId::parse("AAAAAAAAAAAAAAAAAAAAAQ").unwrap();
    let high = SessionId::parse("gAAAAAAAAAAAAAAAAAAAAA").unwrap();
    assert!(zero < low && low < high && high < ones);
    // `-` and `_` are 62 and 63; `+` and `/` belong to the other alphabet.
    assert!(SessionId::parse("-_AAAAAAAAAAAAAAAAAAAA").is_some());
    assert!(SessionId::parse("+/AAAAAAAAAAAAAAAAAAAA").is_none());
}

proptest! {
    #[test]
    fn canonical_texts_are_read_and_written_back_the_same(text in "[A-Za-z0-9_-]{21}[AQgw]") {
        let id = SessionId::parse(&text).unwrap();
        let token = id.to_token();
        prop_assert_eq!(token.as_str(), &text);
        prop_assert_eq!(SessionId::parse(token.as_str()), Some(id));
    }

    #[test]
    fn different_texts_are_different_ids(
        a in "[A-Za-z0-9_-]{21}[AQgw]",
        b in "[A-Za-z0-9_-]{21}[AQgw]",
    ) {
        prop_assert_eq!(a == b, SessionId::parse(&a) == SessionId::parse(&b));
    }

    #[test]
    fn texts_that_are_not_canonical_are_refused(
        text in prop_oneof![
            "[A-Za-z0-9_-]{21}[^AQgw]",
            "[A-Za-z0-9_-]{0,21}",
            "[A-Za-z0-9_-]{23,40}",
            "[A-Za-z0-9_-]{0,20}[^A-Za-z0-9_-][A-Za-z0-9_-]{0,20}[AQgw]",
            any::<String>(),
        ],
    ) {
        prop_assert_eq!(SessionId::parse(&text), None);
    }
}

/// Two that are wrong must not make one that is right, whichever characters are read together.
#[test]
fn text_with_two_characters_outside_the_alphabet_is_no_id() {
    for first in 0..22 {
        for second in 0..22 {
            let mut text = *b"AAAAAAAAAAAAAAAAAAAAAA";
            (text[first], text[second]) = (b'+', b'=');
            let text = std::str::from_utf8(&text).unwrap();
            assert_eq!(SessionId::parse(text), None, "{text}");
        }
    }
}

#[test]
fn no_second_spelling_finds_a_session() {
    let store = store();
    // Once foreign ids exist, other spellings go the way of the digest.
    store.create_with_id(String::from("foreign"));
    for _ in 0..20 {
        let token = store.create().id().to_token().to_string();
        let (body, last) = token.split_at(21);
        for c in ALPHABET.chars() {
            assert_eq!(store.contains(&format!("{body}{c}")), last == c.to_string());
        }
        let spellings = [
            format!("{token}="),
            format!("{token}=="),
            format!(" {token}"),
            format!("{token}\n"),
            format!("{token}\0"),
            token[..21].to_string(),
            format!("{token}A"),
            token.replace('-', "+").replace('_', "/") + "=",
        ];
        assert!(spellings.iter().all(|spelling| !store.contains(spelling)));
    }
}

fn malformed() -> Vec<String> {
    vec![
        String::new(),
        String::from("\0"),
        "\0".repeat(22),
        "A".repeat(21),
        "A".repeat(23),
        "=".repeat(22),
        String::from("AAAAAAAAAAAAAAAAAAAA=="),
        String::from("AAAAAAAAAAAAAAAAAAAAAB"),
        String::from("äääääääääää"),
        String::from("🦀🦀🦀🦀🦀AA"),
        String::from("%41AAAAAAAAAAAAAAAAAAA"),
        String::from("../../../../etc/passwd"),
        "x".repeat(1 << 20),
        "é".repeat(1 << 19),
    ]
}

fn assert_plain_miss(store: &SessionStore<u32>, text: &str) {
    assert!(store.load(text).is_none());
    assert!(store.peek(text).is_none());
    assert!(!store.contains(text));
    assert!(!store.touch(text));
    assert!(!store.destroy(text));
    assert_eq!(store.update(text, |_| panic!("there is nothing to change")), None::<()>);
    assert_eq!(store.expires_in(text), None);
    assert!(!store.set_expiry(text, Duration::from_secs(1)));
}

#[test]
fn malformed_ids_are_plain_misses_for_every_operation() {
    let store = store();
    let s = store.create_with(7);
    for text in malformed() {
        assert_plain_miss(&store, &text);
    }
    // The same after a foreign id has opened the way for such texts.
    store.create_with_id(String::from("foreign"));
    for text in malformed() {
        assert_plain_miss(&store, &text);
    }
    assert_eq!(store.len(), 2);
    assert_eq!(*store.load(s.id()).unwrap(), 7);
}

#[test]
fn every_kind_of_miss_is_counted_alike() {
    let clock = ManualClock::new();
    let second = Duration::from_secs(1);
    let store = SessionStore::<u32>::builder().ttl(second).clock(clock.clone()).build().unwrap();
    let expired = *store.create().id();
    clock.advance(second);
    let destroyed = *store.create().id();
    store.destroy(&destroyed);
    let unknown = SessionId::parse("AAAAAAAAAAAAAAAAAAAAAA").unwrap();
    for (n, missed) in [expired, destroyed, unknown].iter().enumerate() {
        assert!(store.load(missed).is_none());
        assert_eq!(store.stats().missed, n as u64 + 1);
    }
    assert!(store.load("malformed").is_none());
    assert_eq!((store.stats().missed, store.stats().loaded), (4, 0));
}

#[test]
fn unknown_ids_create_nothing() {
    let store = store();
    for n in 0..10_000 {
        assert!(store.load(&format!("{n:022}")).is_none());
    }
    assert!(store.is_empty());
    assert_eq!(store.stats().stored, 0);
}

#[test]
fn any_text_can_be_a_callers_id() {
    let store = store();
    for (n, text) in malformed().into_iter().enumerate() {
        let mut s = store.create_with_id(text.clone());
        *s = n as u32;
        assert!(store.save(&s));
        assert_eq!(*store.load(&text).unwrap(), n as u32);
        // The session's own id finds it too, in each form.
        assert_eq!(*store.load(s.id()).unwrap(), n as u32);
        assert_eq!(*store.load(&s.id().to_token()).unwrap(), n as u32);
    }
    assert_eq!(store.len(), malformed().len());
    for text in malformed() {
        assert!(store.destroy(&text));
    }
    assert!(store.is_empty());
}

/// The vector of FIPS 180-2, appendix B.1: cut to 128 bits and no further.
#[test]
fn callers_id_is_the_first_half_of_its_sha_256_digest() {
    let s = store().create_with_id(String::from("abc"));
    assert_eq!(s.id().to_token().as_str(), "ungWv48Bz-pBQUDeXa4iIw");
}

/// Whoever chooses ids must not be able to choose where they go.
#[test]
fn each_store_places_ids_in_its_own_way() {
    let ids: Vec<String> = (0..64).map(|n| format!("AAAAAAAAAAAAAAAAAAA{n:02}A")).collect();
    let order = || {
        let store = store();
        ids.iter().for_each(|id| drop(store.create_with_id(id.clone())));
        let mut order = Vec::new();
        store.for_each(|id, _| order.push(*id));
        assert_eq!(order.len(), ids.len());
        order
    };
    assert_ne!(order(), order());
}

#[test]
fn canonical_text_given_as_a_callers_id_is_that_id() {
    let store = store();
    let text = "AAAAAAAAAAAAAAAAAAAAAQ";
    let s = store.create_with_id(String::from(text));
    assert_eq!(s.id().to_token().as_str(), text);
    assert_eq!(Some(*s.id()), SessionId::parse(text));
}

#[test]
fn taken_id_is_not_overwritten_and_the_newcomer_gets_its_own() {
    let store = store();
    let mut first = store.create_with_id(String::from("alice"));
    *first = 1;
    store.save(&first);
    let second = store.create_with_id(String::from("alice"));
    assert_ne!(first.id(), second.id());
    assert!(store.contains(second.id()));
    assert_eq!(*store.load("alice").unwrap(), 1);
    let rejected = store.try_create_with_id("alice", 9).unwrap_err();
    assert!(matches!(rejected.error, CreateError::Taken));
    assert_eq!(rejected.value, 9);
    let rejected = store.try_create_with_id(second.id(), 9).unwrap_err();
    assert!(matches!(rejected.error, CreateError::Taken));
    assert_eq!(*store.load("alice").unwrap(), 1);
    assert_eq!((store.len(), store.stats().created), (2, 2));
}

#[test]
fn handle_of_an_ended_session_conflicts_with_a_new_one_of_the_same_id() {
    let store = store();
    let mut first = store.try_create_with_id("alice", 1).unwrap();
    assert!(store.destroy("alice"));
    let second = store.try_create_with_id("alice", 2).unwrap();
    assert_eq!(first.id(), second.id());
    *first = 3;
    assert_eq!(store.try_save(&mut first), Err(cloakroom::SaveError::Conflict));
    assert_eq!(*store.load("alice").unwrap(), 2);
}

#[test]
fn debug_of_an_id_shows_a_fingerprint_and_nothing_else() {
    let id = SessionId::parse("AAAAAAAAAAAAAAAAAAAAAQ").unwrap();
    let shown = format!("{id:?}");
    assert_eq!(shown, format!("SessionId(#{:08x})", id.fingerprint()));
    assert_eq!(shown.len(), "SessionId(#01234567)".len());
    assert_eq!(format!("{:?}", id.to_token()), "SessionToken(..)");
    let other = SessionId::parse("AAAAAAAAAAAAAAAAAAAAAA").unwrap();
    assert_ne!(id.fingerprint(), other.fingerprint());
    // What `head -c 16 /dev/zero | sha256sum` begins with.
    assert_eq!(other.fingerprint(), 0x3747_08ff);
}
