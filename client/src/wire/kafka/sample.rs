//! Random messages, for tests that compare this codec with another.

use bytes::Bytes;

use super::error_code::ErrorCode;
use super::records::Records;
use super::text::Str;
use super::uuid::Uuid;

/// A seeded source of choices (xorshift): the same seed gives the same message.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.roll() >> 32) % bound
    }

    /// Mostly short, sometimes long enough that a compact length takes two bytes.
    fn length(&mut self) -> usize {
        let bound = if self.below(16) == 0 { 300 } else { 4 };
        self.below(bound) as usize
    }
}

/// A random value that `version` can express exactly.
pub trait Sample {
    fn sample(dice: &mut Dice, version: i16) -> Self;
}

macro_rules! numbers {
    ($($number:ty)+) => {$(
        impl Sample for $number {
            fn sample(dice: &mut Dice, _: i16) -> Self {
                match dice.below(4) {
                    0 => <$number>::MIN,
                    1 => <$number>::MAX,
                    _ => dice.roll() as $number,
                }
            }
        }
    )+};
}

numbers! { i8 i16 i32 i64 f64 }

impl Sample for bool {
    fn sample(dice: &mut Dice, _: i16) -> Self {
        dice.below(2) == 0
    }
}

impl Sample for ErrorCode {
    fn sample(dice: &mut Dice, version: i16) -> Self {
        ErrorCode(i16::sample(dice, version))
    }
}

impl Sample for Uuid {
    fn sample(dice: &mut Dice, _: i16) -> Self {
        Uuid(std::array::from_fn(|_| dice.roll() as u8))
    }
}

impl Sample for Str {
    fn sample(dice: &mut Dice, _: i16) -> Self {
        let length = dice.length();
        (0..length).map(|_| ['a', 'Z', '.', 'ł', '鳥'][dice.below(5) as usize]).collect::<String>().into()
    }
}

impl Sample for Bytes {
    fn sample(dice: &mut Dice, _: i16) -> Self {
        let length = dice.length();
        (0..length).map(|_| dice.roll() as u8).collect()
    }
}

impl Sample for Records {
    fn sample(dice: &mut Dice, version: i16) -> Self {
        Records::Bytes(Bytes::sample(dice, version))
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(dice: &mut Dice, version: i16) -> Self {
        (dice.below(3) > 0).then(|| T::sample(dice, version))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(dice: &mut Dice, version: i16) -> Self {
        let count = dice.below(4);
        (0..count).map(|_| T::sample(dice, version)).collect()
    }
}
