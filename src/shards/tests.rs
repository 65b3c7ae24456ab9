//! Where ids belong, and the edges of what is unsafe.

use std::collections::HashSet;

use super::*;

#[test]
fn bucket_beyond_the_table_is_not_full() {
    let shards = Shards::<u64>::new(2, 0);
    let table = shards.map.shards()[0].read();
    for index in [table.buckets(), table.buckets() + 1, usize::MAX] {
        assert!(full_bucket(&table, index).is_none());
    }
}

/// Returns where so many ids belong, which are as random as ids are: numbers in a row lie in a pattern.
fn places(shards: &Shards<()>, many: usize) -> impl Iterator<Item = Place> {
    let mut bits = u128::from(std::hash::RandomState::new().hash_one(many));
    (0..many).map(move |_| {
        // The multiplier of PCG64; only the upper half of what it makes looks random.
        bits = bits.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645).wrapping_add(1);
        shards.place(SessionId::from_bits(bits ^ bits >> 64))
    })
}

/// So that their tables double at different numbers of sessions.
#[test]
fn of_two_neighbouring_shards_one_gets_more_by_the_square_root_of_two() {
    const IDS: usize = 100_000;
    for count in [2, 512] {
        let odd = places(&Shards::new(count, 0), IDS).filter(|place| place.shard % 2 == 1).count();
        let ratio = (IDS - odd) as f64 / odd as f64;
        // Six standard deviations.
        assert!((ratio - std::f64::consts::SQRT_2).abs() < 0.06, "{count} shards: {ratio}");
    }
}

#[test]
fn all_shards_are_used_however_many_there_are() {
    for count in [2, 4, 512, 65_536] {
        let shards = Shards::new(count, 0);
        let used: HashSet<_> = places(&shards, 50 * count).map(|place| place.shard).collect();
        assert_eq!(used.len(), count);
    }
}

/// By the lowest bits hashbrown chooses a bucket, by the upper seven it tells those apart that it finds there.
#[test]
fn sessions_of_one_shard_differ_in_the_bits_that_the_table_goes_by() {
    for count in [2, 512, 65_536] {
        let shards = Shards::new(count, 0);
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
