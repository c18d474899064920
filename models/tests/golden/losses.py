"""Losses on a router, written for reading. The reference of `upcycle/src/train/losses.rs`, in f64.

The balance loss is Switch's (arXiv 2101.03961) in Megatron's normalisation, `N sum_i f_i P_i`: f_i is the share of the assignments that
expert i got (no gradient), P_i its mean probability (softmax of the logits; for `sigmoid_topk_renorm` the scores divided by their sum).
The logits are those the gate sees, after their normalisation where there is one; a bias on the scores that decide is not in P. It is 1
where loads or probabilities are even, which is its minimum as long as more probable experts get more tokens, and N where one expert gets
everything. Three ways to count, with the same minimum:

- `balance`: f and P over all tokens of a micro-batch;
- `balance_sequence`: the mean over sequences of the loss of each;
- `balance_global`: f over the tokens of the step so far, P over the micro-batch, the mean over micro-batches (2501.11873 with gradient
  accumulation). With one micro-batch it is `balance`.

Expert choice is balanced by construction: `balance` is 1 and its gradient zero, the other two are not defined for it. The z-loss
(ST-MoE, 2202.08906) is the mean squared log-partition; its minimum is 0 in general, and ln(N)^2, at equal logits, where their mean is 0.
"""

import torch

SEQUENCES, MICRO_BATCHES = 3, 2


def assignments(layer, x: torch.Tensor) -> torch.Tensor:
    """How often each token went to each expert (0 or 1), `[n, N]`."""
    counts = torch.zeros(len(x), layer.gate.out_features, dtype=torch.long)
    for token, chosen in enumerate(layer.route(x)):
        for _, expert in chosen:
            counts[token, expert] += 1
    return counts


def probabilities(layer, x: torch.Tensor) -> torch.Tensor:
    logits = layer.logits(x)
    if layer.case.gate != "sigmoid_topk_renorm":
        return torch.softmax(logits, -1)
    scores = torch.sigmoid(logits)
    return scores / scores.sum(-1, keepdim=True)


def balance(counts: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """`N sum_i f_i P_i` from counts of the experts `[N]` and probabilities of the tokens `[n, N]`."""
    return len(counts) * (counts / counts.sum() * p.mean(0)).sum()


def balance_sequence(counts: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    pairs = zip(counts.chunk(SEQUENCES), p.chunk(SEQUENCES))
    return torch.stack([balance(part.sum(0), probability) for part, probability in pairs]).mean()


def balance_global(counts: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    seen = torch.stack([part.sum(0) for part in counts.chunk(MICRO_BATCHES)]).cumsum(0)
    return torch.stack([balance(*pair) for pair in zip(seen, p.chunk(MICRO_BATCHES))]).mean()


def golden(layer, x: torch.Tensor, digits) -> dict:
    """Every loss of one layer on the tokens `x [n, D]`, with its gradient for the router."""
    x = x.detach()
    counts, p = assignments(layer, x), probabilities(layer, x)
    found = {"balance": balance(counts.sum(0), p), "z": torch.logsumexp(layer.logits(x), -1).square().mean()}
    if not layer.case.gate.startswith("expert_choice"):
        found |= {"balance_sequence": balance_sequence(counts, p), "balance_global": balance_global(counts, p)}
    gradient = lambda loss: torch.autograd.grad(loss, layer.gate.weight, retain_graph=True)[0]
    return {name: {"value": digits(loss), "router_gradient": digits(gradient(loss))} for name, loss in found.items()}
