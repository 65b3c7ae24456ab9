//! Owns how a number is written before what it is the length of: as digits of a byte each, the lowest first, all of
//! them characters of ASCII, so that they can stand in a text.

/// Bits in a digit. The next one says whether another digit follows.
const DIGIT: u32 = 6;
const ANOTHER: u8 = 1 << DIGIT;

/// Returns how many digits a number has.
#[inline]
pub(crate) fn count(number: u64) -> usize {
    (number.max(1).ilog2() / DIGIT + 1) as usize
}

/// Hands out a number's digits.
#[inline]
pub(crate) fn write(mut number: u64, mut put: impl FnMut(u8)) {
    while number >> DIGIT != 0 {
        put(number as u8 & (ANOTHER - 1) | ANOTHER);
        number >>= DIGIT;
    }
    put(number as u8);
}

/// Returns the number whose digits come next.
#[inline]
pub(crate) fn read(mut next: impl FnMut() -> u8) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let digit = next();
        number |= u64::from(digit & (ANOTHER - 1)) << shift;
        shift += DIGIT;
        if digit & ANOTHER == 0 {
            return number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for bit in 0..u64::BITS {
            for number in [(1 << bit) - 1, 1 << bit, (1 << bit) + 1, u64::MAX - (1 << bit)] {
                let mut digits = Vec::new();
                write(number, |digit| digits.push(digit));
                assert_eq!(digits.len(), count(number));
                assert!(digits.is_ascii());
                let mut rest = digits.iter();
                assert_eq!(read(|| *rest.next().unwrap()), number);
                assert_eq!(rest.len(), 0);
            }
        }
    }
}
