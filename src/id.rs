//! Owns session ids: their 128 bits, their one text form, and what counts as an id.
//!
//! `id/mint.rs` draws them. An id never shows itself: `Debug` prints a fingerprint, and the text is
//! made only by [`SessionId::to_token`].

pub(crate) mod mint;

use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

/// Characters in a token: 128 bits at 6 bits a character, rounded up.
pub(crate) const TOKEN_LEN: usize = 22;

/// The base64url alphabet of RFC 4648, section 5.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters that are decoded together: 30 bits.
const GROUP: usize = 5;

/// What `VALUES` holds for a byte outside the alphabet: a bit that lies above a group's wherever in it the byte is.
const INVALID: u32 = 1 << 31;

/// The value of each byte in the alphabet.
static VALUES: [u32; 256] = {
    let mut values = [INVALID; 256];
    let mut i = 0;
    while i < ALPHABET.len() {
        values[ALPHABET[i] as usize] = i as u32;
        i += 1;
    }
    values
};

/// The name of a session: 128 bits that nobody can guess.
///
/// Anyone who knows it *is* the session, so it does not appear in `Debug`, has no `Display`, no
/// `Default` and no serialization. [`to_token`](Self::to_token) makes its text, on purpose, for the
/// cookie.
///
/// # Security
///
/// 128 bits straight from the operating system: ASVS 5.0 7.2.3 asks for at least 128, NIST SP
/// 800-63B-4 section 5.1 for at least 64.
///
/// # Examples
///
/// ```
/// use cloakroom::SessionStore;
///
/// let store = SessionStore::new(3600);
/// let session = store.create();
/// let token = session.id().to_token();
/// assert_eq!(token.as_ref().len(), 22);
/// assert!(store.contains(token.as_ref()));
/// assert!(!format!("{:?}", session.id()).contains(token.as_ref()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(u128);

impl SessionId {
    pub(crate) fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Returns the id in its text form: 22 characters of base64url (RFC 4648, section 5).
    #[must_use]
    pub fn to_token(&self) -> SessionToken {
        let mut text = [0; TOKEN_LEN];
        for (i, byte) in text.iter_mut().enumerate() {
            // 21 characters of 6 bits each, then the 2 bits that are left, at the top of the last.
            let six = if i < TOKEN_LEN - 1 { self.0 >> (122 - 6 * i) } else { self.0 << 4 };
            *byte = ALPHABET[(six & 63) as usize];
        }
        SessionToken(text)
    }

    /// Reads an id back from its text form, or returns `None` if it is not the one canonical text
    /// of an id.
    ///
    /// A few nanoseconds; allocates nothing.
    #[inline]
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        Self::parse_bytes(token.as_bytes())
    }

    /// Reads an id back from the bytes of its text form, which need not be looked at as UTF-8 first.
    #[inline]
    pub(crate) fn parse_bytes(token: &[u8]) -> Option<Self> {
        let bytes: &[u8; TOKEN_LEN] = token.try_into().ok()?;
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| decode(&bytes[at * GROUP..][..GROUP]));
        let low = decode(&bytes[4 * GROUP..]);
        // The last character carries 2 bits; a text with any of its other 4 set is a second
        // spelling of the same id, and is refused.
        let valid = (a | b | c | d | low) >> (6 * GROUP) == 0 && low & 0b1111 == 0;
        let bits =
            u128::from(a << 30 | b) << 68 | u128::from(c << 30 | d) << 8 | u128::from(low >> 4);
        valid.then_some(Self(bits))
    }

    /// Returns 32 bits that tell sessions apart in a log and cannot be turned back into the id.
    ///
    /// The start of the id's SHA-256 digest: the same in every process, as OWASP's Session
    /// Management Cheat Sheet asks of logs ("Logging Sessions Life Cycle").
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        let digest = Sha256::digest(self.0.to_be_bytes());
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }

    #[cfg(feature = "tower-sessions")]
    pub(crate) fn bits(self) -> u128 {
        self.0
    }

    /// Returns bits of the id for choosing at random: only as random as the id is.
    pub(crate) fn low_bits(&self) -> usize {
        self.0 as usize
    }

    /// Returns the id that stands for a caller's text: its SHA-256 digest, cut to 128 bits.
    pub(crate) fn digest(text: &str) -> Self {
        let digest = Sha256::digest(text);
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(half))
    }
}

impl Hash for SessionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.0);
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId(#{:08x})", self.fingerprint())
    }
}

/// Returns the bits that up to a group of characters stand for, with one above them if any is outside the alphabet.
#[inline(always)]
fn decode(text: &[u8]) -> u64 {
    text.iter().fold(0, |bits, byte| bits << 6 | u64::from(VALUES[usize::from(*byte)]))
}

/// The text of a [`SessionId`]: 22 characters that are safe in cookies and URLs.
///
/// Made by [`SessionId::to_token`]. Its `Debug` hides the text; `Display` and `as_ref` show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionToken([u8; TOKEN_LEN]);

impl SessionToken {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Every byte was taken from `ALPHABET`, which is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl AsRef<str> for SessionToken {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

/// What every method that takes an id accepts: [`&SessionId`](SessionId), `&str`, `&String` and
/// [`&SessionToken`](SessionToken).
///
/// A text that is not the canonical form of an id is a plain miss, never an error. The one exception
/// is a text that was given to
/// [`create_with_id`](crate::SessionStore::create_with_id): it finds that session.
pub trait AsSessionId: sealed::Key {}

impl<K: sealed::Key> AsSessionId for K {}

pub(crate) mod sealed {
    use super::{SessionId, SessionToken};

    /// An id, or a text that is not the form of one.
    #[derive(Clone, Copy)]
    pub enum Named<'a> {
        Id(SessionId),
        Foreign(&'a str),
    }

    pub trait Key {
        fn named(&self) -> Named<'_>;
    }

    impl Named<'_> {
        /// Returns the 16 bytes that the table holds for this name.
        pub(crate) fn id(self) -> SessionId {
            match self {
                Self::Id(id) => id,
                Self::Foreign(text) => SessionId::digest(text),
            }
        }
    }

    impl Key for &SessionId {
        #[inline]
        fn named(&self) -> Named<'_> {
            Named::Id(**self)
        }
    }

    impl Key for &str {
        #[inline]
        fn named(&self) -> Named<'_> {
            SessionId::parse(self).map_or(Named::Foreign(self), Named::Id)
        }
    }

    impl Key for &String {
        #[inline]
        fn named(&self) -> Named<'_> {
            SessionId::parse(self).map_or(Named::Foreign(self), Named::Id)
        }
    }

    impl Key for &SessionToken {
        #[inline]
        fn named(&self) -> Named<'_> {
            // Its text is an id's, and need not be looked at as UTF-8.
            SessionId::parse_bytes(&self.0).map_or_else(|| Named::Foreign(self.as_str()), Named::Id)
        }
    }

    impl<K: Key> Key for &K {
        #[inline]
        fn named(&self) -> Named<'_> {
            (**self).named()
        }
    }
}
