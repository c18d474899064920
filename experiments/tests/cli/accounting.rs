//! `coppice flops`: the published sizes, and what runs beside what is predicted.

use serde_json::{Value, json};

use crate::support::outcome::ended;
use crate::support::{Folder, coppice, done, json_of, refused, stderr, stdout};

const BILLION: f64 = 1e9;
const GIB: f64 = (1_u64 << 30) as f64;

/// The 1.6B's `config.json` (arXiv 2402.17834), with routed experts where given.
fn published(routed: Option<(u64, u64, u64, Vec<usize>)>) -> Value {
    let mut config = json!({
        "model_type": "stablelm", "hidden_act": "silu", "vocab_size": 100_352, "hidden_size": 2048, "intermediate_size": 5632,
        "num_hidden_layers": 24, "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 4096,
        "partial_rotary_factor": 0.25, "rope_theta": 10000, "layer_norm_eps": 1e-5, "use_qkv_bias": true, "tie_word_embeddings": false,
    });
    if let Some((experts, chosen, width, layers)) = routed {
        config["model_type"] = json!("stablelm_moe");
        config["num_experts"] = json!(experts);
        config["num_experts_per_tok"] = json!(chosen);
        config["moe_intermediate_size"] = json!(width);
        config["moe_layers"] = json!(layers);
        config["gate"] = json!("topk_softmax");
    }
    config
}

/// Variants of the 1.6B, each with its row, computed by hand from the published sizes (context 4096, bf16, FLOPs of causal means): total and
/// active matmul parameters (10⁹), forward and training GFLOP a token, bf16 weights and 16-byte training state (GiB), tokens/s of training
/// at 40 % of 989 TFLOP/s, and the most tokens/s that 4.8 TB/s decode at batch 1 without a cache.
fn rows() -> Vec<(&'static str, Value, [f64; 8])> {
    let all = || (0..24).collect();
    let routed = |experts, chosen, width, layers| published(Some((experts, chosen, width, layers)));
    vec![
        ("dense", published(None), [1.645, 1.439, 3.28, 9.84, 3.1, 24.5, 40_200.0, 1668.0]),
        ("E8G1T1", routed(8, 1, 5632, all()), [7.458, 1.439, 3.28, 9.84, 13.9, 111.1, 40_190.0, 1668.0]),
        ("E8G1T2", routed(8, 2, 5632, all()), [7.458, 2.270, 4.94, 14.83, 13.9, 111.1, 26_690.0, 1057.0]),
        ("E8G1T2, half", routed(8, 2, 5632, (0..24).step_by(2).collect()), [4.551, 1.854, 4.11, 12.33, 8.5, 67.8, 32_080.0, 1294.0]),
        ("E4G1T2", routed(4, 2, 5632, all()), [4.136, 2.269, 4.94, 14.82, 7.7, 61.6, 26_690.0, 1058.0]),
        ("E8G8T8", routed(64, 8, 704, all()), [7.461, 1.442, 3.29, 9.86, 13.9, 111.2, 40_130.0, 1665.0]),
        ("E8G4T4", routed(32, 4, 1408, all()), [7.459, 1.440, 3.28, 9.85, 13.9, 111.2, 40_170.0, 1666.0]),
    ]
}

#[test]
fn the_table_of_the_1_6b_is_reproduced() {
    for (name, config, expected) in rows() {
        let folder = Folder::new();
        folder.write("config.json", config.to_string());
        let account = json_of(&mut coppice(["flops", "--json", "--model", &folder.arg("")]))["account"].clone();
        let number = |key: &str| account[key].as_f64().unwrap();
        let weights_read = number("decode_bytes") - number("cache_bytes_per_token") * 4096.0;
        let found = [
            number("parameters") / BILLION,
            number("matmul_parameters") / BILLION,
            number("forward_flops") / BILLION,
            number("training_flops") / BILLION,
            number("weight_bytes") / GIB,
            number("training_state_bytes") / GIB,
            0.4 * 989e12 / number("training_flops"),
            4.8e12 / weights_read,
        ];
        let tolerance = [6e-4, 6e-4, 6e-3, 6e-3, 0.051, 0.051, 15.0, 1.0];
        let near = found.iter().zip(expected).zip(tolerance).all(|((found, expected), tolerance)| (found - expected).abs() <= tolerance);
        assert!(near, "{name}: {found:?} is not {expected:?}");
    }
}

