use cloakroom::*;
use std::time::Duration;

#[test]
fn million_storm() {
    let clock = ManualClock::new();
    let store = SessionStore::<u64>::builder().ttl(Duration::from_secs(60)).clock(clock.clone()).build().unwrap();
    let t = std::time::Instant::now();
    for i in 0..1_000_000 { store.create_with(i); }
    println!("create {:?}", t.elapsed());
    assert_eq!(store.len(), 1_000_000);
    println!("{:?}", store.stats());
    clock.advance(Duration::from_secs(61));
    let t = std::time::Instant::now();
    let s = store.stats();
    println!("stats {:?} {s:?}", t.elapsed());
    let keep = store.create_with(1);
    let t = std::time::Instant::now();
    let mut n = 0;
    while store.len() > 10_000 { store.load(keep.id()).unwrap(); n += 1; }
    println!("reclaim {:?} in {n} loads", t.elapsed());
    while store.len() > 1 && n < 10_000_000 { store.load(keep.id()).unwrap(); n += 1; }
    println!("all {:?} in {n} loads, {:?}", t.elapsed(), store.stats());
    let t = std::time::Instant::now();
    for _ in 0..1_000_000 { store.load(keep.id()).unwrap(); }
    println!("load {:?}", t.elapsed()/1_000_000);
}
