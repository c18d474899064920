"""StableLM 2 with mixture-of-experts layers, for transformers. Coppice writes this file into every checkpoint it upcycles.

Everything but the MLP of the layers in `moe_layers` is transformers' StableLM. The router computes in float32. With logits z over N
experts, of which K are chosen, and p = softmax(z), the gates are:

- `topk_softmax`: softmax over the chosen z (Mixtral, arXiv 2401.04088);
- `softmax_topk`: p of the chosen (Switch, arXiv 2101.03961); `softmax_topk_renorm`: divided by their sum; `softmax_topk_st`: divided by
  their sum without its gradient, so that the router learns at K = 1 too;
- `sigmoid_topk_renorm`: sigmoid(z) of the chosen divided by their sum (DeepSeek-V3, arXiv 2412.19437);
- `expert_choice`: each expert takes the n K / N tokens of the call with the highest p; the weight is p (arXiv 2202.09368);
  `expert_choice_renorm`: divided by the token's sum. Not causal: a token's fate depends on the others of the call.

Shapes: T tokens, D hidden, N experts.
"""

import torch
from torch import nn
from torch.nn.functional import linear, silu
from transformers import StableLmForCausalLM

from .configuration_stablelm_moe import StableLmMoeConfig

GATES = ("topk_softmax", "softmax_topk", "softmax_topk_renorm", "softmax_topk_st", "sigmoid_topk_renorm",
         "expert_choice", "expert_choice_renorm")


class GatedMlp(nn.Module):
    """down(silu(gate(x)) * up(x)), without biases."""

    def __init__(self, hidden: int, width: int):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))


