//! Models of the races that the store promises an outcome for, each over the real source: loom runs a
//! model once for every schedule, and every value that a relaxed load may read, that could make a
//! difference.
//!
//! Each model has teeth: a fault in `loom-tests/mutations` that it must find (`ci/loom`).

mod setup;

mod biased_readers;
mod capacity_bound;
mod conditional_saves;
mod destroy_once;
mod drop_reenters;
mod evict_or_sign_in;
mod evict_or_touch;
mod expired_is_final;
mod revoke_all;
mod rotate_locks;
mod rotate_one_id;
mod rotate_or_walk;
mod save_or_destroy;
mod subject_limit;
mod sweep_claim;
mod touch_or_destroy;
mod touch_or_sweep;
mod touch_or_touch;
mod updates_add_up;
mod watch_or_end;
mod writer_gate;
