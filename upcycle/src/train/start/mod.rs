//! Starting where another training stopped: what DeepSpeed kept of a dense model, read by parameter.
//!
//! Stability AI published StableLM 2 1.6B before its cooldown with `bf16_zero_pp_mp_rank_00_optim_states.pt` beside the weights (branch
//! `global_step420000`): DeepSpeed's bf16 optimizer, ZeRO stage 1, a GPT-NeoX model.
//!
//! **Known**, from the sources. `deepspeed/runtime/bf16_optimizer.py`: `state_dict` holds `single_partition_of_fp32_groups` (a flat f32
//! vector for every group of parameters), `base_optimizer_state` (`state` with `step`, `exp_avg` and `exp_avg_sq` of every flat vector),
//! `group_paddings`, `partition_count` and, since 2022, `param_slice_mappings` (for every group the place of every parameter's fragment in
//! the rank's vector). Groups are flattened in the order of their parameters, filled up to a multiple of twice the number of data-parallel
//! ranks and cut into equal parts, a file `…zero_pp_rank_{r}_mp_rank_00_optim_states.pt` each. NeoX `megatron/model/utils.py`: one group of
//! what decays, one of norms and biases, each in the order of the modules. NeoX `transformer.py` and `tools/ckpts`: names, the order of the
//! modules, rows of `query_key_value` as `[heads, 3, head_dim]`, `w1` the gate, `w3` up, `w2` down.
//!
//! **Assumed**, because the published file was not at hand: that its name without a rank means one file of all ranks' parts, joined; that
//! Stability's fork of NeoX keeps these names and this order where there are no mappings. Neither is taken on trust: the f32 weights of a
//! state must round to the weights of the checkpoint it is loaded for, or the state is refused ([`Inheritance`]).
//!
//! Layouts that are read: [`flat`] vectors with mappings; flat vectors without, cut by the [`order`] of NeoX; and one entry a
//! parameter, by name ([`rank`]). Names are transformers' own or NeoX's ([`names`]).

mod cut;
mod files;
mod flat;
mod inherit;
mod names;
mod order;
mod origins;
mod rank;
mod state;

/// A result whose fault is told in words, before the file is named.
type Told<T> = std::result::Result<T, String>;

pub use self::inherit::{ExpertMoments, Inheritance};
pub use self::state::{DenseState, Kept};