class Router(nn.Linear):
    """Says which experts compute a token, and with what weight."""

    def __init__(self, config: StableLmMoeConfig):
        super().__init__(config.hidden_size, config.num_experts, bias=False)
        check(config)
        self.config = config
        self.balance = None
        if config.router_bias:
            self.register_buffer("e_score_correction_bias", torch.zeros(config.num_experts, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights in float32, zero where an expert is not chosen, and which are chosen; `x [T, D]` gives `[T, N]` each."""
        with torch.autocast(x.device.type, enabled=False):
            logits = self.logits(x)
            scores = logits.sigmoid() if self.config.gate == "sigmoid_topk_renorm" else logits.softmax(-1)
            chosen = self.choose(logits if self.config.gate == "topk_softmax" else scores)
            self.balance = balance_loss(scores, chosen) if self.training else None
            return self.weigh(logits, scores, chosen), chosen

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        z = linear(x.float(), self.weight.float())
        if self.config.router_logit_norm is None:
            return z
        variance, mean = torch.var_mean(z, -1, correction=0, keepdim=True)
        return self.config.router_logit_norm * (z - mean) / torch.sqrt(variance + 1e-6)

    def choose(self, score: torch.Tensor) -> torch.Tensor:
        """Marks the chosen experts of each token, `[T, N]`."""
        tokens, experts = score.shape
        k, group = self.config.num_experts_per_tok, self.config.router_group_size
        if self.config.gate.startswith("expert_choice"):
            return highest(score, min(tokens, max(1, tokens * k // experts)), 0)
        if self.config.router_bias:
            score = score + self.e_score_correction_bias
        if group == 1:
            return highest(score, k, -1)
        return highest(score.view(tokens, -1, group).mean(-1), k // group, -1).repeat_interleave(group, -1)

    def weigh(self, logits: torch.Tensor, scores: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        gate = self.config.gate
        if gate == "topk_softmax":
            return logits.masked_fill(~chosen, -torch.inf).softmax(-1)
        weights = scores * chosen
        if gate in ("softmax_topk", "expert_choice"):
            return weights
        total = weights.sum(-1, keepdim=True)
        total = total.masked_fill(total == 0, 1)  # a token that no expert took
        return weights / (total.detach() if gate == "softmax_topk_st" else total)


class SparseMlp(nn.Module):
    """Routed experts, and an expert that every token meets where the configuration has one."""

    def __init__(self, config: StableLmMoeConfig):
        super().__init__()
        hidden, shared = config.hidden_size, config.shared_expert_intermediate_size
        self.gate = Router(config)
        self.experts = nn.ModuleList(GatedMlp(hidden, config.moe_intermediate_size) for _ in range(config.num_experts))
        self.shared_expert = GatedMlp(hidden, shared) if shared else None
        self.shared_expert_gate = nn.Linear(hidden, 1, bias=False) if shared and config.shared_expert_gated else None

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        x = hidden_states.reshape(-1, hidden_states.shape[-1])  # [T, D]
        weights, chosen = self.gate(x)
        y = self.routed(x, weights.to(x.dtype), chosen)
        if self.shared_expert is not None:
            y = y + self.shared(x)
        return y.view_as(hidden_states)

    def routed(self, x: torch.Tensor, weights: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Expert after expert; while training also those without tokens, so that every parameter has a gradient."""
        y = torch.zeros_like(x)
        experts = range(len(self.experts)) if self.training else chosen.any(0).nonzero().flatten().tolist()
        for index in experts:
            rows = chosen[:, index].nonzero().flatten()
            part = self.experts[index](x[rows]) * weights[rows, index, None]
            y.index_add_(0, rows, part.to(y.dtype))
        return y

    def shared(self, x: torch.Tensor) -> torch.Tensor:
        y = self.shared_expert(x)
        return y if self.shared_expert_gate is None else y * self.shared_expert_gate(x).sigmoid()


class StableLmMoeForCausalLM(StableLmForCausalLM):
    """StableLM whose layers `moe_layers` have a `SparseMlp`."""

    config: StableLmMoeConfig
    config_class = StableLmMoeConfig
    _keys_to_ignore_on_load_missing = [r"norm\.bias$"]
    _can_compile_fullgraph = False

    def __init__(self, config: StableLmMoeConfig):
        super().__init__(config)
        for index in config.moe_layers:
            self.model.layers[index].mlp = SparseMlp(config)
        config.use_norm_bias = True  # zeros where the file had none, and saved with the rest
        self.post_init()
        self._keep_in_fp32_modules_strict = {"e_score_correction_bias"}  # after post_init: transformers 4 looks for a parameter there

    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        bias = getattr(module, "e_score_correction_bias", None)
        if bias is not None and not getattr(bias, "_is_hf_initialized", False):
            bias.data.zero_()

    def loss_with_balance(self, logits: torch.Tensor, labels: torch.Tensor, **kwargs) -> torch.Tensor:
        """Cross-entropy; while training also the mean balance loss of the routed layers times `router_aux_loss_coef`."""
        loss = super().loss_function(logits, labels, **kwargs)
        routers = [self.model.layers[index].mlp.gate for index in self.config.moe_layers]
        losses = [router.balance.to(loss.device) for router in routers if router.balance is not None]
        for router in routers:
            router.balance = None
        return loss + self.config.router_aux_loss_coef * torch.stack(losses).mean() if losses else loss

    loss_function = StableLmForCausalLM.loss_function.getter(lambda self: self.loss_with_balance)


def highest(score: torch.Tensor, count: int, dim: int) -> torch.Tensor:
    """Marks the `count` highest entries along `dim`; of equal ones the first."""
    order = score.sort(dim=dim, descending=True, stable=True).indices.narrow(dim, 0, count)
    return torch.zeros_like(score, dtype=torch.bool).scatter(dim, order, True)


def balance_loss(scores: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """N sum_i f_i P_i of one layer: f_i the share of the assignments that expert i got, P_i its mean probability. 1 when even."""
    share = chosen.sum(0) / chosen.sum()
    probability = (scores / scores.sum(-1, keepdim=True)).mean(0)
    return scores.shape[-1] * (share * probability).sum()


def check(config: StableLmMoeConfig):
    """Refuses what cannot be computed as the configuration says."""
    if config.gate not in GATES:
        raise ValueError(f"unknown gate {config.gate!r} (known: {', '.join(GATES)})")
    k, group = config.num_experts_per_tok, config.router_group_size
    if not 1 <= k <= config.num_experts or k % group or config.num_experts % group:
        raise ValueError(f"{k} of {config.num_experts} experts cannot be chosen in groups of {group}")


StableLmMoeForCausalLM.register_for_auto_class("AutoModelForCausalLM")
