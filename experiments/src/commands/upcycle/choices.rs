//! What there is to choose from, for the help, and the refusal of options that belong to another choice.

use anyhow::{Result, bail};
use coppice_models::Gate;
use coppice_upcycle::{methods, routers};

/// Methods, gates and router initialisations, one line each.
pub(super) fn listed() -> String {
    let methods = methods::ALL.iter().map(|method| line(method.name(), &with_flags(method.summary(), method.flags())));
    let gates = Gate::ALL.iter().map(|&gate| line(gate.name(), told(gate)));
    let inits = routers::ALL.iter().map(|init| line(init.init().name(), &with_flags(init.summary(), init.flags())));
    let block = |title: &str, lines: Vec<String>| format!("{title}:\n{}", lines.join("\n"));
    [block("Methods", methods.collect()), block("Gates", gates.collect()), block("Router inits", inits.collect())].join("\n\n")
}

fn line(name: &str, text: &str) -> String {
    format!("  {name:<22}{text}")
}

fn with_flags(summary: &str, flags: &[&str]) -> String {
    let named = flags.iter().map(|flag| format!("--{flag}")).collect::<Vec<_>>().join(", ");
    if flags.is_empty() { summary.to_owned() } else { format!("{summary}; {named}") }
}

fn told(gate: Gate) -> &'static str {
    match gate {
        Gate::TopkSoftmax => "softmax over the K chosen logits (Mixtral); no router gradient at K = 1",
        Gate::SoftmaxTopk => "the K largest of the softmax (Switch); weights sum to less than 1",
        Gate::SoftmaxTopkRenorm => "the same divided by their sum; no router gradient at K = 1",
        Gate::SoftmaxTopkSt => "the same with the sum held constant in the gradient: exact, and the router learns at K = 1",
        Gate::SigmoidTopkRenorm => "the K largest sigmoids divided by their sum (DeepSeek-V3); no router gradient at K = 1",
        Gate::ExpertChoice => "each expert takes its tokens; not causal, weights sum to no fixed value",
        Gate::ExpertChoiceRenorm => "the same divided by each token's sum; not causal",
    }
}

/// Refuses given options that `choice` does not know; `owners` are all choices and what they know.
pub(super) fn refuse_foreign(what: &str, choice: &str, given: &[(&str, bool)], owners: &[(&str, &[&str])]) -> Result<()> {
    let knows = |name: &str, flag: &str| owners.iter().any(|(owner, flags)| *owner == name && flags.contains(&flag));
    let Some((foreign, _)) = given.iter().find(|(flag, set)| *set && !knows(choice, flag)) else { return Ok(()) };
    let known: Vec<_> = owners.iter().map(|(owner, _)| *owner).filter(|owner| knows(owner, foreign)).collect();
    bail!("--{foreign} means nothing to {what} {choice}, it is for {}", known.join(", "))
}
