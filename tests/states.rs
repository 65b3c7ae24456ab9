//! What the adapters keep of a session is what they were given: any keys, any values, in any number.

use std::collections::HashMap;

use ::tower_sessions::session::{Id, Record};
use async_session::{Session, SessionStore as _};
use cloakroom::adapters::{async_session as of_async_session, tower_sessions};
use cloakroom::conformance::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;

/// Loads that make a thread learn which keys sessions have, and more.
const LOADS: usize = 20;

/// Longer than all the keys together that a thread learns.
const LONG_KEY: &str = concat!(
    "0123456789012345678901234567890123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
    "0123456789012345678901234567890123456789012345678901234567890123456789"
);

fn state(data: &HashMap<String, Value>) -> tower_sessions::State {
    let expiry_date = OffsetDateTime::UNIX_EPOCH;
    (&Record { id: Id::default(), data: data.clone(), expiry_date }).into()
}

fn data<const N: usize>(values: [(&str, Value); N]) -> HashMap<String, Value> {
    values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// As JSON too: where numbers are equal that are not the same.
#[track_caller]
fn assert_same(kept: &HashMap<String, Value>, given: &HashMap<String, Value>) {
    assert_eq!(kept, given);
    given.iter().for_each(|(key, value)| assert_eq!(kept[key].to_string(), value.to_string()));
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,80}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map(".{0,8}", inner, 0..8)
                .prop_map(|values| values.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_record_is_kept_as_it_is(data in prop::collection::hash_map(".{0,12}", json_value(), 0..20)) {
        let state = state(&data);
        for _ in 0..LOADS {
            assert_same(&state.to_data(), &data);
        }
        let kept: HashMap<_, _> = state.iter().map(|(key, value)| (key.to_owned(), value)).collect();
        assert_same(&kept, &data);
        for (key, value) in &data {
            prop_assert_eq!(state.get(key), Some(value.clone()));
        }
    }

    #[test]
    fn any_async_session_is_kept_as_it_is(data in prop::collection::hash_map(".{0,12}", ".{0,80}", 0..20)) {
        let store = of_async_session::Store::default();
        let mut session = Session::new();
        data.iter().for_each(|(key, value)| session.insert_raw(key, value.clone()));
        let id = of_async_session::session_id(session.id());
        let cookie = block_on(store.store_session(session)).unwrap().unwrap();
        let loaded = block_on(store.load_session(cookie)).unwrap().unwrap();
        prop_assert_eq!(loaded.len(), data.len());
        let state = store.sessions().peek(&id).unwrap();
        prop_assert_eq!(state.iter().len(), data.len());
        for (key, value) in &data {
            prop_assert_eq!(loaded.get_raw(key), Some(value.clone()));
            prop_assert_eq!(state.get(key), Some(value.as_str()));
        }
    }
}

#[test]
fn numbers_at_the_ends_are_kept() {
    let given = data([
        ("least", json!(i64::MIN)),
        ("minus one", json!(-1)),
        ("zero", json!(0)),
        ("most", json!(u64::MAX)),
        ("minus zero", json!(-0.0)),
        ("whole", json!(1.0)),
        ("smallest", json!(f64::MIN_POSITIVE)),
        ("longest", json!(0.1 + 0.2)),
    ]);
    assert_same(&state(&given).to_data(), &given);
}

#[test]
fn sessions_with_other_keys_are_not_mixed_up() {
    let sessions = [
        data([]),
        data([("a", json!(1))]),
        data([("a", json!(2))]),
        data([("b", json!("x"))]),
        data([("a", json!(3)), ("b", json!([1, 2]))]),
        data([("b", json!(null)), ("a", json!("y"))]),
        data([("a", json!(4)), ("c", json!({ "k": "v" }))]),
        data([("ab", json!(5))]),
        data([("", json!(6))]),
        data([("a", json!(7)), ("b", json!(8)), ("c", json!(9))]),
        (0..8).map(|i| (format!("{i}"), json!(i))).collect(),
        (0..9).map(|i| (format!("{i}"), json!(i))).collect(),
        data([(LONG_KEY, json!(true))]),
    ];
    let states: Vec<_> = sessions.iter().map(state).collect();
    for _ in 0..LOADS {
        for (state, given) in states.iter().zip(&sessions) {
            // Often enough in a row that a thread learns these keys, and then others again.
            for _ in 0..10 {
                assert_same(&state.to_data(), given);
            }
        }
    }
}

#[test]
fn changing_what_was_loaded_changes_nothing_that_is_kept() {
    let given = data([("user", json!("ada")), ("visits", json!(1))]);
    let state = state(&given);
    for _ in 0..LOADS {
        let mut loaded = state.to_data();
        loaded.insert("user".to_owned(), json!("eve"));
        loaded.remove("visits");
        loaded.insert("more".to_owned(), json!(2));
    }
    assert_same(&state.to_data(), &given);
}

#[test]
fn short_and_long_texts_are_kept_around_the_length_where_they_part() {
    for length in 0..200 {
        let given = data([("k", Value::from("x".repeat(length)))]);
        let state = state(&given);
        assert_same(&state.to_data(), &given);
        assert_eq!(state.clone(), state);
    }
}

#[test]
fn values_are_had_by_their_whole_keys_and_keys_are_in_order() {
    let keys = ["a", "ab", "b", "user", "user_id", "User", "z"];
    let forth: HashMap<_, _> = keys.iter().map(|key| ((*key).to_owned(), json!(key))).collect();
    // Each map has an order of its own.
    let states: Vec<_> = (0..20).map(|_| state(&forth.clone().into_iter().collect())).collect();
    for state in &states {
        assert!(*state == states[0]);
        assert!(state.iter().is_sorted_by_key(|(key, _)| key));
        keys.iter().for_each(|key| assert_eq!(state.get(key), Some(json!(key))));
        ["", "us", "USER", "user_", "user_id2"]
            .iter()
            .for_each(|no| assert_eq!(state.get(no), None));
    }
}

#[test]
fn debug_of_a_state_shows_no_key_and_no_value() {
    let text = format!("{:?}", state(&data([("user", json!("Sherlock Holmes"))])));
    assert!(
        text.contains("len: 1") && !text.contains("user") && !text.contains("Holmes"),
        "{text}"
    );
}

#[test]
fn id_is_the_first_half_of_the_digest_and_other_texts_are_digested() {
    use of_async_session::session_id;
    let first = "AAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAA=";
    // The same 16 bytes in our own text: two bits of the 22nd character belong to the half.
    assert_eq!(session_id(first).to_token().as_str(), "AAAAAAAAAAAAAAAAAAAAAQ");
    let plus = "+/AAAAAAAAAAAAAAAAAAAwAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(session_id(plus).to_token().as_str(), "-_AAAAAAAAAAAAAAAAAAAw");
    for _ in 0..100 {
        let session = Session::new();
        let shown = session_id(session.id()).to_token();
        let half = session.id()[..21].replace('+', "-").replace('/', "_");
        assert!(shown.as_str().starts_with(&half), "{}", session.id());
    }
    let others = [
        "",
        "id",
        &first[..43],
        &format!("{first}="),
        &first.replace('=', "A"),
        &first.replace('Q', "-"),
    ];
    let mut ids: Vec<_> = others.iter().map(|text| session_id(text)).collect();
    ids.push(session_id(first));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), others.len() + 1);
    assert!(
        ids.iter()
            .all(|id| *id == session_id(first) || !id.to_token().as_str().starts_with("AAAAAAAA"))
    );
}
