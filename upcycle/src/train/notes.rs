//! What is worth saying of a model and a recipe before the first step: which routers learn nothing, which loads nothing keeps even.

use coppice_models::config::MoeConfig;

use super::recipe::TrainConfig;

/// One sentence for each such thing; none for a dense model.
pub fn notes(moe: Option<&MoeConfig>, config: &TrainConfig) -> Vec<String> {
    let told = |moe| [expert_choice(moe), unbalanced(moe, config), without_gradient(moe)];
    moe.into_iter().flat_map(told).flatten().collect()
}

fn expert_choice(moe: &MoeConfig) -> Option<String> {
    let gate = moe.gate.name();
    let told = format!("gate {gate} is balanced by construction: there is no balance loss in this run");
    moe.gate.is_expert_choice().then_some(told)
}

fn unbalanced(moe: &MoeConfig, config: &TrainConfig) -> Option<String> {
    let biased = moe.router_bias && config.routing.bias_update_rate > 0.0;
    let told = "the balance loss is off and no bias balances the routers: experts may die, and nothing in this run keeps them alive";
    (!moe.gate.is_expert_choice() && !biased && !config.losses.balances()).then(|| told.to_owned())
}

fn without_gradient(moe: &MoeConfig) -> Option<String> {
    let gate = moe.gate.name();
    let told = format!(
        "gate {gate} gives a single expert the constant weight 1: at top-1 the routers get no gradient from the task \
         (softmax_topk_st has the same output and gives them one)"
    );
    (moe.experts_per_token == 1 && moe.gate.is_constant_at_one()).then_some(told)
}

#[cfg(test)]
mod tests {
    use coppice_models::config::Gate;

    use super::*;

    fn told(gate: Gate, top_k: i64, router_bias: bool, rest: &str) -> Vec<String> {
        let text = format!("steps = 1\nsequence_length = 2\nbatch_size = 1\n{rest}\n[schedule]\npeak = 1e-3\n");
        let moe = MoeConfig { gate, experts_per_token: top_k, router_bias, ..MoeConfig::default() };
        notes(Some(&moe), &toml::from_str(&text).unwrap())
    }

    #[test]
    fn what_is_said_and_when() {
        let off = "losses = { balance_coefficient = 0.0 }";
        assert!(told(Gate::TopkSoftmax, 2, false, "").is_empty());
        assert!(told(Gate::SoftmaxTopkSt, 1, false, "").is_empty());
        assert!(told(Gate::TopkSoftmax, 1, false, "")[0].contains("softmax_topk_st"));
        assert!(told(Gate::SoftmaxTopk, 2, false, off)[0].contains("the balance loss is off"));
        assert!(told(Gate::SoftmaxTopk, 2, true, off).is_empty());
        assert_eq!(told(Gate::SoftmaxTopk, 2, true, &format!("{off}\nrouting = {{ bias_update_rate = 0.0 }}")).len(), 1);
        assert!(told(Gate::SoftmaxTopk, 2, false, "losses = { balance_coefficient = 0.0, adaptive = {} }").is_empty());
        let experts = told(Gate::ExpertChoice, 1, false, off);
        assert!(experts.len() == 1 && experts[0].contains("balanced by construction"), "{experts:?}");
        assert!(notes(None, &toml::from_str("sequence_length = 2\nbatch_size = 1\nschedule = { peak = 1 }").unwrap()).is_empty());
    }
}
