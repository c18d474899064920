"""A routed MLP written for reading: one loop over tokens, one over the chosen experts. The reference of `models/src/moe.rs`, in f64.

Gates: `topk_softmax` (Mixtral, arXiv 2401.04088), `softmax_topk` (Switch, 2101.03961), `softmax_topk_renorm` (their common form),
`softmax_topk_st`, p / stop_gradient(sum of the chosen p), `sigmoid_topk_renorm` (DeepSeek-V3, 2412.19437), `expert_choice` (2202.09368)
and `expert_choice_renorm`. Switches: a bias on the scores that decide (2412.19437), logits brought to mean 0 and a given deviation over
the experts (2406.06563), experts chosen in groups (2410.07524), an expert that every token meets, with or without a gate of its own.
Losses are in `losses.py`.
"""

from dataclasses import asdict, dataclass

import losses
import torch
import weights

GATES = ["topk_softmax", "softmax_topk", "softmax_topk_renorm", "softmax_topk_st"]
PROJECTIONS = ("gate_proj", "up_proj", "down_proj")


@dataclass
class Case:
    """One way to route; the last four are left out of the golden file where they are not used."""

    gate: str
    experts_per_token: int
    router_bias: list[float] | None = None
    logit_norm: float | None = None
    group_size: int | None = None
    shared: str | None = None  # "plain" or "gated"


BIAS = [0.5, -0.375, 0.25, -0.625]
CASES = [Case(gate, k) for gate in GATES for k in (1, 2)] + [
    *(Case(gate, k) for gate in ("sigmoid_topk_renorm", "expert_choice", "expert_choice_renorm") for k in (1, 2)),
    *(Case(gate, 2, router_bias=BIAS) for gate in ("topk_softmax", "softmax_topk", "sigmoid_topk_renorm")),
    Case("softmax_topk", 2, logit_norm=1.0),
    Case("topk_softmax", 2, logit_norm=2.5),
    Case("topk_softmax", 2, group_size=2),
    Case("softmax_topk_renorm", 2, group_size=2, router_bias=BIAS),
    Case("topk_softmax", 2, shared="plain"),
    Case("softmax_topk", 1, shared="gated"),
    Case("expert_choice_renorm", 2, shared="gated", logit_norm=1.5),
]


def best(scores: torch.Tensor, count: int) -> list[int]:
    """Places of the `count` highest scores, the highest first; of equal ones the first."""
    return sorted(range(len(scores)), key=lambda place: -scores[place].item())[:count]


def choose(logits: torch.Tensor, case: Case) -> list[tuple[torch.Tensor, int]]:
    """Weights and experts of one token with `logits [N]`."""
    p = torch.sigmoid(logits) if case.gate == "sigmoid_topk_renorm" else torch.softmax(logits, 0)
    score = (logits if case.gate == "topk_softmax" else p) + torch.tensor(case.router_bias or [0.0] * len(p))
    experts = grouped(score, case.experts_per_token, case.group_size or 1)
    if case.gate == "topk_softmax":
        return list(zip(torch.softmax(logits[experts], 0), experts))
    total = {"softmax_topk": torch.ones(()), "softmax_topk_st": p[experts].sum().detach()}.get(case.gate, p[experts].sum())
    return list(zip(p[experts] / total, experts))