#[test]
fn what_runs_is_what_was_predicted() {
    let folder = Folder::with_model();
    let model = folder.arg("model");
    let arguments = ["flops", "--measure", "--training", "--context", "16", "--batch", "2", "--repeats", "2", "--model", &model];
    let found = json_of(coppice(arguments).arg("--json"));
    let pass = |place: usize| found["passes"][place].clone();
    assert_eq!([0, 1, 2].map(|place| pass(place)["pass"].as_str().unwrap().to_owned()), ["prefill", "decode", "training"]);
    for place in [0, 1] {
        assert_eq!(pass(place)["predicted_flops"].as_f64(), pass(place)["executed"]["flops"].as_f64(), "{}", pass(place));
    }
    // Attention's scores are computed again on the way back: a sixth of its training FLOPs more.
    let ratio = pass(2)["flops_ratio"].as_f64().unwrap();
    assert!((0.9..1.0).contains(&ratio), "{ratio}");
    let bytes = &found["decode_step_bytes"];
    assert!((bytes["ratio"].as_f64().unwrap() - 1.0).abs() < 0.1, "{bytes}");
    assert!(bytes["time_times_bandwidth"].as_f64().unwrap() > 0.0);
    let told = stdout(&done(&mut coppice(arguments)));
    assert!(told.contains("ratio 1.000000") && told.contains("read MB") && told.contains("GB/s"), "{told}");
}

#[test]
fn stored_weights_take_the_bytes_of_their_file() {
    let folder = Folder::with_model();
    let model = folder.arg("model");
    let stored = json_of(&mut coppice(["flops", "--json", "--stored", "--model", &model]));
    let account = &stored["account"];
    assert_eq!(account["setting"]["weight_bytes_by_kind"]["mlp"].as_f64(), Some(4.0));
    assert_eq!(account["weight_bytes"].as_f64().unwrap(), 4.0 * account["parameters"].as_f64().unwrap());
    let said = stderr(&ended(&mut coppice(["flops", "--stored", "--weight-bytes", "2", "--model", &model]), 2));
    assert!(said.contains("cannot be used with"), "{said}");
}

#[test]
fn a_request_is_its_prompt_and_its_steps() {
    let folder = Folder::with_model();
    let model = folder.arg("model");
    let at = |context: &str, generate: &str| {
        json_of(&mut coppice(["flops", "--json", "--model", &model, "--context", context, "--generate", generate]))
    };
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap();
    let request = at("8", "3")["request"].clone();
    let decode = |context: &str| number(&at(context, "1")["account"], "decode_flops");
    assert_eq!(number(&request, "decode_flops"), decode("9") + decode("10"));
    assert_eq!(number(&request, "prefill_flops"), 8.0 * number(&at("8", "1")["account"], "prefill_flops"));
    let bytes = |context: &str| number(&at(context, "1")["account"], "decode_bytes");
    assert_eq!(number(&request, "decode_bytes"), bytes("9") + bytes("10"));
    refused(&mut coppice(["flops", "--model", &model, "--generate", "0"]));
}

#[test]
fn a_probe_that_does_not_fit_is_refused() {
    let folder = Folder::with_model();
    let model = folder.arg("model");
    let said = refused(&mut coppice(["flops", "--measure", "--model", &model]));
    assert!(said.contains("4096") && said.contains("64"), "{said}");
    let said = refused(&mut coppice(["flops", "--measure", "--context", "1", "--model", &model]));
    assert!(said.contains("two tokens"), "{said}");
}
