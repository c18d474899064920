//! The order in which NeoX flattens its parameters, for states that do not say where each lies.
//!
//! Modules come in the order they are made: embedding, layers (norm, attention, norm, MLP with `w1`, `w3`, `w2`), final norm, head. What is
//! a norm's or called bias does not decay and makes the second group.

use coppice_models::Config;

/// Name, bare of wrappers, and number of elements of every parameter of a group, in order.
pub(super) type Order = Vec<(String, usize)>;

/// What a configuration leaves open about the file.
#[derive(Debug, Clone, Copy)]
struct Open {
    vocabulary: i64,
    layer_biases: bool,
    final_bias: bool,
}

/// Both groups' orders, for everything a configuration leaves open: whether the vocabulary was rounded up to a multiple of 128, as NeoX
/// does, and whether norms have biases in the layers and at the end.
pub(super) fn candidates(config: &Config) -> Vec<[Order; 2]> {
    let v = config.vocab_size;
    let vocabularies = if v % 128 == 0 { vec![v] } else { vec![v, v + 128 - v % 128] };
    let mut all = Vec::new();
    for vocabulary in vocabularies {
        for (layer_biases, final_bias) in [(true, true), (false, false), (false, true), (true, false)] {
            all.push(order(config, Open { vocabulary, layer_biases, final_bias }));
        }
    }
    all
}

fn order(config: &Config, open: Open) -> [Order; 2] {
    let (d, layers) = (config.hidden_size, config.num_hidden_layers);
    let mut groups = [vec![("0.word_embeddings.weight".to_owned(), (open.vocabulary * d) as usize)], Vec::new()];
    for layer in 0..layers {
        push_layer(&mut groups, config, &format!("{}", layer + 2), open.layer_biases);
    }
    push_norm(&mut groups[1], &format!("{}.norm", layers + 3), d, open.final_bias);
    if !config.tie_word_embeddings {
        groups[0].push((format!("{}.final_linear.weight", layers + 4), (open.vocabulary * d) as usize));
    }
    groups
}

fn push_layer([decaying, plain]: &mut [Order; 2], config: &Config, prefix: &str, biases: bool) {
    let (d, f) = (config.hidden_size, config.intermediate_size);
    push_norm(plain, &format!("{prefix}.input_layernorm"), d, biases);
    decaying.push((format!("{prefix}.attention.query_key_value.weight"), (3 * d * d) as usize));
    if config.use_qkv_bias {
        plain.push((format!("{prefix}.attention.query_key_value.bias"), (3 * d) as usize));
    }
    decaying.push((format!("{prefix}.attention.dense.weight"), (d * d) as usize));
    push_norm(plain, &format!("{prefix}.post_attention_layernorm"), d, biases);
    decaying.extend(["w1", "w3", "w2"].map(|name| (format!("{prefix}.mlp.{name}.weight"), (d * f) as usize)));
}

fn push_norm(group: &mut Order, name: &str, width: i64, bias: bool) {
    group.push((format!("{name}.weight"), width as usize));
    if bias {
        group.push((format!("{name}.bias"), width as usize));
    }
}
