//! Owns where the tests find a built example, that it is not older than its source, and one that serves.
#![allow(dead_code, reason = "not every test that starts an example has a server")]

use std::env::{consts::EXE_SUFFIX, current_exe};
use std::fs::read_to_string;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::SystemTime;

pub(crate) fn example(name: &str) -> Command {
    let test = current_exe().unwrap();
    let target = test.ancestors().nth(2).unwrap();
    let example = target.join(format!("examples/{name}{EXE_SUFFIX}"));
    assert!(
        is_up_to_date(&example),
        "the {name} example is not built, or older than its source: run a plain `cargo test`, \
         or `cargo build --example {name}` first"
    );
    Command::new(example)
}

/// Says whether an example is built, and no file that it was built from has changed since. Cargo writes a
/// line of them beside it: `path/to/example: a/source another/source`.
fn is_up_to_date(example: &Path) -> bool {
    let (Ok(built), Ok(line)) = (changed(example), read_to_string(example.with_extension("d")))
    else {
        return false;
    };
    let line = line.replace("\\ ", "\0");
    let (_, sources) = line.trim_end().split_once(": ").unwrap();
    let sources = sources.split(' ').map(|source| source.replace('\0', " "));
    sources.into_iter().all(|source| changed(Path::new(&source)).is_ok_and(|last| last <= built))
}

fn changed(file: &Path) -> std::io::Result<SystemTime> {
    file.metadata()?.modified()
}

/// An example that serves, which ends with the test.
pub(crate) struct Serving {
    pub(crate) child: Child,
    /// What it prints after its first line.
    pub(crate) stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Serving {
    /// Starts it, and reads in its first line where it listens.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.strip_prefix("Listening on http://").and_then(|rest| {
            let (address, _) = rest.split_once(',')?;
            address.parse().ok()
        });
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { child, stdout, address }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
