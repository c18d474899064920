//! Python's `random.Random(seed).sample`, draw for draw, so that items get the examples that lm-eval gives them.
//!
//! Generator: MT19937 (Matsumoto and Nishimura 1998), seeded by an array. Draws and `sample`: CPython 3.11 `Lib/random.py`.

use std::collections::HashSet;

const N: usize = 624;
const M: usize = 397;

/// A generator in the state that Python's would be in.
#[derive(Debug, Clone)]
pub struct PythonRandom {
    state: [u32; N],
    next: usize,
}

impl PythonRandom {
    /// `random.Random(seed)`.
    pub fn new(seed: u64) -> Self {
        let low = (seed & 0xffff_ffff) as u32;
        let high = (seed >> 32) as u32;
        let key = if high == 0 { vec![low] } else { vec![low, high] };
        Self { state: by_array(&key), next: N }
    }

    /// `sample(range(population), count)`; none where there are not so many.
    pub fn sample(&mut self, population: usize, count: usize) -> Option<Vec<usize>> {
        if count > population {
            return None;
        }
        let exponent = ((count * 3) as f64).log(4.0).ceil();
        let set_size = 21.0 + if count > 5 { 4_f64.powf(exponent) } else { 0.0 };
        Some(if population as f64 <= set_size { self.by_exchange(population, count) } else { self.by_rejection(population, count) })
    }

    fn by_exchange(&mut self, population: usize, count: usize) -> Vec<usize> {
        let mut pool: Vec<usize> = (0..population).collect();
        let draw = |place: usize| {
            let drawn = self.below(population - place);
            let value = pool[drawn];
            pool[drawn] = pool[population - place - 1];
            value
        };
        (0..count).map(draw).collect()
    }

    fn by_rejection(&mut self, population: usize, count: usize) -> Vec<usize> {
        let (mut taken, mut drawn) = (HashSet::new(), Vec::with_capacity(count));
        while drawn.len() < count {
            let value = self.below(population);
            if taken.insert(value) {
                drawn.push(value);
            }
        }
        drawn
    }

    /// `_randbelow`: as many bits as the bound has, drawn again until they are below it.
    fn below(&mut self, bound: usize) -> usize {
        let bits = usize::BITS - bound.leading_zeros();
        loop {
            let drawn = (self.draw() >> (32 - bits.clamp(1, 32))) as usize;
            if drawn < bound {
                return drawn;
            }
        }
    }

    fn draw(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for place in 0..N {
            let y = (self.state[place] & 0x8000_0000) | (self.state[(place + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 0 { 0 } else { 0x9908_b0df };
            self.state[place] = self.state[(place + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }
}

fn by_number(seed: u32) -> [u32; N] {
    let mut state = [seed; N];
    for place in 1..N {
        let before = state[place - 1];
        state[place] = 1_812_433_253_u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(place as u32);
    }
    state
}

/// `init_by_array` of the authors' mt19937ar.c.
fn by_array(key: &[u32]) -> [u32; N] {
    let mut state = by_number(19_650_218);
    let mut place = 1;
    let mut step = |place: &mut usize, mix: u32, add: &dyn Fn(usize) -> u32| {
        let before = state[*place - 1];
        state[*place] = (state[*place] ^ (before ^ (before >> 30)).wrapping_mul(mix)).wrapping_add(add(*place));
        *place += 1;
        if *place == N {
            state[0] = state[N - 1];
            *place = 1;
        }
    };
    for index in 0..N.max(key.len()) {
        let entry = index % key.len();
        step(&mut place, 1_664_525, &|_| key[entry].wrapping_add(entry as u32));
    }
    for _ in 1..N {
        step(&mut place, 1_566_083_941, &|place| (place as u32).wrapping_neg());
    }
    state[0] = 0x8000_0000;
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r = random.Random(seed); [r.sample(range(population), count) for _ in range(2)]` in CPython 3.11.7.
    const EXPECTED: &[(u64, usize, usize, [&[usize]; 2])] = &[
        (1234, 7473, 5, [&[6374, 3610, 957, 61, 742], &[7462, 6610, 4769, 286, 5501]]),
        (
            1234,
            1117,
            25,
            [
                &[902, 239, 15, 185, 71, 171, 201, 726, 484, 35, 63, 32, 708, 991, 949, 304, 186, 374, 234, 29, 1030, 996, 511, 132, 1108],
                &[
                    954, 140, 182, 1054, 94, 552, 129, 619, 985, 727, 545, 510, 409, 928, 1085, 39, 1040, 144, 11, 683, 294, 968, 772, 342,
                    110,
                ],
            ],
        ),
        (1234, 100, 11, [&[99, 56, 14, 0, 11, 74, 4, 85, 88, 10, 12], &[98, 45, 30, 2, 3, 44, 82, 79, 61, 78, 59]]),
        (0, 6, 6, [&[3, 5, 0, 1, 2, 4], &[2, 3, 5, 4, 0, 1]]),
        (1234, 1, 1, [&[0], &[0]]),
        (1099511627783, 50, 3, [&[39, 47, 40], &[36, 45, 30]]),
    ];

    #[test]
    fn draws_are_those_of_python() {
        for &(seed, population, count, expected) in EXPECTED {
            let mut random = PythonRandom::new(seed);
            for expected in expected {
                assert_eq!(random.sample(population, count).as_deref(), Some(expected), "{seed} {population} {count}");
            }
        }
        assert_eq!(PythonRandom::new(1).sample(3, 4), None);
    }
}
