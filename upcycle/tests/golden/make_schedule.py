"""Writes `schedule.json`: learning rates of every kind of schedule, computed apart from the trainer.

Usage: `python make_schedule.py` with torch 2.11 and scipy. Warm-up, cosine, straight lines and restarts are torch's own schedulers, stepped
one after the other (`SequentialLR`) where that says the same; the hybrid curve of arXiv 2402.17834 is evaluated with `alpha` and `beta`
found numerically from the two conditions on value and slope, by automatic differentiation of the cosine rather than by its formula.
"""

import json
import math
import pathlib

import torch
from scipy.optimize import fsolve
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, SequentialLR


def stepped(peak: float, schedulers, milestones, steps: int) -> list[float]:
    """Rates of steps 0 to `steps` of torch schedulers in a row."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    parts = [make(optimizer) for make in schedulers]
    schedule = SequentialLR(optimizer, parts, milestones) if milestones else parts[0]
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        optimizer.step()
        schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def cosine() -> dict:
    """10 steps of warm-up from (almost) zero, then a cosine to a tenth over 30."""
    parts = [lambda o: LinearLR(o, 1e-12, 1.0, 10), lambda o: CosineAnnealingLR(o, 30, 2e-4)]
    return {"recipe": {"kind": "cosine", "peak": 2e-3, "warmup_steps": 10}, "steps": 40, "rates": stepped(2e-3, parts, [10], 40)}


def stable() -> dict:
    """10 steps of warm-up, the peak until 25, and a straight line to zero at 40."""
    parts = [lambda o: LinearLR(o, 1e-12, 1.0, 10), lambda o: ConstantLR(o, 1.0, 15), lambda o: LinearLR(o, 1.0, 0.0, 15)]
    recipe = {"kind": "constant", "peak": 2e-3, "warmup_steps": 10, "cooldown_steps": 15}
    return {"recipe": recipe, "steps": 40, "rates": stepped(2e-3, parts, [10, 25], 40)}


def restarts() -> dict:
    """Two decays to a tenth of 2e-3; between them five steps of warm-up from there to 0.8 of the peak."""
    first = stepped(2e-3, [lambda o: LinearLR(o, 1e-12, 1.0, 5), lambda o: CosineAnnealingLR(o, 15, 2e-4)], [5], 20)
    second = stepped(1.6e-3, [lambda o: LinearLR(o, 0.125, 1.0, 5), lambda o: CosineAnnealingLR(o, 25, 2e-4)], [5], 30)
    recipe = {"kind": "cosine", "peak": 2e-3, "warmup_steps": 5, "resets": [20], "reset_ratio": 0.8}
    return {"recipe": recipe, "steps": 50, "rates": first + second[1:]}


def published(i: float, peak: float, floor: float, total: float, warmup: float, joint) -> float:
    """The rate at step `i` of the published curve."""
    if i <= warmup:
        return peak * i / warmup
    if i <= total / 4:
        return floor + (peak - floor) / 2 * (1 + math.cos(2 * math.pi * i / total))
    alpha, beta = joint
    return alpha / math.sqrt(i + beta)


def joint(peak: float, floor: float, total: float) -> tuple[float, float]:
    """`alpha` and `beta` for which value and slope are continuous at a quarter of `total`."""
    quarter = torch.tensor(total / 4, dtype=torch.float64, requires_grad=True)
    value = floor + (peak - floor) / 2 * (1 + torch.cos(2 * math.pi * quarter / total))
    (slope,) = torch.autograd.grad(value, quarter)
    value, slope = value.item(), slope.item()

    # Scaled unknowns: alpha in units of value * sqrt(quarter), beta in quarters.
    def conditions(unknowns):
        a, b = unknowns[0] * value * math.sqrt(total / 4), unknowns[1] * total / 4
        under = total / 4 + b
        return [a / math.sqrt(under) / value - 1, -a / 2 * under**-1.5 / slope - 1]

    a, b = fsolve(conditions, [0.6, -0.6], xtol=1e-14)
    return a * value * math.sqrt(total / 4), b * total / 4


def hybrid() -> dict:
    """StableLM 2's own numbers: all 500,000 steps, looked at here and there, with the formula's cooldown from 420,000."""
    numbers = (1e-3, 1e-4, 540_000.0)
    found = joint(*numbers)
    turn = published(420_000, *numbers, 9720, found)
    at = [1, 5000, 9720, 9721, 60_000, 134_999, 135_000, 135_001, 200_000, 300_000, 419_999, 420_000, 420_001, 460_000, 499_999, 500_000]
    rate = lambda i: published(i, *numbers, 9720, found) if i <= 420_000 else turn * (500_000 - i) / 80_000
    recipe = {"kind": "hybrid", "peak": 1e-3, "warmup_steps": 9720, "hybrid_steps": 540_000, "cooldown_steps": 80_000}
    return {"recipe": recipe, "steps": 500_000, "at": at, "rates": [rate(i) for i in at], "alpha": found[0], "beta": found[1]}


def main() -> None:
    golden = {"cosine": cosine(), "stable": stable(), "restarts": restarts(), "hybrid": hybrid()}
    path = pathlib.Path(__file__).with_name("schedule.json")
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size, "bytes; alpha, beta:", golden["hybrid"]["alpha"], golden["hybrid"]["beta"])


if __name__ == "__main__":
    main()
