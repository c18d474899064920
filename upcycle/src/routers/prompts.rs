//! Rows from prompts, after mergekit's `moe/router.py`: what an expert's positive prompts have that its negative ones have not.

use coppice_models::score::check_tokens;
use tch::{Device, Kind, Tensor};

use super::{Request, unit_rows};
use crate::convert::error::Result;
use crate::convert::options::{ExpertPrompts, require};
use crate::layerwise::walk;

// T tokens of all prompts, S of one, D hidden.

/// Refuses prompts that are absent, of another number than the rows, or unusable.
pub(super) fn check(request: &Request) -> Result<()> {
    let (prompts, rows, name) = (&request.options.router_prompts, request.rows, request.options.router_init.name());
    require(!prompts.is_empty(), || format!("router init {name} makes rows from prompts and none are given"))?;
    require(prompts.len() as i64 == rows, || {
        format!("router init {name} needs the prompts of {rows} experts, one for each row, and {} are given", prompts.len())
    })?;
    prompts.iter().enumerate().try_for_each(|(expert, prompts)| check_expert(request, expert, prompts))
}

fn check_expert(request: &Request, expert: usize, prompts: &ExpertPrompts) -> Result<()> {
    let limit = request.model.config.max_position_embeddings as usize;
    require(!prompts.positive.is_empty(), || format!("expert {expert} has no positive prompts"))?;
    for prompt in prompts.positive.iter().chain(&prompts.negative) {
        require(!prompt.is_empty(), || format!("a prompt of expert {expert} is empty"))?;
        require(prompt.len() <= limit, || format!("a prompt of expert {expert} has {} tokens, the context holds {limit}", prompt.len()))?;
        check_tokens(&request.model.config, prompt)?;
    }
    Ok(())
}

/// Every prompt with its expert and its share of the row: `1/n` of `n` positive ones, `-1/n` of `n` negative ones.
pub(super) fn weighted(prompts: &[ExpertPrompts]) -> Vec<(i64, f64, &Vec<i64>)> {
    let mut all = Vec::new();
    for (expert, ExpertPrompts { positive, negative }) in prompts.iter().enumerate() {
        for (sign, prompts) in [(1.0, positive), (-1.0, negative)] {
            all.extend(prompts.iter().map(|prompt| (expert as i64, sign / prompts.len() as f64, prompt)));
        }
    }
    all
}

/// Rows from the residual stream before each layer; `reduce` makes one vector `[D]` of a prompt's `[S, D]`.
pub(super) fn hidden_rows(request: &Request, reduce: fn(&Tensor) -> Result<Tensor>) -> Result<Vec<Tensor>> {
    let prompts = weighted(&request.options.router_prompts);
    let sequences: Vec<Vec<i64>> = prompts.iter().map(|(_, _, prompt)| (*prompt).clone()).collect();
    let mut rows = Vec::new();
    walk(request.model, &sequences, request.layers, |before, _| {
        let sums = Tensor::f_zeros([request.rows, request.model.config.hidden_size], (Kind::Float, Device::Cpu))?;
        let mut start = 0;
        for (expert, share, prompt) in &prompts {
            let state = reduce(&before.f_narrow(0, start, prompt.len() as i64)?)?;
            let _ = sums.f_get(*expert)?.f_add_(&state.f_mul_scalar(*share)?)?;
            start += prompt.len() as i64;
        }
        rows.push(unit_rows(&sums, request.options.router_scale)?);
        Ok(())
    })?;
    Ok(rows)
}