def grouped(score: torch.Tensor, k: int, size: int) -> list[int]:
    """The K experts of the best K / G groups of G neighbours."""
    means = torch.stack([score[start : start + size].mean() for start in range(0, len(score), size)])
    return [group * size + member for group in best(means, k // size) for member in range(size)]


def choose_tokens(logits: torch.Tensor, case: Case) -> list[list[tuple[torch.Tensor, int]]]:
    """Expert choice among all tokens, `logits [n, N]`: the weights and experts of each token."""
    tokens, experts = logits.shape
    p = torch.softmax(logits, -1)
    taken = [best(p[:, e], min(tokens, max(1, tokens * case.experts_per_token // experts))) for e in range(experts)]
    found = [[(p[t, e], e) for e in range(experts) if t in taken[e]] for t in range(tokens)]
    if case.gate == "expert_choice_renorm":
        found = [[(w / sum(v for v, _ in row), e) for w, e in row] for row in found]
    return found


class Moe(torch.nn.Module):
    """`N` gated MLPs of width `F`, a shared one, and a linear router; parameters are named as in a `stablelm_moe` file."""

    def __init__(self, hidden: int, width: int, experts: int, shared_width: int):
        super().__init__()
        self.case = CASES[0]
        self.gate = torch.nn.Linear(hidden, experts, bias=False)
        self.experts = torch.nn.ModuleList(expert(hidden, width) for _ in range(experts))
        self.shared_expert = expert(hidden, shared_width)
        self.shared_expert_gate = torch.nn.Linear(hidden, 1, bias=False)

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        z = self.gate(tokens)
        if self.case.logit_norm is None:
            return z
        centred = z - z.mean(-1, keepdim=True)
        return self.case.logit_norm * centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-6)

    def route(self, tokens: torch.Tensor) -> list[list[tuple[torch.Tensor, int]]]:
        logits = self.logits(tokens)
        if self.case.gate.startswith("expert_choice"):
            return choose_tokens(logits, self.case)
        return [choose(row, self.case) for row in logits]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.reshape(-1, x.shape[-1])
        return torch.stack([self.one(*pair) for pair in zip(tokens, self.route(tokens))]).reshape(x.shape)

    def one(self, token: torch.Tensor, chosen: list[tuple[torch.Tensor, int]]) -> torch.Tensor:
        routed = sum((w * mlp(self.experts[e], token) for w, e in chosen), torch.zeros_like(token))
        if self.case.shared is None:
            return routed
        gate = torch.sigmoid(self.shared_expert_gate(token)) if self.case.shared == "gated" else 1.0
        return routed + gate * mlp(self.shared_expert, token)


def mlp(part: torch.nn.ModuleDict, token: torch.Tensor) -> torch.Tensor:
    return part["down_proj"](torch.nn.functional.silu(part["gate_proj"](token)) * part["up_proj"](token))


def expert(hidden: int, width: int) -> torch.nn.ModuleDict:
    shapes = {"gate_proj": (hidden, width), "up_proj": (hidden, width), "down_proj": (width, hidden)}
    return torch.nn.ModuleDict({name: torch.nn.Linear(*shape, bias=False) for name, shape in shapes.items()})


def golden(digits) -> dict:
    """Outputs, gradients and losses of one layer for every case."""
    tokens, hidden, width, experts, shared = 12, 8, 16, 4, 24
    layer = Moe(hidden, width, experts, shared).double()
    recipes = {name: {"shape": list(p.shape), "offset": 0.0, "scale": 0.75} for name, p in layer.named_parameters()}
    for name, parameter in layer.named_parameters():
        parameter.data = weights.tensor(name, **recipes[name]).double()
    inputs = {name: {"shape": [tokens, hidden], "offset": 0.0, "scale": 1.5} for name in ("x", "output_gradient")}
    x, pull = (weights.tensor(name, **spec).double() for name, spec in inputs.items())
    return {"tensors": recipes, "inputs": inputs, "cases": [result(layer, case, x, pull, digits) for case in CASES]}


def result(layer: Moe, case: Case, x: torch.Tensor, pull: torch.Tensor, digits) -> dict:
    layer.case, x = case, x.clone().requires_grad_()
    if case.router_bias:
        assert changed(layer, case, x), "the bias must change a choice"
    if case.gate != "softmax_topk_st":  # whose gradient is by design not that of its output
        assert torch.autograd.gradcheck(layer, x)
    y, named = layer(x), targets(layer, case, x)
    gradients = torch.autograd.grad((y * pull).sum(), list(named.values()), allow_unused=True, materialize_grads=True)
    said = {name: value for name, value in asdict(case).items() if value is not None}
    return said | {"output": digits(y), "gradients": {name: digits(g) for name, g in zip(named, gradients)},
                   "losses": losses.golden(layer, x, digits)}


def changed(layer: Moe, case: Case, x: torch.Tensor) -> bool:
    """Whether some token goes elsewhere than without the bias."""
    plain = Case(**asdict(case) | {"router_bias": None})
    experts = lambda row, way: {e for _, e in choose(row, way)}
    return any(experts(row, case) != experts(row, plain) for row in layer.logits(x))


def targets(layer: Moe, case: Case, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the gradient is taken of: input, router, one expert, and the shared expert where there is one."""
    prefixes = ["experts.1."] + (["shared_expert."] if case.shared else [])
    names = ["gate.weight"] + [f"{prefix}{name}.weight" for prefix in prefixes for name in PROJECTIONS]
    names += ["shared_expert_gate.weight"] if case.shared == "gated" else []
    return {"x": x} | {name: layer.get_parameter(name) for name in names}
