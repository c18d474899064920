"""Writes `flops_variants.json` beside it: what torch counts for dense and routed models of every kind, pass by pass.

Usage: `python flops.py` with torch 2.11 and transformers 5.23 or 5.24. `FlopCounterMode` sees every matrix product of the eager model:
attention is two batched products in full, experts are a loop of plain products. It knows neither causal attention nor grouped products, so
`hand` gives the operations that causal attention does not need: for each layer two products over the pairs of a query and a later key.
"""

import torch
from torch.utils.flop_counter import FlopCounterMode

from make import LARGE, MIDDLE, SMALL, TIED, build, dialect, settings, write

LENGTH = 33
WIDE = {"gate": "softmax_topk_st", "moe_intermediate_size": 448, "moe_layers": [0, 1]}
E8 = WIDE | {"num_experts": 8}

# name: (settings, routed experts)
VARIANTS = {
    "dense": (SMALL, None),
    "dense_grouped_queries_tied": (LARGE | TIED, None),
    "e8_top1": (MIDDLE, E8 | {"num_experts_per_tok": 1}),
    "e8_top2": (MIDDLE, E8 | {"num_experts_per_tok": 2}),
    "e8_top2_alternate": (MIDDLE, E8 | {"num_experts_per_tok": 2, "moe_layers": [1]}),
    "granular_e64_top8": (MIDDLE, E8 | {"num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 56}),
    "shared_expert": (MIDDLE, E8 | {"num_experts_per_tok": 2, "shared_expert_intermediate_size": 448}),
    "shared_expert_gated": (MIDDLE, E8 | {"num_experts_per_tok": 1, "shared_expert_intermediate_size": 224, "shared_expert_gated": True}),
}


def counted(work) -> tuple[int, object]:
    """Operations of the matrix products of `work`, and what it returns."""
    with FlopCounterMode(display=False) as counter:
        found = work()
    return counter.get_total_flops(), found


def hand(full: dict, length: int) -> int:
    """Operations of attention to later positions: `2 x 2 D` a pair of a query and a later key, in every layer."""
    return full["num_hidden_layers"] * 4 * full["hidden_size"] * length * (length - 1) // 2


def variant(given: dict, routed: dict | None) -> dict:
    """A forward pass, a backward pass, a prefill with one head, and the step of one token after `LENGTH - 1` others."""
    full = settings(given)
    torch.manual_seed(0)
    model = build(full, routed)
    ids = torch.arange(LENGTH).view(1, -1)
    forward, found = counted(lambda: model(input_ids=ids))
    backward, _ = counted(lambda: found.logits.sum().backward())
    with torch.no_grad():
        prefill, _ = counted(lambda: model(input_ids=ids, logits_to_keep=1))
        before = model(input_ids=ids[:, :-1], use_cache=True).past_key_values
        decode, _ = counted(lambda: model(input_ids=ids[:, -1:], past_key_values=before, use_cache=True))
    return {"config": dialect("moe" if routed else "v5", full, routed), "length": LENGTH, "forward": forward, "backward": backward,
            "prefill": prefill, "decode": decode, "not_causal": hand(full, LENGTH),
            "parameters": sum(p.numel() for p in model.parameters())}


def main() -> None:
    torch.set_num_threads(1)
    write("flops_variants", {name: variant(*case) for name, case in VARIANTS.items()})


if __name__ == "__main__":
    main()
