"""A routed MLP written for reading: one loop over tokens, one over the chosen experts. The reference of `models/src/moe.rs`.

Gates: `topk_softmax` (Mixtral, arXiv 2401.04088), `softmax_topk` (Switch, 2101.03961), `softmax_topk_renorm` (their common form), and
`softmax_topk_st`, p / stop_gradient(sum of the chosen p). Losses: Switch's balance loss in Megatron's normalisation (minimum 1) and
ST-MoE's z-loss (2202.08906).
"""

import torch
import weights

GATES = ["topk_softmax", "softmax_topk", "softmax_topk_renorm", "softmax_topk_st"]


def choose(logits: torch.Tensor, gate: str, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and expert indices of one token's `logits [N]`, best first."""
    experts = torch.argsort(logits, descending=True)[:k]
    if gate == "topk_softmax":
        return torch.softmax(logits[experts], 0), experts
    chosen = torch.softmax(logits, 0)[experts]
    total = {"softmax_topk": torch.ones(()), "softmax_topk_renorm": chosen.sum(), "softmax_topk_st": chosen.sum().detach()}[gate]
    return chosen / total, experts


class Moe(torch.nn.Module):
    """`N` gated MLPs of width `F` and a linear router; parameters are named as in a `stablelm_moe` file."""

    def __init__(self, hidden: int, width: int, experts: int, k: int, gate: str):
        super().__init__()
        self.k, self.order = k, gate
        self.gate = torch.nn.Linear(hidden, experts, bias=False)
        self.experts = torch.nn.ModuleList(expert(hidden, width) for _ in range(experts))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.reshape(-1, x.shape[-1])
        return torch.stack([self.one(token) for token in tokens]).reshape(x.shape)

    def one(self, token: torch.Tensor) -> torch.Tensor:
        weight, chosen = choose(self.gate(token), self.order, self.k)
        return sum(w * self.expert(int(e), token) for w, e in zip(weight, chosen))

    def expert(self, index: int, token: torch.Tensor) -> torch.Tensor:
        part = self.experts[index]
        return part["down_proj"](torch.nn.functional.silu(part["gate_proj"](token)) * part["up_proj"](token))


def expert(hidden: int, width: int) -> torch.nn.ModuleDict:
    shapes = {"gate_proj": (hidden, width), "up_proj": (hidden, width), "down_proj": (width, hidden)}
    return torch.nn.ModuleDict({name: torch.nn.Linear(*shape, bias=False) for name, shape in shapes.items()})


def balance_loss(logits: torch.Tensor, k: int) -> torch.Tensor:
    """`N * sum f_i P_i`, f = assignments / (n k), P = mean probability; `logits [n, N]`."""
    tokens, experts = logits.shape
    counts = torch.bincount(torch.topk(logits, k).indices.flatten(), minlength=experts)
    return experts * (counts / (tokens * k) * torch.softmax(logits, -1).mean(0)).sum()


def z_loss(logits: torch.Tensor) -> torch.Tensor:
    """Mean squared log-partition; `logits [n, N]`."""
    return torch.logsumexp(logits, -1).square().mean()


def golden(digits) -> dict:
    """Outputs, gradients and losses of one layer for every gate at K = 1 and 2, in f64."""
    tokens, hidden, width, experts = 12, 8, 16, 4
    layer = Moe(hidden, width, experts, 1, GATES[0]).double()
    recipes = {name: {"shape": list(p.shape), "offset": 0.0, "scale": 0.75} for name, p in layer.named_parameters()}
    for name, parameter in layer.named_parameters():
        parameter.data = weights.tensor(name, **recipes[name]).double()
    inputs = {name: {"shape": [tokens, hidden], "offset": 0.0, "scale": 1.5} for name in ("x", "output_gradient")}
    x, pull = (weights.tensor(name, **spec).double() for name, spec in inputs.items())
    cases = [case(layer, gate, k, x, pull, digits) for gate in GATES for k in (1, 2)]
    return {"tensors": recipes, "inputs": inputs, "cases": cases}


def case(layer: Moe, gate: str, k: int, x: torch.Tensor, pull: torch.Tensor, digits) -> dict:
    layer.order, layer.k = gate, k
    x = x.clone().requires_grad_()
    if gate != "softmax_topk_st":  # whose gradient is by design not that of its output
        assert torch.autograd.gradcheck(layer, x)
    router, expert = layer.gate.weight, layer.experts[1]
    y = layer(x)
    targets = [x, router] + [expert[name].weight for name in ("gate_proj", "up_proj", "down_proj")]
    gradients = torch.autograd.grad((y * pull).sum(), targets, allow_unused=True, materialize_grads=True)
    names = ["x", "gate.weight"] + [f"experts.1.{name}.weight" for name in ("gate_proj", "up_proj", "down_proj")]
    losses = {"balance": balance_loss(layer.gate(x), k), "z": z_loss(layer.gate(x))}
    return {
        "gate": gate, "experts_per_token": k, "output": digits(y),
        "gradients": {name: digits(g) for name, g in zip(names, gradients)},
        "losses": {name: {"value": digits(loss), "router_gradient": digits(torch.autograd.grad(loss, router)[0])}
                   for name, loss in losses.items()},
    }
