//! Owns where the tests find a built example, and that it is not older than its source.

use std::env::{consts::EXE_SUFFIX, current_exe};
use std::path::Path;
use std::process::Command;
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
