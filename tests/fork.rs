//! Buffered ids in forked processes: none is handed out twice.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "there is no safe fork")]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use cloakroom::{IdSource, SessionStore};

const FORKS: usize = 1_000;
const IDS: usize = 64;

/// Characters of an id's text.
const TOKEN: usize = 22;

mod process {
    use std::ffi::c_int;

    unsafe extern "C" {
        pub(super) fn fork() -> c_int;
        pub(super) fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
        pub(super) fn _exit(status: c_int) -> !;
    }
}

fn tokens(store: &SessionStore, count: usize) -> String {
    (0..count).map(|_| store.create().id().to_token().to_string()).collect()
}

/// Runs `child` in a forked process and returns what it wrote, once that process has ended.
fn in_a_fork(child: impl FnOnce() -> String) -> String {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    // SAFETY: `fork` takes nothing. The child has one thread, a copy of this one. Of what another
    // thread may have been holding at that moment it needs only the allocator's lock, which libc
    // restores in the child: no other thread uses the store, and the child ends by `_exit`, without
    // the test harness's code.
    match unsafe { process::fork() } {
        0 => {
            let written = theirs.write_all(child().as_bytes());
            // SAFETY: `_exit` ends the process and runs nothing of it.
            unsafe { process::_exit(i32::from(written.is_err())) }
        }
        pid => {
            assert!(pid > 0, "fork failed");
            drop(theirs);
            let mut text = String::new();
            ours.read_to_string(&mut text).unwrap();
            let mut status = -1;
            // SAFETY: `status` is one writable int that outlives the call.
            let ended = unsafe { process::waitpid(pid, &mut status, 0) };
            assert_eq!((ended, status), (pid, 0));
            text
        }
    }
}

#[test]
fn buffered_ids_never_repeat_between_a_process_and_its_forks() {
    let store = SessionStore::builder().shards(2).id_source(IdSource::Buffered).build().unwrap();
    let mut seen = HashSet::new();
    let mut count = |text: &str| {
        assert_eq!(text.len() % TOKEN, 0);
        for token in text.as_bytes().chunks(TOKEN) {
            assert!(seen.insert(token.to_vec()), "an id was handed out twice");
        }
        text.len() / TOKEN
    };
    let mut handed_out = 0;
    for fork in 0..FORKS {
        // Each fork finds another number of ids left in the buffer.
        handed_out += count(&tokens(&store, 1 + fork % 5));
        handed_out += count(&in_a_fork(|| tokens(&store, IDS)));
    }
    assert_eq!(handed_out, FORKS * (IDS + 3));
    assert_eq!(store.len(), FORKS * 3);
}
