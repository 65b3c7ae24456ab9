//! Owns where the tests find a built example, that it is not older than its source, and one that serves.
#![allow(dead_code, reason = "not every test that starts an example has a server")]

use std::env::{consts::EXE_SUFFIX, current_exe};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::SystemTime;

pub(crate) fn example(name: &str) -> Command {
    let test = current_exe().unwrap();
    let target = test.ancestors().nth(2).unwrap();
    let example = target.join(format!("examples/{name}{EXE_SUFFIX}"));
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = format!("examples/{name}.rs");
    let folder = format!("examples/{name}");
    let sources = ["src", "examples/flags", &file, &folder].map(|path| package.join(path));
    let source = sources.iter().filter(|path| path.exists()).map(|path| newest(path)).max();
    assert!(
        example.exists() && Some(newest(&example)) >= source,
        "the {name} example is not built, or older than its source: run a plain `cargo test`, \
         or `cargo build --example {name}` first"
    );
    Command::new(example)
}

/// Returns when a file, or any file below a directory, was last changed. Unit tests are in no example.
fn newest(path: &Path) -> SystemTime {
    let metadata = path.metadata().unwrap();
    if metadata.is_file() {
        return metadata.modified().unwrap();
    }
    let entries = path.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let compiled = entries.filter(|path| path.file_stem().is_none_or(|name| name != "tests"));
    compiled.map(|path| newest(&path)).max().unwrap_or(SystemTime::UNIX_EPOCH)
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
