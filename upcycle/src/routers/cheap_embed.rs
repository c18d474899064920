//! mergekit's `cheap_embed`: the sum of the embeddings of all tokens of an expert's positive prompts, of length 1, minus that of its
//! negative ones, of length 1; the difference has length 1 again and is the same row in every layer. No layer is run.

use coppice_models::checkpoint::Checkpoint;
use tch::{Kind, Tensor};

use super::{Init, Request, prompts, unit_rows};
use crate::convert::error::{ConvertError, Result};
use crate::convert::options::{ExpertPrompts, Options, RouterInit};

/// See the module.
#[derive(Debug)]
pub(super) struct CheapEmbed;

impl Init for CheapEmbed {
    fn init(&self) -> RouterInit {
        RouterInit::CheapEmbed
    }

    fn summary(&self) -> &'static str {
        "summed embeddings of each expert's prompts, positive minus negative, the same in every layer (mergekit)"
    }

    fn flags(&self) -> &'static [&'static str] {
        &["router-prompts", "router-scale"]
    }

    fn note(&self, _options: &Options) -> String {
        "summed embeddings of prompts".into()
    }

    fn reads_data(&self) -> bool {
        true
    }

    fn check(&self, request: &Request) -> Result<()> {
        prompts::check(request)
    }

    fn rows(&self, request: &Request) -> Result<Vec<Tensor>> {
        let sums = request.options.router_prompts.iter().map(|prompts| direction(request.model, prompts));
        let rows = unit_rows(&Tensor::f_stack(&sums.collect::<Result<Vec<_>>>()?, 0)?, request.options.router_scale)?;
        Ok(request.layers.iter().map(|_| rows.shallow_clone()).collect())
    }
}

/// `[D]`: what the positive prompts have more of.
fn direction(model: &Checkpoint, prompts: &ExpertPrompts) -> Result<Tensor> {
    let side =
        |prompts: &[Vec<i64>]| unit_rows(&summed(model, prompts)?.f_unsqueeze(0)?, 1.0)?.f_squeeze_dim(0).map_err(ConvertError::from);
    let positive = side(&prompts.positive)?;
    if prompts.negative.is_empty() { Ok(positive) } else { Ok(positive.f_sub(&side(&prompts.negative)?)?) }
}

/// The sum `[D]` of the embeddings of all tokens.
fn summed(model: &Checkpoint, prompts: &[Vec<i64>]) -> Result<Tensor> {
    let name = "model.embed_tokens.weight";
    // SAFETY: the rows that are read are copied while the checkpoint is borrowed.
    let table = unsafe { model.view(name)? }; // [V, D]
    let rows = table.f_index_select(0, &Tensor::f_from_slice(&prompts.concat())?)?.f_to_kind(Kind::Float)?;
    Ok(rows.f_sum_dim_intlist([0].as_slice(), false, Kind::Float)?)
}
