//! Numbers that look random and follow from a seed.

/// A small generator of random numbers: a seed's sequence is the same for ever.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// One of several generators of the same seed, so that a draw from one leaves the others as they are.
    pub fn stream(seed: u64, number: u64) -> Random {
        Random::new(Random::new(seed ^ (number << 56)).next_u64())
    }

    /// Another generator, which follows from this one.
    pub fn split(&mut self) -> Random {
        Random::new(self.next_u64())
    }

    /// The next number (SplitMix64).
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// A number from `least` to `most`, both possible.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// Two to the power of one of these: small numbers are as likely as large ones.
    pub fn power_of_two(&mut self, least: u64, most: u64) -> u64 {
        1 << self.between(least, most)
    }

    pub fn coin(&mut self) -> bool {
        self.next_u64() & 1 == 1
    }

    /// True once in so many times, on average.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of some, which are not none.
    pub fn one_of<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.below(some.len() as u64) as usize]
    }
}
