//! Owns the sequential reference model of a store, and the run that drives both and compares them.
//!
//! One model, two drivers: `tests/state_machine.rs` feeds it operations from proptest,
//! `fuzz/fuzz_targets/store_ops.rs` from bytes. `op.rs` says what can be done, `reference.rs` what
//! must come of it, the others do it to a real store and compare. Knows the public API
//! and the documented promises only.

mod commit;
mod create;
mod handle;
mod key;
mod op;
mod reference;
mod room;
mod run;
mod subjects;
mod walk;

#[allow(unused_imports, reason = "each driver names what it needs")]
pub(crate) use op::{Bound, Config, Lifetimes, Op, Span, Target, Until, Whose};
#[allow(unused_imports, reason = "as above")]
pub(crate) use run::{Data, Run};
