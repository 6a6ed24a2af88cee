//! Chance that can be had again.

/// Always the same numbers for the same seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Those of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        // Neighbouring seeds begin alike.
        for _ in 0..8 {
            dice.draw();
        }
        dice
    }

    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33
    }

    /// 0 to `sides` - 1, in the caller's own kind of integer; 0 for no sides.
    pub fn roll<N: TryInto<u64> + TryFrom<u64>>(&mut self, sides: N) -> N {
        let sides = sides.try_into().unwrap_or_default().max(1);
        N::try_from(self.draw() % sides).unwrap_or_else(|_| unreachable!("{sides} fits into it"))
    }

    /// Both ends are among them.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.roll(most - least + 1)
    }

    /// Whether it happens, once in so many times.
    pub fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    /// One of them; `None` if there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.roll(from.len()))
    }

    /// One of some that there are.
    pub fn of_these<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())].clone()
    }

    /// In another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            let other = self.roll(end + 1);
            list.swap(end, other);
        }
    }
}
