//! Owns how figures are written for people.

/// Returns a whole number with its thousands apart: `12,345,678`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number in thousands, millions or billions, to three digits: `12.3 M`.
pub(crate) fn short(number: f64) -> String {
    scaled(number, &[(1e9, " G"), (1e6, " M"), (1e3, " k"), (1.0, "")])
}

/// Returns a time given in nanoseconds, to three digits: `1.23 ms`.
pub(crate) fn nanos(nanos: f64) -> String {
    scaled(nanos, &[(1e9, " s"), (1e6, " ms"), (1e3, " µs"), (1.0, " ns")])
}

pub(crate) fn threads(threads: usize) -> String {
    let plural = if threads == 1 { "" } else { "s" };
    format!("{threads} thread{plural}")
}

fn scaled(number: f64, units: &[(f64, &str)]) -> String {
    let smallest = units[units.len() - 1];
    // What would be rounded up to 1000 belongs to the next unit.
    let fits = units.iter().find(|(unit, _)| number >= unit * 0.9995);
    let (unit, name) = *fits.unwrap_or(&smallest);
    let number = number / unit;
    let places = match number {
        _ if number.fract() == 0.0 => 0,
        100.0.. => 0,
        10.0..100.0 => 1,
        _ => 2,
    };
    let text = format!("{number:.places$}");
    let zeros = if places > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{zeros}{name}")
}
