//! Owns [`Attributes`], the string map that sessions hold by default.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use std::vec;

use crate::digits;

/// Bytes that are held for nothing at the most, beside as many as are used: what was a large value goes when it is
/// removed, and what grows again by a little needs no new memory.
const SLACK: usize = 64;

/// A session's data as text: names and values.
///
/// What [`SessionStore::new`](crate::SessionStore::new) stores. A struct of your own is faster and
/// cannot be misspelled; this is for code that has string attributes already.
///
/// All lie in one piece of text, in the order of the names. Copying them is one allocation. Finding one goes from the
/// first on, and so does counting them; setting or removing one moves the text behind it, and one more makes the text
/// anew. That is the least memory and the fastest copy for some tens of attributes, and too slow for many hundreds:
/// take names from your own code, not from a client.
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
        let start = self.make_way(name);
        // Sessions are stored with what is reserved for them.
        self.text.reserve_exact(room_for(name, value));
        self.insert(start, name, value);
        self.give_back();
    }

    /// Removes an attribute and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let place = self.find(name).ok()?;
        let value = self.text.get(place.value.clone()).map(str::to_owned);
        self.cut(&place);
        self.give_back();
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
        self.text = String::new();
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
            let (name, value) = (length(text, &mut at), length(text, &mut at));
            next = at + name + value;
            Some(Place { start, name: at..at + name, value: at + name..next })
        })
    }

    /// Takes out the attribute of a name, if there is one, and returns where it belongs.
    fn make_way(&mut self, name: &str) -> usize {
        self.find(name).map_or_else(|start| start, |place| self.cut(&place))
    }

    /// Puts in an attribute that is not there.
    fn insert(&mut self, start: usize, name: &str, value: &str) {
        // Most often nothing, which takes no memory.
        let behind = self.text.split_off(start);
        for length in [name.len(), value.len()] {
            digits::write(length as u64, |digit| self.text.push(char::from(digit)));
        }
        for part in [name, value, &behind] {
            self.text.push_str(part);
        }
    }

    /// Takes an attribute out, and returns where it was.
    fn cut(&mut self, place: &Place) -> usize {
        self.text.drain(place.start..place.value.end);
        place.start
    }

    /// Gives back the memory of what was removed, if it is much.
    fn give_back(&mut self) {
        if self.text.capacity() > enough_for(self.text.len()) {
            self.text.shrink_to_fit();
        }
    }
}

/// Returns the bytes that may be held for so many.
fn enough_for(len: usize) -> usize {
    2 * len + SLACK
}

/// Returns how many bytes an attribute takes.
#[inline]
fn room_for(name: &str, value: &str) -> usize {
    let lengths = digits::count(name.len() as u64) + digits::count(value.len() as u64);
    lengths + name.len() + value.len()
}

/// Reads the length that begins at a place, and moves the place behind it.
#[inline]
fn length(text: &[u8], at: &mut usize) -> usize {
    digits::read(|| {
        let digit = text[*at];
        *at += 1;
        digit
    }) as usize
}

impl Clone for Attributes {
    fn clone(&self) -> Self {
        Self { text: self.text.clone() }
    }

    fn clone_from(&mut self, source: &Self) {
        if self.text.capacity() > enough_for(source.text.len()) {
            *self = source.clone();
        } else {
            self.text.clone_from(&source.text);
        }
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
        for (name, value) in attributes {
            let (name, value) = (name.as_ref(), value.as_ref());
            let start = self.make_way(name);
            self.text.reserve(room_for(name, value));
            self.insert(start, name, value);
        }
        self.text.shrink_to_fit();
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

    fn with(name: &str, len: usize) -> Attributes {
        let mut attributes = Attributes::new();
        attributes.set(name, "x".repeat(len));
        attributes
    }

    #[test]
    fn no_more_memory_is_reserved_than_is_used() {
        for len in [0, 1, 63, 64, 4_095, 4_096, 300_000] {
            let mut attributes = with("name", len);
            attributes.set("n".repeat(len.max(1)), "value");
            assert_eq!(attributes.text.capacity(), attributes.text.len());
            let made: Attributes = attributes.clone().into_iter().chain(attributes).collect();
            assert_eq!(made.text.capacity(), made.text.len());
        }
    }

    #[test]
    fn memory_of_what_was_removed_is_given_back() {
        let large = || {
            let mut attributes = with("name", 100_000);
            attributes.set("user", "42");
            attributes
        };
        let (mut removed, mut shortened, mut cleared, mut replaced) =
            (large(), large(), large(), large());
        removed.remove("name");
        shortened.set("name", "");
        cleared.clear();
        replaced.clone_from(&with("name", 1));
        for attributes in [removed, shortened, cleared, replaced] {
            let capacity = attributes.text.capacity();
            assert!(capacity <= enough_for(attributes.text.len()), "{capacity}");
        }
    }

    #[test]
    fn copy_into_attributes_of_about_the_same_length_takes_no_new_memory() {
        let (mut copy, source) = (with("name", 20), with("name", 10));
        let place = copy.text.as_ptr();
        copy.clone_from(&source);
        assert!(copy == source && copy.text.as_ptr() == place);
    }
}
