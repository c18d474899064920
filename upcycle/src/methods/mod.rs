//! Upcycling methods: how the experts of a converted layer come from the MLP of the dense one.
//!
//! A method is one file here and one line in [`ALL`]. It states a [`Recipe`] for every matrix of a converted layer and moves no
//! data itself: the converter streams. Routers are not its business, see [`crate::routers`]. The command line, the documentation and
//! the tests list [`ALL`].

mod branch_train_mix;
mod copy;
mod drop;
mod noise;
mod preserve;
mod recipe;
mod shared_expert;
mod shuffle;
mod units;
mod virtual_group;

use coppice_models::{Config, SharedExpert};
use serde_json::Value;

pub use self::preserve::Preservation;
pub use self::recipe::{Make, Origin, Projection, Recipe, Target};
pub(crate) use self::units::in_dense_order;
pub use self::units::unit_permutation;
use crate::convert::error::Result;
use crate::convert::options::{Options, require, unknown};

/// Every method, in the order they are listed.
pub const ALL: &[&dyn Method] = &[
    &copy::Copy,
    &shuffle::Shuffle,
    &noise::Noise,
    &drop::Drop,
    &virtual_group::VirtualGroup,
    &shared_expert::SharedExpert,
    &branch_train_mix::BranchTrainMix,
];

/// The method called `name`.
///
/// # Errors
/// When there is none; the nearest is named.
pub fn find(name: &str) -> Result<&'static dyn Method> {
    let known: Vec<&str> = ALL.iter().map(|method| method.name()).collect();
    ALL.iter().copied().find(|method| method.name() == name).ok_or_else(|| unknown("upcycling method", name, &known))
}

/// A way of growing dense MLPs into routed experts.
pub trait Method: Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// One line for lists: what becomes of the weights, and the paper.
    fn summary(&self) -> &'static str;

    /// How one matrix of a routed expert is made.
    fn recipe(&self, target: &Target, options: &Options) -> Recipe;

    /// Whether the result computes the dense model's function before any training, or why not. The step-0 report repeats the claim
    /// beside what it measures, and the tests hold the method to it.
    fn preserves(&self, config: &Config, options: &Options) -> Preservation;

    /// The options of its own, as they are named on the command line.
    fn flags(&self) -> &'static [&'static str] {
        &[]
    }

    /// Refuses options this method cannot follow for a model of this configuration.
    ///
    /// # Errors
    /// One sentence naming the option.
    fn check(&self, _config: &Config, _options: &Options) -> Result<()> {
        Ok(())
    }

    /// `N` where the user names none.
    fn default_experts(&self, _options: &Options) -> i64 {
        Options::default().experts
    }

    /// `F` of one routed expert.
    fn expert_width(&self, config: &Config, _options: &Options) -> i64 {
        config.intermediate_size
    }

    /// Experts in a row that share one row of the router at the start.
    fn router_repeat(&self, _options: &Options) -> i64 {
        1
    }

    /// The expert of all tokens, where the method makes one.
    fn shared_expert(&self, _config: &Config, _options: &Options) -> Option<SharedExpert> {
        None
    }

    /// How one matrix of the shared expert is made.
    fn shared_recipe(&self, target: &Target, _options: &Options) -> Recipe {
        Recipe::Copy(target.dense())
    }

    /// How a tensor outside of the converted MLPs is made.
    fn trunk(&self, name: &str, _options: &Options) -> Recipe {
        Recipe::Copy(Origin::first(name))
    }

    /// Why a source tensor goes into no tensor of the result. None: it must, and a conversion that leaves it out is refused.
    fn drops(&self, _origin: &Origin, _options: &Options) -> Option<String> {
        None
    }

    /// Whether experts hold their units in the order of [`unit_permutation`].
    fn permutes(&self) -> bool {
        false
    }

    /// What `config.json` shall say of this method's choices, beyond what it says of every method.
    fn record(&self, _config: &Config, _options: &Options) -> Vec<(&'static str, Value)> {
        Vec::new()
    }
}

/// Refuses the options that belong to other methods.
///
/// # Errors
/// One sentence naming the option.
pub(crate) fn check_foreign(method: &dyn Method, options: &Options) -> Result<()> {
    let (name, g, branches) = (method.name(), options.parts(), options.branches.len());
    let knows = |flag| method.flags().contains(&flag);
    require(knows("granularity") || g == 1, || format!("granularity {g}: method {name} makes experts of full width, granularity 1"))?;
    require(knows("branch") || branches == 0, || {
        format!("{branches} branches are given and method {name} takes none; branch_train_mix does")
    })?;
    require(!options.shared_gate || knows("shared-gate"), || {
        format!("shared gate is for a method with a shared expert and method {name} makes none; shared_expert does")
    })
}

/// Refuses a granularity that does not divide the MLP.
fn divides_width(config: &Config, parts: i64) -> Result<()> {
    let width = config.intermediate_size;
    require(width % parts == 0, || format!("granularity {parts} does not divide the MLP's {width} units evenly"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_found_by_its_name_and_others_are_not() {
        for method in ALL {
            assert_eq!(find(method.name()).unwrap().name(), method.name());
            assert!(!method.summary().is_empty());
        }
        let sentence = find("coppy").err().unwrap().to_string();
        assert!(sentence.contains("\"coppy\"") && sentence.contains("nearest is \"copy\""), "{sentence}");
    }
}
