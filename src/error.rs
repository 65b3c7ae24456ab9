//! Owns every error of the crate. None of them ever holds an id or a session's data.

use std::error::Error;
use std::fmt;

/// Why a [`Builder`](crate::Builder) made no store, or a cookie got no name: names the setting, its value
/// and the limit.
///
/// # Examples
///
/// ```
/// use cloakroom::SessionStore;
///
/// let error = SessionStore::<u32>::builder().shards(3).build().unwrap_err();
/// assert_eq!(error.setting(), "shards");
/// assert_eq!(error.to_string(), "shards is 3, but must be a power of two from 2 to 65536");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    setting: &'static str,
    value: String,
    limit: String,
}

impl BuildError {
    pub(crate) fn new(setting: &'static str, value: String, limit: impl Into<String>) -> Self {
        Self { setting, value, limit: limit.into() }
    }

    /// Returns the name of the builder's method that was given the value, or `cookie_name`.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, but must be {}", self.setting, self.value, self.limit)
    }
}

impl Error for BuildError {}

/// The operating system gave no random bytes, so there is no id that nobody can guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntropyError(getrandom::Error);

impl From<getrandom::Error> for EntropyError {
    fn from(error: getrandom::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for EntropyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operating system gave no random bytes for a session id")
    }
}

impl Error for EntropyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Why a session was not created.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateError {
    /// The store holds as many sessions as it may, and none could be evicted: also where it holds so few that all
    /// are coming or going just then.
    AtCapacity {
        /// The bound that [`Builder::max_sessions`](crate::Builder::max_sessions) set.
        max_sessions: usize,
    },
    /// The session's data is larger than the store may be.
    TooLarge {
        /// The bound that [`Builder::max_bytes`](crate::Builder::max_bytes) set.
        max_bytes: u64,
    },
    /// There is no room for the session's data, and none could be made.
    AtByteLimit {
        /// The bound that [`Builder::max_bytes`](crate::Builder::max_bytes) set.
        max_bytes: u64,
    },
    /// The session's subject has as many sessions as it may.
    SubjectLimit {
        /// The limit that [`Builder::max_per_subject`](crate::Builder::max_per_subject) set.
        max_per_subject: usize,
    },
    /// The caller's id belongs to a live session.
    Taken,
    /// There was no randomness for an id.
    Entropy(EntropyError),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtCapacity { max_sessions } => {
                write!(f, "the store is full: max_sessions is {max_sessions}")
            }
            Self::TooLarge { max_bytes } => {
                write!(f, "the data is too large: max_bytes is {max_bytes}")
            }
            Self::AtByteLimit { max_bytes } => {
                write!(f, "the store is full: max_bytes is {max_bytes}")
            }
            Self::SubjectLimit { max_per_subject } => {
                write!(f, "the subject has its sessions: max_per_subject is {max_per_subject}")
            }
            Self::Taken => f.write_str("the given id belongs to a live session"),
            Self::Entropy(error) => error.fmt(f),
        }
    }
}

impl Error for CreateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Entropy(error) => error.source(),
            _ => None,
        }
    }
}

impl From<EntropyError> for CreateError {
    fn from(error: EntropyError) -> Self {
        Self::Entropy(error)
    }
}

/// A refused value together with the reason, so that nothing is lost.
#[derive(Clone)]
pub struct Rejected<T> {
    /// What was to be stored.
    pub value: T,
    /// Why it was not.
    pub error: CreateError,
}

impl<T> fmt::Debug for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> Error for Rejected<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Why [`try_save`](crate::SessionStore::try_save) stored nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SaveError {
    /// Somebody saved the session since this handle loaded it.
    Conflict,
    /// The session has ended.
    Gone,
    /// With this data the session would be of another subject, which has as many sessions as it may:
    /// see [`Builder::max_per_subject`](crate::Builder::max_per_subject).
    SubjectLimit,
    /// The data is larger than the store may be: see [`Builder::max_bytes`](crate::Builder::max_bytes).
    TooLarge,
    /// There is no room for what the data has grown by, and none could be made.
    AtByteLimit,
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conflict => "the session was saved by somebody else since it was loaded",
            Self::Gone => "the session has ended",
            Self::TooLarge => "the data is larger than max_bytes allows",
            Self::AtByteLimit => "there is no room within max_bytes for what the data has grown by",
            Self::SubjectLimit => "the subject has as many sessions as max_per_subject allows",
        })
    }
}

impl Error for SaveError {}

/// Why [`try_rotate`](crate::SessionStore::try_rotate) left the session under its old id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RotateError {
    /// The session has ended.
    Gone,
    /// There was no randomness for a new id.
    Entropy(EntropyError),
}

impl fmt::Display for RotateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the session has ended"),
            Self::Entropy(error) => error.fmt(f),
        }
    }
}

impl Error for RotateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Gone => None,
            Self::Entropy(error) => error.source(),
        }
    }
}

impl From<EntropyError> for RotateError {
    fn from(error: EntropyError) -> Self {
        Self::Entropy(error)
    }
}
