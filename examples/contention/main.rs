//! A load test of a session store with your own settings.
//!
//! `cargo run --release --example contention`, and `-- --help` for what can be set. Prints a table of
//! latencies and writes a report with plots into one HTML file. Ctrl-C ends it early, with the table
//! and the report of what was seen until then.

#[path = "../flags/mod.rs"]
mod flags;
mod latency;
mod plots;
mod report;
mod settings;
mod text;
mod visits;
mod watch;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use report::Report;
use settings::{Settings, Store};
use visits::Load;
use watch::{Interrupt, Progress, Watch};

/// How settings that cannot be used end the program, as clap has it.
const BAD_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    let (sentence, code) = match prepare() {
        Err(sentence) => (sentence, ExitCode::from(BAD_SETTINGS)),
        Ok((settings, store)) => match run(&settings, store) {
            Err(sentence) => (sentence, ExitCode::FAILURE),
            Ok(()) => return ExitCode::SUCCESS,
        },
    };
    eprintln!("contention: {sentence}.");
    code
}

fn prepare() -> Result<(Settings, Store), String> {
    let settings = Settings::read()?;
    let store = settings.store()?;
    writable(&settings.report)?;
    Ok((settings, store))
}

/// Makes sure, before a long run, that its report will have a place.
fn writable(path: &Path) -> Result<(), String> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    let place = folder.and_then(|()| match fs::File::create_new(path) {
        // A run that ends early leaves no empty report.
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::OpenOptions::new().append(true).create(true).open(path).map(drop)
        }
        Err(error) => Err(error),
    });
    place.map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    let path = path.display().to_string().replace(char::is_control, " ");
    format!("--report {path} cannot be written ({error})")
}

fn run(settings: &Settings, store: Store) -> Result<(), String> {
    let interrupt = Interrupt::listen()?;
    let mut progress = Progress::new();
    let load = Load::fill(settings, store, |filled| {
        if progress.is_due() {
            progress.show(&format!("filling: {} sessions", text::count(filled as u64)));
        }
        !interrupt.within(Duration::ZERO)
    });
    let too_early = "ended before anything was measured";
    let load = load.ok_or(too_early)?;
    let mut watch = Watch::new(settings, &load, &interrupt, progress);
    for threads in settings.steps() {
        watch.step(threads)?;
        if watch.interrupted {
            break;
        }
    }
    let report = Report::new(settings, &watch).ok_or(too_early)?;
    let html = report.html()?;
    fs::write(&settings.report, html).map_err(|error| unwritable(&settings.report, &error))?;
    let plots = settings.report.display();
    // Whoever closed the pipe has read enough.
    _ = write!(io::stdout(), "{}\nThe plots are in {plots}\n", report.text());
    watch.balance()
}
