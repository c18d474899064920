//! The tables of predicted figures.

use coppice_models::flops::{Account, Component, Request};

/// Parameters, costs per token, and where they go.
pub(super) fn account(account: &Account) -> Vec<String> {
    let count = |name: &str, value: u64| format!("{name:<34}{value:>18}");
    let cost = |name: &str, flops: f64, bytes: f64| format!("{name:<34}{:>12.4} GFLOP {:>12.4} GB", flops / 1e9, bytes / 1e9);
    let mut lines = vec![
        count("parameters", account.parameters),
        count("active parameters", account.active_parameters),
        count("matmul parameters per token", account.matmul_parameters),
        format!("{:<34}{:>15.4} GB", "weights", account.weight_bytes / 1e9),
        format!("{:<34}{:>15.4} GB", "weights, gradients, AdamW (mixed)", account.training_state_bytes / 1e9),
        format!("{:<34}{:>16.0} B", "KV cache per token", account.cache_bytes_per_token),
        cost("forward, per token", account.forward_flops, account.prefill_bytes),
        cost("prefill, per token", account.prefill_flops, account.prefill_bytes),
        cost("decode, per token", account.decode_flops, account.decode_bytes),
        cost("training, per token", account.training_flops, account.training_bytes),
        String::new(),
        format!("{:<28}{:>14}{:>14}{:>14}{:>16}", "by place, per token", "prefill GFLOP", "decode GFLOP", "train GFLOP", "GB a step"),
    ];
    lines.extend(account.components.iter().map(component));
    if account.distinct_experts > 0.0 {
        lines.push(format!("{:<34}{:>16.2}", "distinct experts a step reads", account.distinct_experts));
    }
    lines.push(String::new());
    lines
}

fn component(part: &Component) -> String {
    let [prefill, decode, training] = [part.prefill_flops, part.decode_flops, part.training_flops].map(|flops| flops / 1e9);
    format!("  {:<26}{prefill:>14.4}{decode:>14.4}{training:>14.4}{:>16.4}", part.place.name(), part.decode_step_bytes / 1e9)
}

/// One request in a line.
pub(super) fn request(request: &Request) -> String {
    let Request { prompt, generated, prefill_flops, decode_flops, .. } = request;
    format!(
        "a request of {prompt} tokens answered with {generated}: {:.4} TFLOP ({:.4} prefill, {:.4} decode), {:.4} GB",
        request.flops() / 1e12,
        prefill_flops / 1e12,
        decode_flops / 1e12,
        request.bytes() / 1e9
    )
}
