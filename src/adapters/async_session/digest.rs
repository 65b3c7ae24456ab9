//! Owns how an id of async-session's is read: the text of a digest of 32 bytes, in the base64 of RFC 4648,
//! section 4.

use crate::id::SessionId;

/// Characters of 32 bytes, the last one padding.
const LEN: usize = 44;

/// Characters that hold the first 16 bytes, 2 bits in the last one.
const HALF: usize = 22;

/// What `VALUES` holds for a byte outside the alphabet; has a bit that no value has.
const INVALID: u8 = 0x80;

/// The value of each byte in the alphabet.
const VALUES: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [INVALID; 256];
    let mut i = 0;
    while i < alphabet.len() {
        values[alphabet[i] as usize] = i as u8;
        i += 1;
    }
    values
};

/// Returns the first 16 bytes, or `None` if the text is no such digest.
///
/// Half of a digest is as hard to meet as a digest that is cut to that half: 128 bits of work to find the
/// cookie of a session, as for any id of this crate.
pub(super) fn first_half(text: &str) -> Option<SessionId> {
    let digits: &[u8; LEN] = text.as_bytes().try_into().ok()?;
    let values = digits.map(|digit| VALUES[usize::from(digit)]);
    let seen = values[..LEN - 1].iter().fold(0, |seen, value| seen | value);
    // The last digit carries 4 bits, and what it stands in front of is filled up.
    if seen & INVALID != 0 || values[LEN - 2] & 0b11 != 0 || digits[LEN - 1] != b'=' {
        return None;
    }
    let whole = values[..HALF - 1].iter().fold(0, |bits, value| bits << 6 | u128::from(*value));
    Some(SessionId::from_bits(whole << 2 | u128::from(values[HALF - 1] >> 4)))
}
