//! Independent random streams, one for each purpose, so that turning one knob of a world leaves the rest of it as it was.

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

/// Derives a ChaCha12 generator for every (purpose, indices) from one seed: the generator's key is the BLAKE3 hash of all three.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of a world with this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The generator for `purpose` at `indices`. Equal arguments give equal draws on every platform.
    pub(super) fn rng(&self, purpose: &str, indices: &[usize]) -> ChaCha12Rng {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&(purpose.len() as u64).to_le_bytes());
        hasher.update(purpose.as_bytes());
        for &index in indices {
            hasher.update(&(index as u64).to_le_bytes());
        }
        ChaCha12Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn a_stream_depends_on_seed_purpose_and_indices_only() {
        let first = |seed, purpose: &str, indices: &[usize]| Streams::new(seed).rng(purpose, indices).random::<u64>();
        assert_eq!(first(1, "person", &[5, 2]), first(1, "person", &[5, 2]));
        let others = [first(2, "person", &[5, 2]), first(1, "passer-by", &[5, 2]), first(1, "person", &[2, 5])];
        assert!(others.iter().all(|&other| other != first(1, "person", &[5, 2])));
    }
}
