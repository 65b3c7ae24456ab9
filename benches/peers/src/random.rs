//! Owns the order in which sessions are visited: random, cheap, and the same in every run.

/// Values of a zipf distribution that are drawn before measuring, so that drawing costs a read.
const DRAWN: usize = 1 << 16;

/// The usual skew of request traces: a little less than 1.
const SKEW: f64 = 0.99;

/// Marsaglia's xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: usize) -> Self {
        // Never 0, which is a fixed point.
        Self((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a number below `limit`, which is at least 1 and at most 2^32.
    pub fn below(&mut self, limit: usize) -> usize {
        // Lemire's multiplication: a division would cost more than some loads.
        (((self.bits() >> 32) * limit as u64) >> 32) as usize
    }

    fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Returns, for each place, the one that follows it on a random tour through all of them (Sattolo's
/// algorithm), so that a chain of loads never runs into a short loop.
pub fn tour(places: usize) -> Vec<usize> {
    let mut random = Random::new(places);
    let mut next: Vec<usize> = (0..places).collect();
    for i in (1..places).rev() {
        next.swap(i, random.below(i));
    }
    next
}

/// Returns places drawn from a zipf distribution, the popular ones spread over all places.
pub fn zipf(places: usize, seed: usize) -> Vec<u32> {
    let mut random = Random::new(seed);
    // The distribution function of the continuous counterpart, inverted: exact enough for a load.
    let exponent = 1.0 - SKEW;
    let whole = (places as f64 + 1.0).powf(exponent) - 1.0;
    let draw = |_| {
        let rank = (random.fraction() * whole + 1.0).powf(1.0 / exponent) as usize - 1;
        let rank = rank.min(places - 1) as u64;
        (rank.wrapping_mul(2_654_435_761) % places as u64) as u32
    };
    (0..DRAWN).map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tour_visits_every_place_once() {
        let next = tour(1000);
        let mut seen = vec![false; 1000];
        let mut at = 0;
        for _ in 0..1000 {
            assert!(!std::mem::replace(&mut seen[at], true));
            at = next[at];
        }
        assert_eq!(at, 0);
    }

    #[test]
    fn zipf_prefers_few_places_and_reaches_many() {
        let drawn = zipf(10_000, 1);
        let first = drawn.iter().filter(|place| **place == 0).count();
        let mut places = drawn.clone();
        places.sort_unstable();
        places.dedup();
        // The first of 10,000 has 1 / ln 10,000 or so of all draws: some 7 to 10 %.
        assert!((DRAWN / 20..DRAWN / 7).contains(&first), "{first}");
        assert!(places.len() > 2_000, "{}", places.len());
    }

    #[test]
    fn random_numbers_stay_below_their_limit() {
        let mut random = Random::new(7);
        let numbers: Vec<_> = (0..10_000).map(|_| random.below(10)).collect();
        assert!((0..10).all(|n| numbers.contains(&n)));
        assert!(numbers.iter().all(|n| *n < 10));
    }
}
