//! Owns how the examples read their flags: what a time looks like, and a bad flag as one sentence.

use std::time::Duration;

use clap::Parser;
use cloakroom::BuildError;

/// Returns the flags, or what is wrong with them in one sentence. `--help` prints and exits.
pub(crate) fn parse<F: Parser>() -> Result<F, String> {
    F::try_parse().map_err(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        // Up to the empty line before the usage: a value may have lines of its own.
        let text = error.to_string();
        let sentence = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        format!("{}; see --help", sentence.trim_start_matches("error: "))
    })
}

/// Returns what is wrong with a store's settings, by the names of the flags: those of the settings, unless `others` has
/// another.
pub(crate) fn refused(error: &BuildError, others: &[(&str, &str)]) -> String {
    let setting = error.setting();
    let other = others.iter().find(|(of, _)| *of == setting).map(|(_, flag)| (*flag).to_owned());
    let flag = other.unwrap_or_else(|| format!("--{}", setting.replace('_', "-")));
    error.to_string().replacen(setting, &flag, 1)
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
