//! A world small enough for a test of milliseconds: 8 people never seen, 10 each told 1, 4 and 30 times in each of two passes.

use coppice_upcycle::world::{ExposureLevel, World, WorldConfig};

/// Its recipe.
pub(crate) fn small() -> WorldConfig {
    let level = |(exposures_per_pass, people)| ExposureLevel { exposures_per_pass, people };
    let levels = [(0, 8), (1, 10), (4, 10), (30, 10)].map(level).to_vec();
    WorldConfig { passes: 2, levels, passers_by_per_pass: 40, validation_documents: 60, ..WorldConfig::default() }
}

/// The world of a recipe that is in order.
pub(crate) fn world(config: WorldConfig) -> World {
    World::generate(config).unwrap()
}
