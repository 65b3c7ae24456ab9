//! Owns what the store keeps of a record: its date, and its data in one piece.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;

use serde_json::Value;
use time::OffsetDateTime;
use tower_sessions_core::session::Record;

use super::shapes::{self, FEW};
use super::value;
use crate::adapters::packed::Packed;
use crate::ends::Plain;

/// What a store keeps of a [`Record`]: all but the id, which it is kept under.
///
/// The data is kept in one piece, so that a save or a load touches as little memory as it can. To change
/// it, take a [`Record`], and make a `State` from it. The date in it is the record's; when the session ends says the
/// store, which learns it from tower-sessions' own calls, and not where you save a `State` yourself: there,
/// [`set_expiry`](crate::SessionStore::set_expiry) does.
///
/// `Debug` shows how many values there are and when the session ends, and nothing of the values.
///
/// # Examples
///
/// ```
/// use cloakroom::adapters::tower_sessions::State;
/// use tower_sessions_core::session::{Id, Record};
/// # use std::collections::HashMap;
/// # use time::OffsetDateTime;
///
/// let data = HashMap::from([("user".to_owned(), "ada".into())]);
/// let record = Record { id: Id::default(), data, expiry_date: OffsetDateTime::UNIX_EPOCH };
/// let state = State::from(&record);
/// assert_eq!(state.get("user"), Some("ada".into()));
/// assert_eq!(state.to_data(), record.data);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    expiry_date: OffsetDateTime,
    /// How many values there are, their keys in order, and the values in the order of their keys.
    values: Packed,
}

impl State {
    /// Returns a value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value> {
        self.iter().find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    /// Returns all keys and values, in the order of the keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Value)> {
        let mut keys = self.values.reader();
        let len = keys.number() as usize;
        let mut values = keys;
        for _ in 0..len {
            values.text();
        }
        (0..len).map(move |_| (keys.text(), value::read(&mut values)))
    }

    /// Returns all keys and values, as a record has them.
    #[must_use]
    pub fn to_data(&self) -> HashMap<String, Value> {
        shapes::fill(self.values.reader())
            .unwrap_or_else(|| self.iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// Returns when the session ends.
    #[must_use]
    pub fn expiry_date(&self) -> OffsetDateTime {
        self.expiry_date
    }
}

impl From<&Record> for State {
    fn from(record: &Record) -> Self {
        let data = record.data.iter().map(|(key, value)| (&**key, value));
        let len = data.len();
        let values = if len <= FEW {
            // Without an allocation for their order.
            let mut values = [("", &Value::Null); FEW];
            values.iter_mut().zip(data).for_each(|(place, value)| *place = value);
            in_order(&mut values[..len])
        } else {
            in_order(&mut data.collect::<Vec<_>>())
        };
        Self { expiry_date: record.expiry_date, values }
    }
}

fn in_order(values: &mut [(&str, &Value)]) -> Packed {
    values.sort_unstable_by_key(|(key, _)| *key);
    let Ok(packed) = Packed::new(|bytes| {
        bytes.number(values.len() as u64);
        values.iter().for_each(|(key, _)| bytes.text(key));
        values.iter().for_each(|(_, value)| value::write(bytes, value));
        Ok::<_, Infallible>(())
    });
    packed
}

impl Plain for State {}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("len", &self.iter().len())
            .field("expiry_date", &self.expiry_date)
            .finish_non_exhaustive()
    }
}
