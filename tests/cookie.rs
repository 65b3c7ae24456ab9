//! What a browser is sent as the session cookie, and what is understood of what it sends back.
#![cfg(feature = "cookie")]

use cloakroom::{Expiry, ManualClock, Session, SessionCookie, SessionId, SessionStore};
use std::time::Duration;

const ID: &str = "AAECAwQFBgcICQoLDA0ODw";
const OTHER: &str = "EBESExQVFhcYGRobHB0eHw";
const ATTRIBUTES: &str = "; HttpOnly; SameSite=Lax; Secure; Path=/";

fn id(text: &str) -> SessionId {
    SessionId::parse(text).unwrap()
}

fn timed(ttl: Duration) -> (ManualClock, SessionStore<u32>, Session<u32>) {
    let clock = ManualClock::new();
    let store = SessionStore::builder().ttl(ttl).clock(clock.clone()).build().unwrap();
    let session = store.create();
    (clock, store, session)
}

fn issued(store: &SessionStore<u32>, session: &Session<u32>) -> String {
    SessionCookie::new().issue(store, session.id()).to_string()
}

fn refusal(name: &str) -> String {
    let error = SessionCookie::named(name.to_owned()).unwrap_err();
    assert_eq!(error.setting(), "cookie_name");
    error.to_string()
}

#[test]
fn cookie_has_every_attribute_and_no_domain() {
    let (_, store, session) = timed(Duration::from_secs(60));
    let token = session.id().to_token();
    let expected = format!("__Host-session={token}{ATTRIBUTES}; Max-Age=60");
    assert_eq!(issued(&store, &session), expected);
}

#[test]
fn cookie_never_outlives_its_session() {
    let (clock, store, session) = timed(Duration::from_millis(59_999));
    assert!(issued(&store, &session).ends_with("; Max-Age=59"));
    clock.advance(Duration::from_secs(58));
    assert!(issued(&store, &session).ends_with("; Max-Age=1"));
}

#[test]
fn session_that_never_expires_gets_no_max_age() {
    let (_, store, session) = timed(Duration::from_secs(60));
    store.set_expiry(session.id(), Expiry::Never);
    assert!(issued(&store, &session).ends_with(ATTRIBUTES));
}

#[test]
fn longest_lifetime_is_still_a_number_of_seconds() {
    let (_, store, session) = timed(Duration::MAX);
    assert!(issued(&store, &session).ends_with("; Max-Age=3155760000"));
}

#[test]
fn session_that_has_ended_is_removed_when_issued_and_not_renewed() {
    let cookie = SessionCookie::new();
    let (clock, store, expired) = timed(Duration::from_secs(60));
    clock.advance(Duration::from_secs(60));
    let destroyed = store.create();
    store.destroy(destroyed.id());
    let mut rotated = store.create();
    let old = *rotated.id();
    store.rotate(&mut rotated);
    for ended in [expired.id(), destroyed.id(), &old] {
        assert_eq!(cookie.issue(&store, ended), cookie.removal());
        assert_eq!(cookie.renew(&store, ended), None);
    }
    assert!(cookie.renew(&store, rotated.id()).is_some());
}

#[test]
fn last_second_of_a_session_counts_as_ended() {
    let cookie = SessionCookie::new();
    let (clock, store, session) = timed(Duration::from_secs(60));
    clock.advance(Duration::from_millis(59_001));
    assert!(store.contains(session.id()));
    assert_eq!(cookie.renew(&store, session.id()), None);
    assert_eq!(cookie.issue(&store, session.id()), cookie.removal());
}

#[test]
fn renewed_cookie_follows_the_idle_deadline() {
    let clock = ManualClock::new();
    let idle = Duration::from_secs(60);
    let builder = SessionStore::<u32>::builder().idle_timeout(idle).clock(clock.clone());
    let store = builder.build().unwrap();
    let session = store.create();
    clock.advance(Duration::from_secs(40));
    assert!(issued(&store, &session).ends_with("; Max-Age=20"), "issuing is no use");
    store.touch(session.id());
    let renewed = SessionCookie::new().renew(&store, session.id()).unwrap();
    assert!(renewed.to_string().ends_with("; Max-Age=60"));
}

#[test]
fn removal_differs_from_the_cookie_in_value_and_max_age_only() {
    for name in ["__Host-session", "__Secure-shop", "sid"] {
        let cookie = SessionCookie::named(name).unwrap();
        let (_, store, session) = timed(Duration::from_secs(60));
        let set = cookie.issue(&store, session.id()).to_string();
        let token = session.id().to_token();
        let removed = set.replace(token.as_ref(), "").replace("Max-Age=60", "Max-Age=0");
        assert_eq!(cookie.removal().to_string(), removed);
        assert_eq!(removed, format!("{name}={ATTRIBUTES}; Max-Age=0"));
    }
}

#[test]
fn id_is_found_among_other_cookies_whatever_the_spacing_and_quoting() {
    let cookie = SessionCookie::new();
    for header in [
        format!("__Host-session={ID}"),
        format!("a=b; __Host-session={ID}; c=d"),
        format!("a=b;__Host-session={ID};c=d"),
        format!(" \t__Host-session \t= \t{ID}\t ; "),
        format!("__Host-session=\"{ID}\""),
        format!(";; =; a; =b; __Host-session={ID};"),
        format!("__Host-session=; __Host-session; __Host-session={ID}"),
    ] {
        assert_eq!(cookie.read(&header), Some(id(ID)), "{header}");
    }
}

