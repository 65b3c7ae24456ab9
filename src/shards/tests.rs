//! Where ids belong, and the edges of what is unsafe.

use std::collections::HashSet;

use super::*;

#[test]
fn bucket_beyond_the_table_is_not_full() {
    let shards = Shards::<u64>::new(2);
    let table = shards.map.shards()[0].read();
    for index in [table.buckets(), table.buckets() + 1, usize::MAX] {
        assert!(full_bucket(&table, index).is_none());
    }
}

fn places(shards: &Shards<()>, many: usize) -> impl Iterator<Item = Place> {
    (0..many as u128).map(|bits| shards.place(SessionId::from_bits(bits)))
}

/// So that their tables double at different numbers of sessions.
#[test]
fn of_two_neighbouring_shards_one_gets_more_by_the_square_root_of_two() {
    const IDS: usize = 100_000;
    for count in [2, 512] {
        let odd = places(&Shards::new(count), IDS).filter(|place| place.shard % 2 == 1).count();
        let ratio = (IDS - odd) as f64 / odd as f64;
        // Six standard deviations.
        assert!((ratio - std::f64::consts::SQRT_2).abs() < 0.06, "{count} shards: {ratio}");
    }
}

#[test]
fn all_shards_are_used_however_many_there_are() {
    for count in [2, 4, 512, 65_536] {
        let shards = Shards::new(count);
        let used: HashSet<_> = places(&shards, 50 * count).map(|place| place.shard).collect();
        assert_eq!(used.len(), count);
    }
}

/// By the lowest bits hashbrown chooses a bucket, by the upper seven it tells those apart that it finds there.
#[test]
fn sessions_of_one_shard_differ_in_the_bits_that_the_table_goes_by() {
    for count in [2, 512, 65_536] {
        let shards = Shards::new(count);
        let in_the_first = |place: &Place| place.shard == 0;
        let hashes = places(&shards, 4_000_000).filter(in_the_first).map(|place| place.hash);
        let hashes: Vec<_> = hashes.take(4096).collect();
        let distinct = |bits: fn(u64) -> u64| {
            hashes.iter().map(|hash| bits(*hash)).collect::<HashSet<_>>().len()
        };
        let most = hashes.len().min(128);
        assert!(distinct(|hash| hash % 4096) > hashes.len() / 2, "{count} shards");
        assert!(distinct(|hash| hash >> 57) > most / 2, "{count} shards");
    }
}
