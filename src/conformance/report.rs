//! Owns what a run of the suite has found.

use std::fmt;

use super::{Failure, Verdict};

/// What a run of the suite has found. Its `Display` is one line for each check.
#[derive(Clone, Debug, Default)]
#[must_use = "a report that nobody looks at proves nothing"]
pub struct Report {
    passed: Vec<&'static str>,
    failed: Vec<(&'static str, String)>,
    skipped: Vec<&'static str>,
}

impl Report {
    pub(super) fn add(&mut self, check: &'static str, verdict: Verdict) {
        match verdict {
            Ok(()) => self.passed.push(check),
            Err(Failure::Skipped) => self.skipped.push(check),
            Err(Failure::Broken(why)) => self.failed.push((check, why)),
        }
    }

    #[cfg(any(feature = "tower-sessions", feature = "actix-session", feature = "async-session"))]
    pub(super) fn and(mut self, more: Self) -> Self {
        self.passed.extend(more.passed);
        self.failed.extend(more.failed);
        self.skipped.extend(more.skipped);
        self
    }

    /// Returns the names of the checks that the store passed.
    #[must_use]
    pub fn passed(&self) -> &[&'static str] {
        &self.passed
    }

    /// Returns the names of the checks that it failed.
    #[must_use]
    pub fn failed(&self) -> Vec<&'static str> {
        self.failed.iter().map(|(check, _)| *check).collect()
    }

    /// Returns the names of the checks that its interface, or its clock, has no way to run.
    #[must_use]
    pub fn skipped(&self) -> &[&'static str] {
        &self.skipped
    }

    /// Does nothing if the store failed no check, and passed at least one.
    ///
    /// # Panics
    ///
    /// With the report, otherwise.
    pub fn assert_passed(&self) {
        assert!(self.failed.is_empty() && !self.passed.is_empty(), "\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (check, why) in &self.failed {
            writeln!(f, "FAILED  {check}: {why}")?;
        }
        for check in &self.skipped {
            writeln!(f, "skipped {check}")?;
        }
        for check in &self.passed {
            writeln!(f, "passed  {check}")?;
        }
        Ok(())
    }
}
