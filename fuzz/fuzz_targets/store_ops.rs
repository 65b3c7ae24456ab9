//! Operations decoded from bytes, against the reference model that `tests/state_machine.rs` runs too.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use model::{Config, Op, Run};

#[path = "../../tests/model/mod.rs"]
mod model;

/// Operations in one run, at the most.
const OPERATIONS: usize = 200;

fn run(bytes: &mut Unstructured<'_>) -> arbitrary::Result<()> {
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
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes for the settings: nothing to run.
    let _ = run(&mut Unstructured::new(bytes));
});
