//! Owns how the examples read their flags: what a time looks like, and a bad flag as one sentence.

use std::env;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use clap::error::ContextValue;
use clap::{Arg, Parser, ValueHint};
use cloakroom::BuildError;

/// Returns the flags, or what is wrong with them in one sentence. `--help` prints and exits.
pub(crate) fn parse<F: Parser>() -> Result<F, String> {
    // So that a setting's own parser hears of `-1`. A path left out is told rather than taken from the next flag.
    let takes =
        |arg: &Arg| arg.get_action().takes_values() && arg.get_value_hint() != ValueHint::AnyPath;
    let mut command =
        F::command().mut_args(|arg| if takes(&arg) { arg.allow_hyphen_values(true) } else { arg });
    let matches = command.try_get_matches_from_mut(env::args_os());
    let flags = matches.and_then(|matches| F::from_arg_matches(&matches));
    flags.map_err(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        let mut text = error.to_string();
        // A value may have lines of its own, or what else a terminal obeys.
        for (_, value) in error.context() {
            if let ContextValue::String(value) = value {
                let plain = value.replace(char::is_control, " ");
                if plain != *value {
                    text = text.replace(value, &plain);
                }
            }
        }
        // Up to the empty line before the usage.
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

/// Reads a number from a range; for `value_parser`.
pub(crate) fn between<N>(min: N, max: N) -> impl Fn(&str) -> Result<N, String> + Clone
where
    N: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok();
        // Not a number is in no range.
        let number = number.filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| format!("must be a number from {min} to {max}"))
    }
}

/// Milliseconds of 400 days: RFC 6265bis lets no cookie live longer.
const LONGEST: u64 = 400 * 24 * 60 * 60 * 1000;

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
    let limit = "must be a time from 0 to 400d, in seconds or with ms, s, m, h or d, such as 30m";
    millis.filter(|millis| *millis <= LONGEST).map(Duration::from_millis).ok_or(limit)
}
