"""Writes `optimizer.json`: torch.optim.AdamW (arXiv 1711.05101) over 20 steps in f32, and torch's gradient clipping.

Usage: `python make_optimizer.py` with torch 2.11. Three parameters, weight decay on the matrices only; the learning rate changes with
every step. The gradients do not depend on the weights: all stand in the file, so that only the update rule is compared. Values are f32,
written so that they read back to the same bits.
"""

import json
import math
import pathlib

import torch

STEPS = 20
BETAS = (0.9, 0.95)
EPS = 1e-8
# name: (shape, weight decay, size of the gradients); tiny gradients make eps matter.
PARAMETERS = {"matrix": ([3, 4], 0.1, 1.0), "small": ([2, 5], 0.01, 1e-7), "norm": ([6], 0.0, 30.0)}


def learning_rate(step: int) -> float:
    """Four steps of warm-up, then a cosine from 1e-2 to 1e-3."""
    if step < 4:
        return 1e-2 * (step + 1) / 4
    return 1e-3 + 4.5e-3 * (1 + math.cos(math.pi * (step - 4) / (STEPS - 4)))


def draw(name: str, generator: torch.Generator) -> list[torch.Tensor]:
    """A gradient for every step: noise around a drift; one step is all zeros, as for an expert that got no token."""
    shape, _, size = PARAMETERS[name]
    drift = torch.randn(shape, generator=generator)
    gradients = [size * (drift + torch.randn(shape, generator=generator)) for _ in range(STEPS)]
    gradients[7] = torch.zeros(shape)
    return gradients


def adamw(generator: torch.Generator) -> dict:
    parameters = {name: torch.nn.Parameter(torch.randn(shape, generator=generator)) for name, (shape, _, _) in PARAMETERS.items()}
    initial = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    gradients = {name: draw(name, generator) for name in PARAMETERS}
    groups = [{"params": [parameters[name]], "weight_decay": decay} for name, (_, decay, _) in PARAMETERS.items()]
    optimizer = torch.optim.AdamW(groups, betas=BETAS, eps=EPS, foreach=False, fused=False)
    weights = {name: [] for name in PARAMETERS}
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        for name, parameter in parameters.items():
            parameter.grad = gradients[name][step].clone()
        optimizer.step()
        for name, parameter in parameters.items():
            weights[name].append(parameter.detach().clone())
    return {
        "betas": BETAS, "eps": EPS, "learning_rates": [learning_rate(step) for step in range(STEPS)],
        "parameters": {name: {"shape": shape, "weight_decay": decay, "initial": numbers(initial[name]),
                              "gradients": list(map(numbers, gradients[name])), "weights": list(map(numbers, weights[name]))}
                       for name, (shape, decay, _) in PARAMETERS.items()},
    }


def clipping(limit: float, size: float, generator: torch.Generator) -> dict:
    """clip_grad_norm_ of two gradients together: the norm before, and the gradients after."""
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ([3, 4], [5])]
    for parameter in parameters:
        parameter.grad = size * torch.randn(parameter.shape, generator=generator)
    before = [numbers(parameter.grad) for parameter in parameters]
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit, foreach=False)
    return {"max_norm": limit, "shapes": [[3, 4], [5]], "gradients": before, "norm": norm.item(),
            "clipped": [numbers(parameter.grad) for parameter in parameters]}


def numbers(values: torch.Tensor) -> list[float]:
    """Flat f32 values in the fewest digits that read back to the same f32."""
    return [float(f"{value:.9g}") for value in values.flatten().tolist()]


def main() -> None:
    generator = torch.Generator().manual_seed(20)
    golden = {"adamw": adamw(generator), "clipping": [clipping(1.0, size, generator) for size in (3.0, 0.05, 0.0)]}
    path = pathlib.Path(__file__).with_name("optimizer.json")
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
