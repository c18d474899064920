"""Configuration of a StableLM 2 with mixture-of-experts layers: StableLM's keys and those of the router and its experts.

Coppice writes this file into every mixture-of-experts checkpoint. Defaults are those of a file that leaves the key out.
"""

from typing import Any

from transformers import StableLmConfig


class StableLmMoeConfig(StableLmConfig):
    """StableLM's keys, and:

    - `num_experts` N, `num_experts_per_tok` K, `moe_intermediate_size`: width of a routed expert;
    - `moe_layers`: indices of the layers that have experts; the others keep a dense MLP of `intermediate_size`;
    - `gate`: how router logits become weights, see `modeling_stablelm_moe.py`;
    - `router_bias`: a per-expert bias is added to the scores that decide, not to the weights (DeepSeek-V3, arXiv 2412.19437);
    - `router_logit_norm` L: logits are brought to mean 0 and standard deviation L over the experts (Skywork-MoE, arXiv 2406.06563);
    - `router_group_size` G: experts are chosen in groups of G neighbours, by the mean of their scores (virtual groups, arXiv 2410.07524);
    - `shared_expert_intermediate_size`: width of an expert that every token meets, 0 for none;
    - `shared_expert_gated`: its output is multiplied by a sigmoid of its own (Qwen1.5-MoE);
    - `router_aux_loss_coef`: weight of the balance loss while training with labels;
    - `use_norm_bias`: false where the file holds no LayerNorm biases; they are zero then;
    - `upcycling`: how the checkpoint was made, carried along.
    """

    model_type = "stablelm_moe"

    num_experts: int = 8
    num_experts_per_tok: int = 2
    moe_intermediate_size: int = 6912
    moe_layers: list | tuple = ()
    gate: str = "topk_softmax"
    router_bias: bool = False
    router_logit_norm: float | None = None
    router_group_size: int = 1
    shared_expert_intermediate_size: int = 0
    shared_expert_gated: bool = False
    router_aux_loss_coef: float = 0.01
    use_norm_bias: bool = True
    upcycling: Any = None

    def to_dict(self) -> dict:
        """Says the rotary settings at the top level too, where transformers 4 looks for them."""
        rope = getattr(self, "rope_parameters", None) or {}
        return super().to_dict() | {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if key in rope}


StableLmMoeConfig.register_for_auto_class()
