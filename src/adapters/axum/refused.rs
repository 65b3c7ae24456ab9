//! Owns what a handler is told when something could not be done, and its answer to the client.

use std::any::type_name;
use std::error::Error;
use std::fmt;

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;

use crate::error::{CreateError, EntropyError, RotateError, SaveError};

/// Why a session was not created, saved or given another id.
///
/// As a response it is 409 for a conflict, an ended session or a subject's limit, 413 for too much data, 503
/// where the store had no room or no randomness, and 500 where it is too late for a cookie, each with the
/// sentence of its `Display`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Somebody saved the session since this request loaded it.
    Conflict,
    /// The session has ended, or lives on under another id.
    Gone,
    /// The store holds as many sessions, or as many bytes of their data, as it may, and none could be evicted.
    AtCapacity,
    /// The session's subject has as many sessions as it may.
    SubjectLimit,
    /// The session's data is larger than the store may be.
    TooLarge,
    /// There was no randomness for an id.
    Entropy(EntropyError),
    /// The response has left without a cookie, or never will, so that nobody would know the new id.
    ResponseSent,
}

impl Refused {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Conflict | Self::Gone | Self::SubjectLimit => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::AtCapacity | Self::Entropy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::ResponseSent => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => SaveError::Conflict.fmt(f),
            Self::Gone => SaveError::Gone.fmt(f),
            Self::AtCapacity => f.write_str("the store of sessions is full"),
            Self::SubjectLimit => SaveError::SubjectLimit.fmt(f),
            Self::TooLarge => SaveError::TooLarge.fmt(f),
            Self::Entropy(error) => error.fmt(f),
            Self::ResponseSent => f.write_str("no response can bring the session's id any more"),
        }
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Entropy(error) => error.source(),
            _ => None,
        }
    }
}

impl From<SaveError> for Refused {
    fn from(error: SaveError) -> Self {
        match error {
            SaveError::Conflict => Self::Conflict,
            SaveError::Gone => Self::Gone,
            SaveError::SubjectLimit => Self::SubjectLimit,
            SaveError::TooLarge => Self::TooLarge,
            SaveError::AtByteLimit => Self::AtCapacity,
        }
    }
}

impl From<CreateError> for Refused {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::AtCapacity { .. } | CreateError::AtByteLimit { .. } => Self::AtCapacity,
            CreateError::SubjectLimit { .. } => Self::SubjectLimit,
            CreateError::TooLarge { .. } => Self::TooLarge,
            CreateError::Entropy(error) => Self::Entropy(error),
            CreateError::Taken => unreachable!("the store draws another id"),
        }
    }
}

impl From<RotateError> for Refused {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::Gone => Self::Gone,
            RotateError::Entropy(error) => Self::Entropy(error),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status(), self.to_string()).into_response()
    }
}

/// On a response by which a layer refused, for the layers around it: the client may try again, and whatever its request
/// was to change is not to be changed twice.
#[derive(Clone, Copy)]
pub(super) struct NotSaved;

/// There is no [`SessionLayer`](super::SessionLayer) of this type of session around the handler.
///
/// As a response it is 500 with a sentence that names the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingLayer {
    data: &'static str,
}

impl MissingLayer {
    pub(super) fn of<T>() -> Self {
        Self { data: type_name::<T>() }
    }
}

impl fmt::Display for MissingLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data } = self;
        write!(
            f,
            "no sessions of type `{data}` here: add `.layer(SessionLayer::new(store))` with a \
             `SessionStore<{data}>` after the routes that use them"
        )
    }
}

impl Error for MissingLayer {}

impl IntoResponse for MissingLayer {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_no_request_brings_about_have_a_sentence_a_status_and_a_source() {
        let failed = Refused::Entropy(getrandom::Error::UNSUPPORTED.into());
        assert!(failed.source().unwrap().is::<getrandom::Error>());
        assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(Refused::Gone.source().is_none());
        assert_eq!(Refused::ResponseSent.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(Refused::ResponseSent.to_string().contains("no response"));
        assert!(failed.to_string().contains("no random bytes"));
        assert_eq!(Refused::AtCapacity.to_string(), "the store of sessions is full");
    }
}
