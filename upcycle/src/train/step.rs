//! One step's forward and backward passes: micro-batches in, accumulated gradients and losses out.

use coppice_models::Model;
use coppice_models::model::Memory;
use coppice_models::moe::Routing;
use coppice_models::state::Parameter;
use tch::{Kind, Tensor};

use super::data::shifted;
use super::error::{Result, TrainError};
use super::losses::{HeadGradients, added, balance, cross_entropy_gradients, over_layers, router_z};
use super::metrics::ExpertLoad;
use super::optimizer::all_defined;
use super::recipe::LossConfig;

/// What a step's passes found, before the optimizer moves anything.
#[derive(Debug)]
pub(super) struct Gradients {
    /// One gradient a parameter.
    pub(super) tensors: Vec<Tensor>,
    /// Mean cross entropy per token, nats.
    pub(super) loss: f64,
    /// Balance loss and z-loss, means over routed layers and tokens; none for a dense model.
    pub(super) router: Option<[f64; 2]>,
    counts: Vec<(usize, Tensor)>, // layer, tokens per expert [N]
}

impl Gradients {
    /// Each routed layer's share of assignments per expert.
    pub(super) fn expert_load(&self) -> Result<Vec<ExpertLoad>> {
        self.counts.iter().map(|(layer, counts)| ExpertLoad::new(*layer, &Vec::<i64>::try_from(counts)?)).collect()
    }
}

/// Runs all micro-batches `[b, S + 1]` of a step through the model and accumulates the gradients of
/// `mean cross entropy + coefficients * router losses`.
///
/// # Errors
/// When the model refuses, or a parameter took no part.
pub(super) fn gradients(model: &Model, parameters: &[&Parameter], batches: &[Tensor], config: &LossConfig) -> Result<Gradients> {
    let tokens: i64 = batches.iter().map(predicted).sum();
    let mut sum = Accumulated::default();
    for batch in batches {
        sum.add(micro_batch(model, parameters, batch, tokens, config)?)?;
    }
    sum.finish(tokens)
}

/// Predicted tokens of a block `[b, S + 1]`.
fn predicted(block: &Tensor) -> i64 {
    block.size2().map_or(0, |(rows, width)| rows * (width - 1))
}

/// One micro-batch's share of everything.
struct Part {
    gradients: Vec<Tensor>,
    loss: Tensor,           // summed cross entropy
    router: Option<Tensor>, // [2]: balance and z, times this part's share of the tokens
    counts: Vec<(usize, Tensor)>,
}

fn micro_batch(model: &Model, parameters: &[&Parameter], batch: &Tensor, tokens: i64, config: &LossConfig) -> Result<Part> {
    let (inputs, targets) = shifted(batch)?;
    let mut pass = model.pass(inputs.size2()?.1, Memory::None)?;
    pass.routings = Some(Vec::new());
    let hidden = model.hidden(&inputs, &mut pass)?.f_flatten(0, 1)?; // [T, D]
    let routings = pass.routings.unwrap_or_default();
    let head = cross_entropy_gradients(&hidden, &model.lm_head, &targets.f_flatten(0, 1)?, 1.0 / tokens as f64)?;
    // The gradient at the hidden states is known: the rest of the graph is run through its product with them.
    let mut objective = hidden.f_mul(&head.hidden)?.f_sum(Kind::Float)?;
    let router = router_losses(&routings, predicted(batch) as f64 / tokens as f64)?;
    if let Some(losses) = &router {
        let coefficients = Tensor::f_from_slice(&[config.balance_coefficient as f32, config.z_coefficient as f32])?;
        objective = objective.f_add(&losses.f_dot(&coefficients.f_to_device(losses.device())?)?)?;
    }
    let gradients = backward(&objective, parameters, &model.lm_head, &head)?;
    let counts = routings.into_iter().map(|routing| (routing.layer, routing.counts)).collect();
    let router = router.map(|losses| losses.f_detach()).transpose()?;
    Ok(Part { gradients, loss: head.loss, router, counts })
}

/// Balance and z-loss `[2]`, times `share`; none where no layer is routed.
fn router_losses(routings: &[Routing], share: f64) -> Result<Option<Tensor>> {
    if routings.is_empty() {
        return Ok(None);
    }
    let losses = [over_layers(routings, balance)?, over_layers(routings, router_z)?];
    Ok(Some(Tensor::f_stack(&losses, 0)?.f_mul_scalar(share)?))
}

/// Gradients of `objective`; the head's own, known already, is added to the tensor it is (the embedding, where they are tied).
fn backward(objective: &Tensor, parameters: &[&Parameter], lm_head: &Tensor, head: &HeadGradients) -> Result<Vec<Tensor>> {
    let tensors: Vec<&Tensor> = parameters.iter().map(|parameter| &parameter.tensor).collect();
    let mut gradients = Tensor::f_run_backward(&[objective], &tensors, false, false)?;
    for (gradient, tensor) in gradients.iter_mut().zip(tensors) {
        if tensor.data_ptr() == lm_head.data_ptr() {
            let own = head.head.shallow_clone();
            *gradient = if gradient.defined() { gradient.f_add_(&own)? } else { own };
        }
    }
    all_defined(&gradients, parameters.iter().copied())?;
    Ok(gradients)
}

#[derive(Default)]
struct Accumulated(Option<Part>);

impl Accumulated {
    fn add(&mut self, part: Part) -> Result<()> {
        let Some(sum) = self.0.take() else {
            self.0 = Some(part);
            return Ok(());
        };
        let both =
            |mine: Vec<Tensor>, theirs: Vec<Tensor>| mine.into_iter().zip(theirs).map(|(a, b)| added(Some(a), b)).collect::<Result<_>>();
        let (layers, mine): (Vec<_>, Vec<_>) = sum.counts.into_iter().unzip();
        let theirs = part.counts.into_iter().map(|(_, counts)| counts).collect();
        self.0 = Some(Part {
            gradients: both(sum.gradients, part.gradients)?,
            loss: added(Some(sum.loss), part.loss)?,
            router: part.router.map(|losses| added(sum.router, losses)).transpose()?,
            counts: layers.into_iter().zip(both(mine, theirs)?).collect(),
        });
        Ok(())
    }

    fn finish(self, tokens: i64) -> Result<Gradients> {
        let part = self.0.ok_or_else(|| TrainError::Tokens("a step without sequences".into()))?;
        let router = part.router.map(|losses| Ok::<_, TrainError>([losses.f_double_value(&[0])?, losses.f_double_value(&[1])?]));
        let loss = part.loss.f_double_value(&[])? / tokens as f64;
        Ok(Gradients { tensors: part.gradients, loss, router: router.transpose()?, counts: part.counts })
    }
}
