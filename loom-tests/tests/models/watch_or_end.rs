//! A watch that begins while its session ends.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use cloakroom::{Cause, ManualClock};
use loom::thread;

use crate::setup::{exhaustive, id, store};

#[test]
fn watch_that_was_given_out_resolves() {
    exhaustive(|| {
        let store = store::<u32>(&ManualClock::new(), [id(0, 0, 1)]).build().unwrap();
        let session = *store.create().id();

        let ends = thread::spawn({
            let store = store.clone();
            move || assert!(store.destroy(&session))
        });
        let watch = store.watch(&session);
        ends.join().unwrap();

        if let Some(mut watch) = watch {
            let polled = Pin::new(&mut watch).poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(polled, Poll::Ready(Cause::Destroyed));
        }
    });
}
