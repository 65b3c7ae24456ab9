//! Owns [`Attributes`], the string map that sessions hold by default.

use std::fmt;
use std::iter::Map;
use std::vec;

/// A session's data as text: names and values.
///
/// What [`SessionStore::new`](crate::SessionStore::new) stores. A struct of your own is faster and
/// cannot be misspelled; this is for code that has string attributes already.
///
/// Finding an attribute is a binary search; adding one moves those after it. That is the least memory
/// and the fastest copy for some tens of them, and too slow for many thousands.
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
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes(Vec<Pair>);

/// A name and its value. They lie in the order of the names, each name once.
type Pair = (Box<str>, Box<str>);

impl Attributes {
    /// Returns an empty map; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the value of an attribute.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.place(name).ok()?;
        Some(&self.0[at].1)
    }

    /// Sets an attribute, whether it was there or not.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into().into_boxed_str());
        match self.place(&name) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name.into_boxed_str(), value)),
        }
    }

    /// Returns where a name is, or where it would be.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (**other).cmp(name))
    }

    /// Removes an attribute and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let at = self.place(name).ok()?;
        Some(self.0.remove(at).1.into_string())
    }

    /// Tells whether an attribute is set.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Returns how many attributes are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all attributes.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attributes").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(attributes: I) -> Self {
        let mut map = Self::new();
        map.extend(attributes);
        map
    }
}

impl<N: Into<String>, V: Into<String>> Extend<(N, V)> for Attributes {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, attributes: I) {
        attributes.into_iter().for_each(|(name, value)| self.set(name, value));
    }
}

impl IntoIterator for Attributes {
    type Item = (String, String);
    type IntoIter = Map<vec::IntoIter<Pair>, fn(Pair) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|(name, value)| (name.into_string(), value.into_string()))
    }
}
