//! The configuration of the result, and in it a record of how the experts came about.

use coppice_models::{Config, MoeConfig};
use serde_json::{Map, Value, json};

use crate::convert::error::Result;
use crate::convert::options::Options;
use crate::methods::Method;

/// The source's configuration with routed experts.
pub(super) fn target(source: &Config, options: &Options, method: &dyn Method) -> Result<Config> {
    let layers = options.layers.resolve(source.num_hidden_layers)?;
    let moe = MoeConfig {
        num_experts: options.experts,
        experts_per_token: options.top_k,
        gate: options.gate,
        expert_intermediate_size: method.expert_width(source, options),
        router_bias: options.router_bias,
        router_logit_norm: options.router_logit_norm,
        router_group_size: if options.group_selection { options.parts() } else { 1 },
        shared_expert: method.shared_expert(source, options),
        upcycling: Some(record(source, options, method, &layers)),
        layers,
    };
    let config = Config { moe: Some(moe), ..source.clone() };
    config.check()?;
    Ok(config)
}

/// What it takes to turn the experts back into a dense MLP, and what the method claims: it travels in `config.json`.
fn record(source: &Config, options: &Options, method: &dyn Method, layers: &[usize]) -> Value {
    let mut record = Map::new();
    let mut put = |key: &str, value: Value| record.insert(key.to_owned(), value);
    put("method", json!(options.method));
    put("seed", json!(options.seed));
    put("layers", json!(layers));
    put("intermediate_size", json!(source.intermediate_size));
    put("granularity", json!(options.parts()));
    put("permuted", json!(method.permutes()));
    put("router_init", json!(options.router_init));
    put("preserves", json!(method.preserves(source, options)));
    for (key, value) in method.record(source, options) {
        put(key, value);
    }
    Value::Object(record)
}
