//! The options that are one of a few named choices.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::unknown;
use crate::convert::error::{ConvertError, Result};

/// Names of an option's values, read from the command line and from recipes.
macro_rules! named {
    ($(#[$doc:meta])* $what:literal $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $type { $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)* }

        impl $type {
            /// Every value, as it is named.
            pub const NAMES: &[&str] = &[$($name),*];

            /// The name.
            pub fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }
        }

        impl FromStr for $type {
            type Err = ConvertError;

            fn from_str(name: &str) -> Result<Self> {
                match name {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(unknown($what, name, Self::NAMES)),
                }
            }
        }
    };
}

named! {
    /// Where the first router rows come from.
    "router init" RouterInit {
        /// `N(0, std)`, each row by itself.
        #[default]
        Normal = "normal",
        /// Drawn rows made orthogonal, with the length normal ones have on average.
        Orthogonal = "orthogonal",
        /// Zeros: every expert is as likely, ties go to the first.
        Zero = "zero",
        /// The last token's hidden state of each expert's prompts (mergekit).
        Hidden = "hidden",
        /// The mean hidden state of each expert's prompts (mergekit).
        HiddenAvg = "hidden_avg",
        /// The summed embeddings of each expert's prompts, the same in every layer (mergekit).
        CheapEmbed = "cheap_embed",
        /// Centres of clusters of the MLP's inputs on a sample of text.
        Kmeans = "kmeans",
    }
}

named! {
    /// How `drop` chooses units.
    "drop indices" DropIndices {
        /// Once for an expert (the paper, arXiv 2502.19261).
        #[default]
        Shared = "shared",
        /// For each of its matrices (the released script).
        PerMatrix = "per_matrix",
    }
}

named! {
    /// How parts of an MLP are scaled so that their weighted sum is the whole, by a factor `a`.
    "scaling" Scaling {
        /// `a` on the down projection: exact.
        #[default]
        Down = "down",
        /// The root of `a` on up and down: exact.
        SqrtUpDown = "sqrt_up_down",
        /// The cube root of `a` on all three (Megatron-Core): not exact, since `silu(s x)` is not `s silu(x)`.
        CubeRoot = "cube_root",
        /// None.
        None = "none",
    }
}

named! {
    /// How the routed experts beside a shared one start.
    "shared start" SharedStart {
        /// With a down projection of zeros: the shared expert alone is the dense MLP.
        #[default]
        Zero = "zero",
        /// As copies; shared and routed output are halved.
        Copies = "copies",
    }
}

named! {
    /// Where a mix of checkpoints takes everything but the MLPs.
    "trunk" Trunk {
        /// The mean of all checkpoints.
        #[default]
        Average = "average",
        /// The first checkpoint.
        First = "first",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_they_print_and_others_are_refused() {
        for name in RouterInit::NAMES {
            assert_eq!(name.parse::<RouterInit>().unwrap().name(), *name);
        }
        assert!("norml".parse::<RouterInit>().unwrap_err().to_string().contains("nearest is \"normal\""));
        assert!("downn".parse::<Scaling>().unwrap_err().to_string().contains("unknown scaling \"downn\""));
    }
}
