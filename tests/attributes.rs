//! The string map does what a sorted map of the standard library does.

use std::collections::BTreeMap;

use cloakroom::Attributes;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Set(String, String),
    Remove(String),
    Extend(Vec<(String, String)>),
    Clear,
}

/// A name whose length takes two digits.
const LONG: &str = "name of the attribute that is longer than any that a session is likely to have";

/// Few names, so that they meet; some are the beginning of another, and one is empty.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "ab", "abc", "b", "ä", "user_id", "user", LONG])
        .prop_map(str::to_owned)
}

fn op() -> impl Strategy<Value = Op> {
    // Some so long that their length takes another digit, or two.
    let value = prop_oneof![8 => "[a-c]{0,3}", 1 => "[ä]{30,40}", 1 => "x{4090,4100}"];
    let pair = || (name(), value.clone());
    prop_oneof![
        8 => pair().prop_map(|(name, value)| Op::Set(name, value)),
        4 => name().prop_map(Op::Remove),
        1 => prop::collection::vec(pair(), 0..5).prop_map(Op::Extend),
        1 => Just(Op::Clear),
    ]
}

proptest! {
    #[test]
    fn attributes_are_a_sorted_map(ops in prop::collection::vec(op(), 0..60)) {
        let (mut attributes, mut model) = (Attributes::new(), BTreeMap::new());
        for op in ops {
            match op {
                Op::Set(name, value) => {
                    attributes.set(&name, &value);
                    model.insert(name, value);
                }
                Op::Remove(name) => prop_assert_eq!(attributes.remove(&name), model.remove(&name)),
                Op::Extend(pairs) => {
                    attributes.extend(pairs.clone());
                    model.extend(pairs);
                }
                Op::Clear => {
                    attributes.clear();
                    model.clear();
                }
            }
            let pairs = model.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            prop_assert!(attributes.iter().eq(pairs));
            prop_assert_eq!((attributes.len(), attributes.is_empty()), (model.len(), model.is_empty()));
            for name in ["", "a", "aa", "ab", "user", "user_i", "z", LONG] {
                prop_assert_eq!(attributes.get(name), model.get(name).map(String::as_str));
                prop_assert_eq!(attributes.contains(name), model.contains_key(name));
            }
        }
        let collected: Attributes = model.clone().into_iter().collect();
        prop_assert!(collected == attributes);
        prop_assert!(attributes.into_iter().eq(model));
    }
}
