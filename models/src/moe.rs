//! The routed MLP: a router, `N` experts packed for grouped matrix products, and, where the model has one, an expert for all tokens.

use tch::{Kind, Tensor};

use crate::capacity::Capacity;
use crate::config::MoeConfig;
use crate::distributed::Group;
use crate::error::{Error, Result};
use crate::expert_parallel::ExpertParallel;
use crate::ext::fused::Experts;
use crate::init::Source;
use crate::model::Mlp;
use crate::router::{Assignment, Router};

// T tokens, D hidden, F expert width, N experts, K chosen experts, A assignments.

/// A routed MLP layer.
#[derive(Debug)]
pub struct Moe {
    /// Who computes what.
    pub router: Router,
    /// Gate projections of all experts, `[N, F, D]`.
    pub gate_proj: Tensor,
    /// Up projections, `[N, F, D]`.
    pub up_proj: Tensor,
    /// Down projections, `[N, D, F]`.
    pub down_proj: Tensor,
    /// The expert of all tokens.
    pub shared: Option<Shared>,
    /// Where the experts are spread over processes: then the three above hold this process's part, `[N / W, ..]`.
    pub parallel: Option<ExpertParallel>,
}

/// An expert that every token passes.
#[derive(Debug)]
pub struct Shared {
    /// The expert.
    pub mlp: Mlp,
    /// `[1, D]`: its output is multiplied by `sigmoid(x w)`, where there is one.
    pub gate: Option<Tensor>,
}

/// What only training does to routing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Training {
    /// `ε`: the router's input is multiplied by draws from `U(1 - ε, 1 + ε)` (Switch, arXiv 2101.03961); 0 = not.
    pub jitter: f64,
    /// Room at each expert; none = every assignment is computed.
    pub capacity: Option<Capacity>,
}

/// What the router of one layer did with a batch.
#[derive(Debug)]
pub struct Routing {
    /// Index of the layer in the model.
    pub layer: usize,
    /// Router logits `[T, N]`, f32, with gradient while training.
    pub logits: Tensor,
    /// Tokens that chose each expert, `[N]`, i64; with token choice the sum is `T*K`.
    pub counts: Tensor,
    /// Tokens each expert computed, `[N]`, i64: fewer where its room ran out.
    pub computed: Tensor,
    /// The token of each choice, `[A]`, i64, sorted by expert as `counts` says.
    pub tokens: Tensor,
}

impl Moe {
    /// Takes the layer's tensors from a source; `prefix` is `model.layers.{i}.mlp`.
    ///
    /// # Errors
    /// When one is absent.
    pub fn new(source: &dyn Source, prefix: &str, hidden: i64, config: &MoeConfig) -> Result<Self> {
        let (n, f) = (config.num_experts, config.expert_intermediate_size);
        let packed = |name: &str, shape: [i64; 2]| {
            let names: Vec<_> = (0..n).map(|expert| format!("{prefix}.experts.{expert}.{name}.weight")).collect();
            source.packed(&names, &shape)
        };
        Ok(Self {
            router: Router::new(source, prefix, hidden, config)?,
            gate_proj: packed("gate_proj", [f, hidden])?,
            up_proj: packed("up_proj", [f, hidden])?,
            down_proj: packed("down_proj", [hidden, f])?,
            shared: Shared::new(source, prefix, hidden, config)?,
            parallel: None,
        })
    }

