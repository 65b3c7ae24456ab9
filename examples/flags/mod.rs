//! Owns how the examples read their flags: what a time looks like, and a bad flag as one sentence.

use std::time::Duration;

use clap::Parser;

/// Returns the flags, or what is wrong with them in one sentence. `--help` prints and exits.
pub(crate) fn parse<F: Parser>() -> Result<F, String> {
    F::try_parse().map_err(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        format!("{}; see --help", first.trim_start_matches("error: "))
    })
}

/// Reads a time, such as `30m`; for `value_parser`.
pub(crate) fn time(text: &str) -> Result<Duration, &'static str> {
    const SECOND: u64 = 1000;
    let units = [
        ("ms", 1),
        ("s", SECOND),
        ("m", 60 * SECOND),
        ("h", 60 * 60 * SECOND),
        ("d", 24 * 60 * 60 * SECOND),
        ("", SECOND),
    ];
    let millis = units.into_iter().find_map(|(unit, millis)| {
        let number = text.strip_suffix(unit)?.parse::<u64>().ok()?;
        Some(number.saturating_mul(millis))
    });
    let example = "write seconds, or a number with ms, s, m, h or d, such as 30m";
    millis.map(Duration::from_millis).ok_or(example)
}
