//! The Rust side of `tests/golden/weights.py`: tensors that follow from their name, so that no weight file need be committed.

/// Element `i` is `offset + scale * u`, with `u` from the top 24 bits of SplitMix64's finaliser over `fnv1a(name) + (i + 1) * weyl`.
pub(crate) fn tensor(name: &str, count: usize, offset: f32, scale: f32) -> Vec<f32> {
    let seed = fnv1a(name);
    (1..=count as u64).map(|index| offset + scale * uniform(seed, index)).collect()
}

/// One of `[-1, 1)`, exact in f32.
fn uniform(seed: u64, index: u64) -> f32 {
    let bits = mix(seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    (bits >> 40) as f32 / 8_388_608.0 - 1.0
}

fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
