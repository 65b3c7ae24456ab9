//! Owns how a JSON value is written into a text and read from it, exactly as it was: by marks and lengths,
//! where JSON itself would have to be escaped, parsed and searched for its ends.

use serde_json::{Number, Value};

use crate::adapters::packed::{Reader, Writer};

const NULL: u8 = b'n';
const FALSE: u8 = b'f';
const TRUE: u8 = b't';
/// A number that is not negative and has no fraction.
const NATURAL: u8 = b'u';
/// The complement of a negative number without a fraction.
const NEGATIVE: u8 = b'i';
/// The bits of a number with a fraction.
const FRACTION: u8 = b'd';
/// The digits of a number that is none of these, which serde_json has where somebody asked it for
/// arbitrary precision.
const DIGITS: u8 = b'p';
const TEXT: u8 = b's';
const ARRAY: u8 = b'a';
const OBJECT: u8 = b'o';

pub(super) fn write(bytes: &mut Writer, value: &Value) {
    match value {
        Value::Null => bytes.mark(NULL),
        Value::Bool(false) => bytes.mark(FALSE),
        Value::Bool(true) => bytes.mark(TRUE),
        Value::Number(number) => write_numeral(bytes, number),
        Value::String(string) => {
            bytes.mark(TEXT);
            bytes.text(string);
        }
        Value::Array(values) => {
            bytes.mark(ARRAY);
            bytes.number(values.len() as u64);
            values.iter().for_each(|value| write(bytes, value));
        }
        Value::Object(values) => {
            bytes.mark(OBJECT);
            bytes.number(values.len() as u64);
            for (key, value) in values {
                bytes.text(key);
                write(bytes, value);
            }
        }
    }
}

fn write_numeral(bytes: &mut Writer, numeral: &Number) {
    let fraction = numeral.as_f64().filter(|f| Number::from_f64(*f).as_ref() == Some(numeral));
    // Not -0, which is a numeral of its own where they are kept as they were written.
    let negative = numeral.as_i64().filter(|n| *n < 0);
    if let Some(natural) = numeral.as_u64() {
        bytes.mark(NATURAL);
        bytes.number(natural);
    } else if let Some(negative) = negative {
        bytes.mark(NEGATIVE);
        bytes.number(!negative as u64);
    } else if let Some(fraction) = fraction {
        bytes.mark(FRACTION);
        bytes.number(fraction.to_bits());
    } else {
        bytes.mark(DIGITS);
        bytes.text(&numeral.to_string());
    }
}

/// Reads what [`write`] wrote.
pub(super) fn read(bytes: &mut Reader<'_>) -> Value {
    match bytes.mark() {
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        NATURAL => Value::from(bytes.number()),
        NEGATIVE => Value::from(!(bytes.number() as i64)),
        FRACTION => Value::from(f64::from_bits(bytes.number())),
        DIGITS => serde_json::from_str(bytes.text()).unwrap_or_default(),
        TEXT => Value::String(bytes.string()),
        ARRAY => (0..bytes.number()).map(|_| read(bytes)).collect(),
        OBJECT => (0..bytes.number()).map(|_| (bytes.string(), read(bytes))).collect(),
        _ => Value::Null,
    }
}
