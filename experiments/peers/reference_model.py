"""StableLM 2, dense and routed, as plain functions of a dictionary of weights: the forward pass of `train_reference.py`, in fp32.

Written from the papers and for reading: a mask instead of fused attention, one matrix product an expert, no cache. References:
Stable LM 2 1.6B Technical Report (arXiv 2402.17834), transformers `modeling_stablelm.py` for the names and the half-split rotation;
Mixtral (2401.04088), Switch (2101.03961) and DeepSeek-V3 (2412.19437) for the gates. Refuses what it does not know.

Shapes: B sequences, S tokens, T = B S, D hidden, H heads, C key and value heads, d head size, N experts, K chosen ones.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import layer_norm, linear, silu

Weights = dict[str, torch.Tensor]
UNKNOWN = {"qk_layernorm": False, "use_parallel_residual": False, "router_bias": False, "router_logit_norm": None,
           "router_group_size": 1, "shared_expert_intermediate_size": 0}


@dataclass
class Routing:
    """What one router did: logits `[T, N]`, how many tokens chose each expert `[N]`, and the closest a choice came to a tie."""

    logits: torch.Tensor
    counts: torch.Tensor
    margin: float


@dataclass
class Places:
    """Where tokens stand: positions `[B, S]`, and which tokens each may see `[B, 1, S, S]`."""

    positions: torch.Tensor
    visible: torch.Tensor


def check(config: dict) -> None:
    for key, known in UNKNOWN.items():
        if config.get(key, known) != known:
            raise SystemExit(f"the reference knows {key} = {known} alone, this model has {config[key]}")


def places(ids: torch.Tensor, eos: int, reset: bool) -> Places:
    """Causal, and where `reset` is set no token sees or counts those before the document it stands in; `eos` ends a document."""
    index = torch.arange(ids.shape[1]).expand_as(ids)
    ended = torch.zeros_like(ids)
    if reset:
        ended[:, 1:] = (ids[:, :-1] == eos).long()
    document = ended.cumsum(1)  # [B, S]
    start = torch.where(ended == 1, index, 0).cummax(1).values
    same = document[:, :, None] == document[:, None, :]
    return Places(index - start, (same & (index[:, :, None] >= index[:, None, :]))[:, None])


def rotate(x: torch.Tensor, positions: torch.Tensor, config: dict) -> torch.Tensor:
    """The first `partial_rotary_factor` of each head of `x [B, H, S, d]` turned by the angles of the positions, half against half."""
    dims = int(config["partial_rotary_factor"] * x.shape[-1])
    frequencies = config["rope_theta"] ** (-torch.arange(0, dims, 2, dtype=torch.float32) / dims)
    angles = positions[:, None, :, None].float() * frequencies  # [B, 1, S, dims / 2]
    a, b, rest = x.split([dims // 2, dims // 2, x.shape[-1] - dims], -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


def attention(w: Weights, prefix: str, x: torch.Tensor, at: Places, config: dict) -> torch.Tensor:
    b, s, hidden = x.shape
    heads, shared = config["num_attention_heads"], config.get("num_key_value_heads", config["num_attention_heads"])
    project = lambda name: linear(x, w[f"{prefix}.{name}_proj.weight"], w.get(f"{prefix}.{name}_proj.bias"))
    split = lambda name, count: project(name).view(b, s, count, hidden // heads).transpose(1, 2)
    q, k = (rotate(split(*part), at.positions, config) for part in (("q", heads), ("k", shared)))
    k, v = (part.repeat_interleave(heads // shared, 1) for part in (k, split("v", shared)))
    scores = (q @ k.transpose(-1, -2) / (hidden // heads) ** 0.5).masked_fill(~at.visible, -torch.inf)
    y = scores.softmax(-1) @ v  # [B, H, S, d]
    return linear(y.transpose(1, 2).reshape(b, s, hidden), w[f"{prefix}.o_proj.weight"])


def mlp(w: Weights, prefix: str, x: torch.Tensor) -> torch.Tensor:
    gate, up, down = (w[f"{prefix}.{name}_proj.weight"] for name in ("gate", "up", "down"))
    return linear(silu(linear(x, gate)) * linear(x, up), down)


def scores(logits: torch.Tensor, gate: str) -> torch.Tensor:
    return logits.sigmoid() if gate == "sigmoid_topk_renorm" else logits.softmax(-1)


def choose(logits: torch.Tensor, config: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and experts `[T, K]` of tokens with `logits [T, N]`; of equal logits the first."""
    gate, chosen = config["gate"], config["num_experts_per_tok"]
    experts = logits.sort(dim=-1, descending=True, stable=True).indices[:, :chosen]
    if gate == "topk_softmax":
        return logits.gather(1, experts).softmax(-1), experts
    p = scores(logits, gate).gather(1, experts)
    total = p.sum(-1, keepdim=True)
    divisors = {"softmax_topk": 1.0, "softmax_topk_renorm": total, "softmax_topk_st": total.detach(), "sigmoid_topk_renorm": total}
    if gate not in divisors:
        raise SystemExit(f"the reference does not know the gate {gate}")
    return p / divisors[gate], experts


def routed(w: Weights, prefix: str, x: torch.Tensor, config: dict) -> tuple[torch.Tensor, Routing]:
    tokens = x.flatten(0, 1)
    logits = linear(tokens, w[f"{prefix}.gate.weight"])
    weights, experts = choose(logits, config)
    y = torch.zeros_like(tokens)
    for expert in range(config["num_experts"]):
        rows, rank = (experts == expert).nonzero(as_tuple=True)
        y = y.index_add(0, rows, mlp(w, f"{prefix}.experts.{expert}", tokens[rows]) * weights[rows, rank, None])
    best = logits.detach().topk(config["num_experts_per_tok"] + 1).values  # [T, K + 1]
    margin = (best[:, -2] - best[:, -1]).min().item()
    return y.view_as(x), Routing(logits, torch.bincount(experts.flatten(), minlength=config["num_experts"]), margin)


def norm(w: Weights, name: str, x: torch.Tensor, config: dict) -> torch.Tensor:
    return layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w.get(f"{name}.bias"), config.get("layer_norm_eps", 1e-5))


def forward(w: Weights, ids: torch.Tensor, at: Places, config: dict) -> tuple[torch.Tensor, list[Routing]]:
    """Logits `[B, S, V]`, and what every router did."""
    x, routings = w["model.embed_tokens.weight"][ids], []
    for index in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{index}"
        x = x + attention(w, f"{prefix}.self_attn", norm(w, f"{prefix}.input_layernorm", x, config), at, config)
        y = norm(w, f"{prefix}.post_attention_layernorm", x, config)
        if index in config.get("moe_layers", []):
            y, routing = routed(w, f"{prefix}.mlp", y, config)
            routings.append(routing)
        else:
            y = mlp(w, f"{prefix}.mlp", y)
        x = x + y
    head = w["model.embed_tokens.weight" if config.get("tie_word_embeddings") else "lm_head.weight"]
    return linear(norm(w, "model.norm", x, config), head), routings
