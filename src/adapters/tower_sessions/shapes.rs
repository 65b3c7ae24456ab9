//! Owns how a map of values is made for a load: as a copy of one that has the same keys, because that
//! hashes none of them. Most sessions of an application have the same few keys.
//!
//! A thread keeps a few such maps. They hold keys, and no values.

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::Value;

use super::value;
use crate::adapters::packed::Reader;

/// Keys that a map here has at the most: more of them are hashed.
pub(super) const FEW: usize = 8;

/// Bytes that the keys of a map here take at the most.
const LONGEST: usize = 256;

/// Maps that a thread keeps.
const KEPT: usize = 4;

/// Of so many loads with keys that no map here has, one leaves a map: where keys are seldom the same, a map
/// with each load would be for nothing.
const SELDOM: usize = 8;

struct Shape {
    /// How what has these keys begins.
    head: Box<[u8]>,
    /// In the place of each value, its index.
    map: HashMap<String, Value>,
}

struct Shapes {
    kept: [Option<Shape>; KEPT],
    missed: usize,
}

thread_local! {
    static SHAPES: RefCell<Shapes> =
        const { RefCell::new(Shapes { kept: [const { None }; KEPT], missed: 0 }) };
}

/// Returns the keys and values of what was packed, if there is a map with its keys.
pub(super) fn fill(packed: Reader<'_>) -> Option<HashMap<String, Value>> {
    // A load while the thread ends hashes.
    let filled = SHAPES.try_with(|shapes| {
        let mut shapes = shapes.try_borrow_mut().ok()?;
        let known = shapes.kept.iter().flatten().find(|shape| packed.0.starts_with(&shape.head));
        if let Some(shape) = known {
            return Some(shape.fill(packed));
        }
        shapes.missed += 1;
        if shapes.missed % SELDOM == 0 {
            let at = shapes.missed / SELDOM % KEPT;
            shapes.kept[at] = Shape::of(packed);
        }
        None
    });
    filled.ok().flatten()
}

impl Shape {
    /// Returns the shape of what was packed, unless it has too many keys or too long ones.
    fn of(packed: Reader<'_>) -> Option<Self> {
        let mut rest = packed;
        let len = rest.number();
        if len > FEW as u64 {
            return None;
        }
        let map = (0..len).map(|at| (rest.string(), Value::from(at))).collect();
        let head = packed.0.strip_suffix(rest.0).filter(|head| head.len() <= LONGEST)?;
        Some(Self { head: head.into(), map })
    }

    fn fill(&self, packed: Reader<'_>) -> HashMap<String, Value> {
        let mut rest = Reader(packed.0.get(self.head.len()..).unwrap_or_default());
        let mut map = self.map.clone();
        let mut places: [Option<&mut Value>; FEW] = [const { None }; FEW];
        for place in map.values_mut() {
            if let Some(at) = place.as_u64().and_then(|at| places.get_mut(at as usize)) {
                *at = Some(place);
            }
        }
        places.into_iter().flatten().for_each(|place| *place = value::read(&mut rest));
        map
    }
}
