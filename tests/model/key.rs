//! Owns the forms in which an id is given to a store.

use cloakroom::{SessionId, SessionToken};

/// An id as an argument.
pub(super) enum Key {
    Id(SessionId),
    Text(String),
    Token(SessionToken),
}

impl Key {
    /// Returns an id in one of its forms.
    pub(super) fn form(id: SessionId, form: usize) -> Self {
        match form % 3 {
            0 => Self::Id(id),
            1 => Self::Text(id.to_token().as_str().to_owned()),
            _ => Self::Token(id.to_token()),
        }
    }
}

/// Calls the store with a key in the form it has.
macro_rules! by {
    ($key:expr, $name:ident => $call:expr) => {
        match $key {
            Key::Id($name) => $call,
            Key::Text($name) => $call,
            Key::Token($name) => $call,
        }
    };
}

pub(super) use by;
