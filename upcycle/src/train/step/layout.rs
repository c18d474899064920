//! Which parameters belong to which part of the model, by their place in the list of gradients.

use std::ops::Range;

use coppice_models::Model;
use coppice_models::state::Parameter;

/// Places in the list of trained parameters.
#[derive(Debug)]
pub(in crate::train) struct Layout {
    pub(super) embedding: usize,
    /// One range a layer.
    pub(super) layers: Vec<Range<usize>>,
    /// The final norm's.
    pub(super) norm: Range<usize>,
    /// The embedding's own where they are tied.
    pub(super) head: usize,
}

impl Layout {
    /// That of `parameters`, which stand in the order of the model file: embedding, layers, final norm, head.
    pub(in crate::train) fn new<'a>(model: &Model, parameters: impl Iterator<Item = &'a Parameter>) -> Self {
        let names: Vec<&str> = parameters.map(|parameter| parameter.name.as_str()).collect();
        let range = |prefix: &str| {
            let from = names.iter().take_while(|name| !name.starts_with(prefix)).count();
            from..from + names[from..].iter().take_while(|name| name.starts_with(prefix)).count()
        };
        let layers = (0..model.layers.len()).map(|layer| range(&format!("model.layers.{layer}."))).collect();
        let head = names.iter().position(|&name| name == "lm_head.weight");
        Self { embedding: 0, layers, norm: range("model.norm."), head: head.unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use coppice_models::Config;
    use coppice_models::init::Random;
    use serde_json::json;
    use tch::Device;

    use super::*;

    #[test]
    fn every_parameter_has_one_place() {
        for tied in [false, true] {
            let config = Config::from_json(&json!({
                "model_type": "stablelm", "vocab_size": 8, "hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 12,
                "num_attention_heads": 2, "max_position_embeddings": 8, "use_qkv_bias": true, "tie_word_embeddings": tied,
            }));
            let config = config.unwrap();
            let model = Model::new(&Random { config: &config, seed: 0, std: 0.02, device: Device::Cpu }, &config, Device::Cpu).unwrap();
            let parameters = model.parameters();
            let layout = Layout::new(&model, parameters.iter());
            let mut places = vec![layout.embedding];
            places.extend(layout.layers.iter().cloned().flatten().chain(layout.norm.clone()));
            places.extend((!tied).then_some(layout.head));
            assert_eq!(places, (0..parameters.len()).collect::<Vec<_>>());
            assert!(!tied || layout.head == layout.embedding);
        }
    }
}
