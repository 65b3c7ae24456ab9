//! Operations decoded from bytes, against the reference model that `tests/state_machine.rs` runs too.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use model::{Config, Op, Run};

mod counting;
#[path = "../../tests/model/mod.rs"]
mod model;

/// Bytes that a session costs, at the most, the store's share and the reference's together. One that was not stored
/// costs the reference alone.
const SESSION: usize = 512;

/// Operations in one run, at the most.
const OPERATIONS: usize = 200;

fn run(bytes: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (mark, size) = (counting::Mark::now(), bytes.len());
    let config = Config::arbitrary(bytes)?;
    let mut run = Run::new(config);
    let mut done = Vec::new();
    while !bytes.is_empty() && done.len() < OPERATIONS {
        let op = Op::arbitrary(bytes)?;
        done.push(op);
        if let Err(difference) = run.step(op) {
            panic!("{difference}\nafter {done:?}\nwith {config:?}");
        }
    }
    if let Err(difference) = run.validate() {
        panic!("{difference}\nin the end, after {done:?}\nwith {config:?}");
    }
    // Two bytes can ask for 255 sessions, so that these are counted for what they are.
    let stats = run.store().stats();
    mark.check(size, (stats.created + stats.creates_refused) as usize * SESSION);
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes for the settings: nothing to run.
    let _ = run(&mut Unstructured::new(bytes));
});
