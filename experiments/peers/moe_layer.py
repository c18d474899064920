"""Times one mixture-of-experts layer, forward and backward, beside transformers' and beside a dense MLP of the same active size.

Usage: `python moe_layer.py --ours "target/release/examples/moe_layer --repeats 3" [--rounds 5] [--repeats 3] [--tokens 2048]`

Shapes are StableLM 2 1.6B's: D 2048, F 5632, 8 experts, top 2, bf16, on the CPU. The peer is Mixtral's sparse block (its gate is
`topk_softmax`) with the experts implementations `grouped_mm`, transformers' default, and `eager`, a loop over experts. The dense MLP is
gated, of width 2 F. Gradients are taken of x and of all weights. The command of `--ours` prints one JSON object,
`{"moe_ms": [...], "dense_ms": [...]}`, for the same shapes; without it only the peers are timed. Every round runs each candidate in turn,
so that noise of the machine hits all alike; a first round is thrown away. Prints one JSON object: medians in ms over all rounds, their
ratios, and every time. Run it on an idle machine with the peers installed (`pip install torch==2.11.0 transformers`).
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import time
from collections.abc import Callable

import torch
import transformers
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

HIDDEN, WIDTH, EXPERTS, CHOSEN = 2048, 5632, 8, 2
RATIOS = {"ours moe / ours dense": ("ours_moe", "ours_dense"), "peer grouped_mm / ours": ("peer_grouped_mm", "ours_moe"),
          "peer eager / ours": ("peer_eager", "ours_moe"), "peer grouped_mm / peer dense": ("peer_grouped_mm", "peer_dense")}


class Dense(torch.nn.Module):
    """down(silu(gate(x)) * up(x)) of the width that a token meets in the mixture."""

    def __init__(self):
        super().__init__()
        shapes = {"gate": (HIDDEN, CHOSEN * WIDTH), "up": (HIDDEN, CHOSEN * WIDTH), "down": (CHOSEN * WIDTH, HIDDEN)}
        for name, shape in shapes.items():
            self.add_module(name, torch.nn.Linear(*shape, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(torch.nn.functional.silu(self.gate(x)) * self.up(x))


def mixture() -> MixtralSparseMoeBlock:
    config = transformers.MixtralConfig(hidden_size=HIDDEN, intermediate_size=WIDTH, num_local_experts=EXPERTS, num_experts_per_tok=CHOSEN)
    return MixtralSparseMoeBlock(config)


def drawn(layer: torch.nn.Module) -> torch.nn.Module:
    """The layer in bf16, its weights normal with deviation 0.02."""
    layer = layer.to(torch.bfloat16).train()
    for parameter in layer.parameters():
        parameter.data.normal_(0.0, 0.02)
    return layer


def milliseconds(layer: torch.nn.Module, x: torch.Tensor, pull: torch.Tensor) -> float:
    """One forward and backward pass; gradients are made anew."""
    layer.zero_grad(set_to_none=True)
    x.grad = None
    start = time.perf_counter()
    layer(x).backward(pull)
    took = 1e3 * (time.perf_counter() - start)
    assert x.grad is not None and all(parameter.grad is not None for parameter in layer.parameters())
    return took


def peers(options: argparse.Namespace) -> dict[str, Callable[[], dict[str, list[float]]]]:
    """What runs in one round, by name; both implementations of the experts share one block."""
    block, dense = drawn(mixture()), drawn(Dense())
    x = torch.randn(1, options.tokens, HIDDEN, dtype=torch.bfloat16).requires_grad_()
    pull = torch.randn_like(x)

    def times(layer: torch.nn.Module) -> list[float]:
        return [milliseconds(layer, x, pull) for _ in range(options.repeats)]

    def experts(implementation: str) -> list[float]:
        block.experts.config._experts_implementation = implementation
        return times(block)

    return {
        "grouped_mm": lambda: {"peer_grouped_mm": experts("grouped_mm")},
        "eager": lambda: {"peer_eager": experts("eager")},
        "dense": lambda: {"peer_dense": times(dense)},
    }


def ours(command: str, threads: int) -> dict[str, list[float]]:
    """What our own binary measures, on as many threads."""
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    if done.returncode:
        raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stderr}")
    try:
        told = json.loads(done.stdout)
        return {"ours_moe": told["moe_ms"], "ours_dense": told["dense_ms"]}
    except (ValueError, KeyError) as error:
        raise SystemExit(f'{command}: expected {{"moe_ms": [...], "dense_ms": [...]}}, found {done.stdout!r}') from error


def measure(candidates: dict[str, Callable[[], dict[str, list[float]]]], rounds: int) -> dict[str, list[list[float]]]:
    """Every time of every candidate, a list a round; the first round only warms up."""
    found: dict[str, list[list[float]]] = {}
    for number in range(rounds + 1):
        for run in candidates.values():
            for name, values in run().items():
                found.setdefault(name, [])
                if number > 0:
                    found[name].append(values)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", metavar="COMMAND")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="passes of each peer in a round")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    candidates = ({"ours": lambda: ours(options.ours, options.threads)} if options.ours else {}) | peers(options)
    times = measure(candidates, options.rounds)
    medians = {name: statistics.median(sum(rounds, [])) for name, rounds in times.items()}
    ratios = {name: medians[a] / medians[b] for name, (a, b) in RATIOS.items() if a in medians and b in medians}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({"versions": versions, "threads": options.threads, "load": os.getloadavg()[0], "tokens": options.tokens,
                      "median_ms": medians, "ratios": ratios, "ms": times}))


if __name__ == "__main__":
    main()