#[test]
fn junk_is_no_id() {
    let cookie = SessionCookie::new();
    for header in [
        String::new(),
        ID.to_owned(),
        format!("={ID}"),
        format!("=__Host-session={ID}"),
        format!("session={ID}"),
        format!("__host-session={ID}"),
        format!("__Host-session2={ID}"),
        format!("x__Host-session={ID}"),
        format!("__Host-session=={ID}"),
        format!("__Host-session={ID}="),
        format!("__Host-session={ID}A"),
        format!("__Host-session=\"{ID}"),
        format!("__Host-session={ID}\""),
        format!("__Host-session=\"\"{ID}\"\""),
        "__Host-session=\"".to_owned(),
        // The same bits in another spelling.
        "__Host-session=AAECAwQFBgcICQoLDA0ODx".to_owned(),
        "__Host-session=%41AECAwQFBgcICQoLDA0ODw".to_owned(),
    ] {
        assert_eq!(cookie.read(&header), None, "{header}");
    }
}

#[test]
fn name_behind_white_space_that_browsers_keep_is_another_name() {
    for space in ["\u{a0}", "\u{85}", "\u{2000}", "\u{3000}", "\u{b}", "\u{c}", "\r", "\n", "\0"] {
        let header = format!("{space}__Host-session={ID}");
        assert_eq!(SessionCookie::new().read(&header), None, "{space:?}");
    }
}

#[test]
fn quotes_do_not_carry_one_cookie_into_the_next() {
    let header = format!("a=\"b; __Host-session={ID}; c\"");
    assert_eq!(SessionCookie::new().read(&header), Some(id(ID)));
}

#[test]
fn equal_ids_are_one_and_different_ids_are_none() {
    let cookie = SessionCookie::new();
    let twice = |a: &str, b: &str| format!("__Host-session={a}; x=y; __Host-session={b}");
    assert_eq!(cookie.read(twice(ID, ID)), Some(id(ID)));
    assert_eq!(cookie.read(twice(ID, "guess")), Some(id(ID)));
    assert_eq!(cookie.read(twice("guess", ID)), Some(id(ID)));
    assert_eq!(cookie.read(twice(ID, OTHER)), None);
    assert_eq!(cookie.read(twice(OTHER, ID)), None);
}

#[test]
fn split_headers_are_read_as_one() {
    let cookie = SessionCookie::new();
    let (mine, others) = (format!("__Host-session={ID}"), format!("__Host-session={OTHER}"));
    assert_eq!(cookie.read_all(["a=b", &mine, "c=d"]), Some(id(ID)));
    assert_eq!(cookie.read_all([&mine, &others]), None);
    assert_eq!(cookie.read_all::<&str>([]), None);
}

#[test]
fn bytes_that_are_not_utf8_in_another_cookie_lose_nothing() {
    let mut header = b"caf\xe9=cr\xe8me; __Host-session=".to_vec();
    header.extend_from_slice(ID.as_bytes());
    assert_eq!(SessionCookie::new().read(&header), Some(id(ID)));
    header.push(0xff);
    assert_eq!(SessionCookie::new().read(&header), None);
}

#[test]
fn every_issued_cookie_reads_back() {
    let cookie = SessionCookie::named("sid").unwrap();
    let store = SessionStore::<u32>::builder().build().unwrap();
    for _ in 0..1000 {
        let session = store.create();
        let set = cookie.issue(&store, session.id()).to_string();
        let pair = set.split(';').next().unwrap();
        assert_eq!(cookie.read(pair), Some(*session.id()));
    }
}

#[test]
fn every_token_is_a_name_and_nothing_else_is() {
    for byte in 0..=127_u8 {
        let name = format!("a{}", char::from(byte));
        let token = byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
        assert_eq!(SessionCookie::named(name.clone()).is_ok(), token, "{name:?}");
    }
    assert!(SessionCookie::named("").is_err());
    assert!(SessionCookie::named("sé").is_err());
    assert_eq!(
        refusal("my session"),
        "cookie_name is \"my session\", but must be one or more of the letters and digits of \
         ASCII and !#$%&'*+-.^_`|~"
    );
}

#[test]
fn prefix_has_one_spelling_and_is_no_whole_name() {
    for (name, prefix) in [
        ("__Host-", "__Host-"),
        ("__host-session", "__Host-"),
        ("__HOST-session", "__Host-"),
        ("__Secure-", "__Secure-"),
        ("__secure-session", "__Secure-"),
    ] {
        let limit = format!("must be {prefix} in this spelling and at least one more character");
        assert_eq!(refusal(name), format!("cookie_name is {name:?}, but {limit}"));
    }
    for name in ["__Host-s", "__Secure-s", "__Host", "host-session", "x__host-s"] {
        assert_eq!(SessionCookie::named(name).unwrap().name(), name);
    }
}

#[test]
fn name_and_id_fit_what_a_browser_keeps() {
    let longest = "n".repeat(4096 - ID.len());
    assert!(SessionCookie::named(longest.clone()).is_ok());
    let error = refusal(&(longest + "n"));
    assert_eq!(error, "cookie_name is 4075 bytes, but must be at most 4074 bytes");
}

#[test]
fn default_cookie_is_the_one_that_could_be_named() {
    let cookie = SessionCookie::default();
    assert_eq!(cookie, SessionCookie::named("__Host-session").unwrap());
    assert_eq!(cookie.name(), "__Host-session");
}
