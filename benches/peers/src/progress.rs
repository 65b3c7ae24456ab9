//! Owns the line that says what is being done, on the terminal only.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Between two progress lines where there is no terminal to rewrite one on.
const SELDOM: Duration = Duration::from_secs(30);

pub struct Progress {
    begin: Instant,
    terminal: bool,
    said: Option<Instant>,
    done: usize,
    all: usize,
}

impl Progress {
    pub fn new(all: usize) -> Self {
        Self { begin: Instant::now(), terminal: stderr().is_terminal(), said: None, done: 0, all }
    }

    /// Says what the next step is.
    pub fn step(&mut self, doing: &str) {
        self.say(doing);
        self.done += 1;
    }

    /// Says what is being done that is no step.
    pub fn say(&mut self, doing: &str) {
        let share = 100 * self.done / self.all.max(1);
        let spent = self.begin.elapsed().as_secs();
        let (minutes, seconds) = (spent / 60, spent % 60);
        let line = format!("{share:3} % {minutes}:{seconds:02} {doing}");
        // A progress line that cannot be written is no reason to stop.
        let _ = if self.terminal {
            let mut err = stderr();
            write!(err, "\r\x1b[K{line:.79}").and_then(|()| err.flush())
        } else if self.said.is_none_or(|said| said.elapsed() > SELDOM) {
            self.said = Some(Instant::now());
            writeln!(stderr(), "{line}")
        } else {
            Ok(())
        };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
