//! Owns [`Subject`]: who a session belongs to, as 128 bits that tell one from another and show nothing.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::OnceLock;

use crate::sync::RandomState;

/// Who a session belongs to: an account, a user, a device, whatever your
/// [`index_by`](crate::Builder::index_by) makes of a session's data.
///
/// Made from an integer, a string or the 16 bytes of a UUID. Integers of all types are one: 42 is the same
/// subject as `i64` and as `u32`; a negative one is its two's complement of 128 bits. A UUID is its 128 bits, read as one integer, in the order of its bytes. Of a
/// string only a keyed digest is kept: the key is the process's own, so a `Subject` is nothing to store
/// or to send.
///
/// # Security
///
/// `Debug` shows a fingerprint that nobody outside of the process can turn back, not even of a small integer.
/// Two strings are one subject with a chance of 2^-128, and nobody who does not know the key finds such two.
///
/// # Examples
///
/// ```
/// use cloakroom::Subject;
///
/// assert_eq!(Subject::from(42_u32), Subject::from(42_i64));
/// assert_ne!(Subject::from("ada"), Subject::from("bob"));
/// let text = format!("{:?}", Subject::from("olga"));
/// assert!(text.starts_with("Subject(#") && !text.contains("olga"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subject(u128);

/// The keys of the process: two halves of a string's digest, and the fingerprints.
struct Keys {
    halves: [std::hash::RandomState; 2],
    fingerprint: std::hash::RandomState,
}

fn keys() -> &'static Keys {
    // SipHash, which is made to hide its key from those who choose what is digested.
    static KEYS: OnceLock<Keys> = OnceLock::new();
    let new = std::hash::RandomState::new;
    KEYS.get_or_init(|| Keys { halves: [new(), new()], fingerprint: new() })
}

impl Subject {
    /// Returns 128 bits of a keyed hash, to place the subject by.
    pub(crate) fn spread(&self, keys: &[RandomState; 2]) -> [u64; 2] {
        [keys[0].hash_one(self.0), keys[1].hash_one(self.0)]
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject(#{:08x})", keys().fingerprint.hash_one(self.0) >> 32)
    }
}

impl From<&str> for Subject {
    fn from(text: &str) -> Self {
        let half = |key: &std::hash::RandomState| {
            let mut hasher = key.build_hasher();
            hasher.write(text.as_bytes());
            u128::from(hasher.finish())
        };
        let [high, low] = &keys().halves;
        Self(half(high) << 64 | half(low))
    }
}

impl From<&String> for Subject {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Subject {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<[u8; 16]> for Subject {
    fn from(uuid: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(uuid))
    }
}

macro_rules! from_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Subject {
            fn from(number: $integer) -> Self {
                // Sign-extended, so that a number is the same subject in every type that holds it.
                Self(number as u128)
            }
        }
    )*};
}

from_integers!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_all_types_and_uuids_are_told_apart_by_their_value_alone() {
        assert_eq!(Subject::from(7_u8), Subject::from(7_i128));
        assert_eq!(Subject::from(-7_i8), Subject::from(-7_isize));
        assert_ne!(Subject::from(-7_i8), Subject::from(7_i8));
        assert_eq!(Subject::from(-7_i8), Subject::from(7_u128.wrapping_neg()));
        assert_eq!(Subject::from(7_u128.to_be_bytes()), Subject::from(7_usize));
        let high = Subject::from(1_u128 << 120);
        assert_ne!(high, Subject::from(1_u128 << 119));
    }

    #[test]
    fn strings_are_told_apart_by_every_byte() {
        let texts = ["", "a", "b", "ab", "ba", "a\0", "\0a"];
        for (i, a) in texts.iter().enumerate() {
            for (j, b) in texts.iter().enumerate() {
                assert_eq!(Subject::from(*a) == Subject::from(*b), i == j);
            }
        }
        assert_eq!(Subject::from(&String::from("ada")), Subject::from("ada"));
        assert_eq!(Subject::from(String::from("ada")), Subject::from("ada"));
    }

    #[test]
    fn digest_of_a_string_fills_all_the_bits_of_a_subject() {
        let digest = Subject::from("ada").0;
        assert!(digest >> 64 != 0 && digest << 64 != 0, "but for one key in 2^63");
    }

    #[test]
    fn debug_shows_neither_the_number_nor_the_text() {
        let number = format!("{:?}", Subject::from(0x00ab_cdef_u32));
        assert!(number.starts_with("Subject(#") && !number.contains("abcdef"), "{number}");
        assert!(!format!("{:?}", Subject::from("secret")).contains("secret"));
    }
}
