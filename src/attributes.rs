//! Owns [`Attributes`], the string map that sessions hold by default.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use std::vec;

/// Bits in a digit of a number. The next one says whether another digit follows.
const DIGIT: u32 = 6;

/// A session's data as text: names and values.
///
/// What [`SessionStore::new`](crate::SessionStore::new) stores. A struct of your own is faster and
/// cannot be misspelled; this is for code that has string attributes already.
///
/// All lie in one piece of text, in the order of the names: copying them is one allocation, and finding one goes from
/// the first on, some nanoseconds for each; setting or removing one moves the text behind it. That is the least memory
/// and the fastest copy for some tens of attributes, and too slow for many hundreds.
///
/// `Debug` shows how many there are and nothing of them.
///
/// # Examples
///
/// ```
/// use cloakroom::SessionStore;
///
/// let store = SessionStore::new(3600);
/// let mut session = store.create();
/// session.set("user_id", "42");
/// assert_eq!(session.get("user_id"), Some("42"));
/// assert!(session.contains("user_id"));
/// session.remove("user_id");
/// assert!(session.is_empty());
/// ```
#[derive(Default, PartialEq, Eq)]
pub struct Attributes {
    /// Of each attribute: the lengths of its name and its value, as numbers, and the two. In the order of the names,
    /// each name once, so that equal attributes are equal text.
    text: String,
}

/// Where an attribute lies in the text.
struct Place {
    start: usize,
    name: Range<usize>,
    value: Range<usize>,
}

impl Attributes {
    /// Returns an empty map; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the value of an attribute.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let place = self.find(name).ok()?;
        self.text.get(place.value)
    }

    /// Sets an attribute, whether it was there or not.
    pub fn set(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        let start = self.find(name).map_or_else(|start| start, |place| self.cut(&place));
        // Sessions are stored with what is reserved for them.
        let numbers = digits(name.len()) + digits(value.len());
        self.text.reserve_exact(numbers + name.len() + value.len());
        // From the last part on, each before what is there.
        self.text.insert_str(start, value);
        self.text.insert_str(start, name);
        insert_number(&mut self.text, start, value.len());
        insert_number(&mut self.text, start, name.len());
    }

    /// Removes an attribute and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let place = self.find(name).ok()?;
        let value = self.text.get(place.value.clone()).map(str::to_owned);
        self.cut(&place);
        value
    }

    /// Tells whether an attribute is set.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// Returns how many attributes are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places().count()
    }

    /// Tells whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Removes all attributes.
    pub fn clear(&mut self) {
        self.text.clear();
    }

    /// Returns the names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places().map(|place| (&self.text[place.name], &self.text[place.value]))
    }

    /// Returns where the attribute of a name is, or where it would begin.
    fn find(&self, name: &str) -> Result<Place, usize> {
        for place in self.places() {
            match self.text.as_bytes()[place.name.clone()].cmp(name.as_bytes()) {
                Ordering::Less => {}
                Ordering::Equal => return Ok(place),
                Ordering::Greater => return Err(place.start),
            }
        }
        Err(self.text.len())
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let text = self.text.as_bytes();
        let mut next = 0;
        std::iter::from_fn(move || {
            let (start, mut at) = (next, next);
            text.get(start)?;
            let (name, value) = (number(text, &mut at), number(text, &mut at));
            next = at + name + value;
            Some(Place { start, name: at..at + name, value: at + name..next })
        })
    }

    /// Takes an attribute out, and returns where it was.
    fn cut(&mut self, place: &Place) -> usize {
        self.text.drain(place.start..place.value.end);
        place.start
    }
}

fn digits(number: usize) -> usize {
    (number.max(1).ilog2() / DIGIT + 1) as usize
}

/// Writes a number as characters of a byte each, the lowest digit first.
fn insert_number(text: &mut String, mut at: usize, mut number: usize) {
    while number >> DIGIT != 0 {
        text.insert(at, char::from((number & 63) as u8 | 64));
        number >>= DIGIT;
        at += 1;
    }
    text.insert(at, char::from(number as u8));
}

/// Reads the number that begins at a place, and moves the place behind it.
#[inline]
fn number(text: &[u8], at: &mut usize) -> usize {
    let (mut number, mut shift) = (0, 0);
    loop {
        let digit = text[*at];
        *at += 1;
        number |= usize::from(digit & 63) << shift;
        shift += DIGIT;
        if digit & 64 == 0 {
            return number;
        }
    }
}

impl Clone for Attributes {
    fn clone(&self) -> Self {
        Self { text: self.text.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        self.text.clone_from(&source.text);
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attributes").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(attributes: I) -> Self {
        let mut map = Self::new();
        map.extend(attributes);
        map
    }
}

impl<N: AsRef<str>, V: AsRef<str>> Extend<(N, V)> for Attributes {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, attributes: I) {
        attributes.into_iter().for_each(|(name, value)| self.set(name, value));
    }
}

impl IntoIterator for Attributes {
    type Item = (String, String);
    type IntoIter = vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        let owned = self.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        owned.collect::<Vec<_>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_memory_is_reserved_than_is_used() {
        for len in [0, 1, 63, 64, 4_095, 4_096, 300_000] {
            let mut attributes = Attributes::new();
            attributes.set("name", "x".repeat(len));
            attributes.set("n".repeat(len.max(1)), "value");
            assert_eq!(attributes.text.capacity(), attributes.text.len());
        }
    }
}