    /// `x [.., D]` through the experts the router chooses, and what the router did. `training` is none outside of training.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(&self, x: &Tensor, layer: usize, training: Option<&Training>) -> Result<(Tensor, Routing)> {
        let shape = x.size();
        let x = x.f_reshape([-1, *shape.last().unwrap_or(&1)])?; // [T, D]
        let logits = self.router.logits(&jittered(&x, training)?)?; // [T, N]
        let chosen = self.router.assign(&logits)?;
        let (counts, tokens) = (chosen.counts.shallow_clone(), chosen.tokens.shallow_clone());
        let kept = match training.and_then(|training| training.capacity) {
            Some(capacity) => capacity.keep(chosen)?,
            None => chosen,
        };
        let routed = self.run(&x, &kept)?;
        let y = self.shared.as_ref().map_or(Ok(routed.shallow_clone()), |shared| shared.add(&x, &routed))?;
        Ok((y.f_reshape(&shape[..])?, Routing { layer, logits, counts, computed: kept.counts, tokens }))
    }

    /// Keeps this process's part of the experts, and sends tokens to the others'.
    ///
    /// # Errors
    /// When the experts do not divide among the ranks, choose tokens themselves, or are spread already.
    pub fn spread(&mut self, group: &Group) -> Result<()> {
        if self.parallel.is_some() || self.router.chooses_by_expert() {
            return Err(Error::Input("experts that are spread already, or that choose among a process's tokens, cannot be spread".into()));
        }
        let parallel = ExpertParallel::new(group, self.router.weight.size2()?.0)?;
        for experts in [&mut self.gate_proj, &mut self.up_proj, &mut self.down_proj] {
            *experts = parallel.part(experts)?;
        }
        self.parallel = Some(parallel);
        Ok(())
    }

    /// Runs all experts as grouped products and adds the weighted results back to their tokens.
    fn run(&self, x: &Tensor, assignment: &Assignment) -> Result<Tensor> {
        let Assignment { tokens, weights, counts } = assignment;
        let ends = counts.f_cumsum(0, Kind::Int64)?.f_to_kind(Kind::Int)?; // [N]
        let rows = x.f_index_select(0, tokens)?; // [A, D]
        let experts = Experts { gate: &self.gate_proj, up: &self.up_proj, down: &self.down_proj };
        let outer = match &self.parallel {
            Some(parallel) => parallel.run(&rows, counts, |rows, ends| Ok(experts.forward(rows, ends)?))?,
            None => experts.forward(&rows, &ends)?,
        }; // [A, D]
        let scale = weights.f_unsqueeze(1)?.f_to_kind(x.kind())?; // [A, 1]
        Ok(x.f_zeros_like()?.f_index_add(0, tokens, &outer.f_mul(&scale)?)?)
    }
}

impl Shared {
    /// Takes the expert of all tokens from a source; none where the model has none.
    ///
    /// # Errors
    /// When a tensor is absent.
    pub fn new(source: &dyn Source, prefix: &str, hidden: i64, config: &MoeConfig) -> Result<Option<Self>> {
        let Some(shared) = &config.shared_expert else { return Ok(None) };
        let mlp = Mlp::new(source, &format!("{prefix}.shared_expert"), hidden, shared.intermediate_size)?;
        let gate = shared.gated.then(|| source.tensor(&format!("{prefix}.shared_expert_gate.weight"), &[1, hidden]));
        Ok(Some(Self { mlp, gate: gate.transpose()? }))
    }

    /// The expert's output on `x [T, D]`.
    ///
    /// # Errors
    /// When the shapes do not match.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.mlp.forward(x)?;
        let Some(gate) = &self.gate else { return Ok(y) };
        Ok(y.f_mul(&x.f_linear(gate, None::<&Tensor>)?.f_sigmoid()?)?)
    }

    fn add(&self, x: &Tensor, routed: &Tensor) -> Result<Tensor> {
        Ok(routed.f_add(&self.forward(x)?)?)
    }
}

/// The router's input, with noise while training where asked for.
fn jittered(x: &Tensor, training: Option<&Training>) -> Result<Tensor> {
    let epsilon = training.map_or(0.0, |training| training.jitter);
    if epsilon == 0.0 {
        return Ok(x.shallow_clone());
    }
    let noise = x.f_to_kind(Kind::Float)?.f_rand_like()?.f_mul_scalar(2.0 * epsilon)?.f_add_scalar(1.0 - epsilon)?;
    Ok(x.f_mul(&noise)?)
}
