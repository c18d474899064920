"""One process of `train_step.py`: builds a slice at StableLM 2 1.6B's shapes in transformers, takes steps, prints one JSON object.

Usage: `python train_step_peer.py dense|mixtral|remote [--optimizer default|foreach|fused|loop] [--steps 3] [--tokens 1024] [--profile]`

`dense` is `StableLmForCausalLM` with sdpa. `mixtral` is the same model whose MLPs are transformers' own Mixtral blocks (gate
`topk_softmax`) with their default experts implementation, `grouped_mm`. `remote` is the modeling file Coppice writes into checkpoints.
Parameters, gradients and both moments are bf16; the loss is the one transformers computes from labels. Nothing is compiled. A step is
forward, backward, `clip_grad_norm_` (unless `--no-clip`), `AdamW.step`, `zero_grad`. Peaks are VmHWM, so a process runs one candidate.
"""

import argparse
import importlib
import json
import pathlib
import shutil
import sys
import tempfile
import time

import torch


def peak() -> int:
    """The largest resident size of this process so far, bytes."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


BASE = peak()  # what `import torch` alone takes

import transformers  # noqa: E402
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock  # noqa: E402

SHAPE = {"vocab_size": 100352, "hidden_size": 2048, "intermediate_size": 5632, "num_attention_heads": 32, "num_key_value_heads": 32,
         "use_qkv_bias": True, "tie_word_embeddings": False, "max_position_embeddings": 4096, "use_cache": False}
SOURCES = pathlib.Path(__file__).parents[2] / "models" / "python"


def remote_package(folder: str):
    """The remote code as a package of its own, for its relative imports."""
    package = pathlib.Path(folder) / "remote_code"
    shutil.copytree(SOURCES, package)
    (package / "__init__.py").touch()
    sys.path.insert(0, folder)
    return (importlib.import_module(f"remote_code.{name}_stablelm_moe") for name in ("configuration", "modeling"))


def remote(options: argparse.Namespace) -> torch.nn.Module:
    with tempfile.TemporaryDirectory() as folder:
        configuration, modeling = remote_package(folder)
    experts = {"num_experts": options.experts, "num_experts_per_tok": options.chosen, "moe_intermediate_size": SHAPE["intermediate_size"],
               "moe_layers": list(range(options.layers)), "gate": "topk_softmax", "router_aux_loss_coef": 0.0}
    config = configuration.StableLmMoeConfig(**SHAPE, num_hidden_layers=options.layers, **experts)
    return modeling.StableLmMoeForCausalLM(config)


def dense(options: argparse.Namespace) -> torch.nn.Module:
    return transformers.StableLmForCausalLM(transformers.StableLmConfig(**SHAPE, num_hidden_layers=options.layers))


def mixtral(options: argparse.Namespace) -> torch.nn.Module:
    model, sizes = dense(options), {name: SHAPE[name] for name in ("hidden_size", "intermediate_size")}
    config = transformers.MixtralConfig(**sizes, num_local_experts=options.experts, num_experts_per_tok=options.chosen)
    config._experts_implementation = "grouped_mm"
    for layer in model.model.layers:
        layer.mlp = MixtralSparseMoeBlock(config)
    return model


MODELS = {"dense": dense, "mixtral": mixtral, "remote": remote}


def filled(model: torch.nn.Module) -> torch.nn.Module:
    """Takes the model from the meta device with weights near a normal distribution of deviation 0.02, norms 1 and biases 0."""
    model = model.to(torch.bfloat16).to_empty(device="cpu").train()
    pool = torch.empty(1 << 24, dtype=torch.bfloat16).normal_(0.0, 0.02, generator=torch.Generator().manual_seed(0))
    for index, (name, parameter) in enumerate(model.named_parameters()):
        flat = parameter.data.view(-1)
        for start in range(0, len(flat), len(pool)):
            part = flat[start : start + len(pool)]
            part.copy_(pool.roll(-7919 * index - start // len(pool))[: len(part)])
        if "norm" in name or name.endswith("bias"):
            parameter.data.fill_(0.0 if name.endswith("bias") else 1.0)
    rotary = model.model.rotary_emb
    rotary.inv_freq = rotary.original_inv_freq = rotary.compute_default_rope_parameters(model.config)[0]
    return model


def adamw(model: torch.nn.Module, kind: str) -> torch.optim.Optimizer:
    choice = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}, "loop": {"foreach": False}}[kind]
    return torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, **choice)


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, ids: torch.Tensor, clip: bool) -> tuple[dict[str, float], float]:
    """Seconds of each part and of all processors together, and the loss."""
    marks, cpu = [time.perf_counter()], time.process_time()
    loss = model(input_ids=ids, labels=ids).loss
    marks.append(time.perf_counter())
    loss.backward()
    marks.append(time.perf_counter())
    if clip:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    marks.append(time.perf_counter())
    optimizer.step()
    optimizer.zero_grad()
    marks.append(time.perf_counter())
    parts = dict(zip(("forward", "backward", "clip", "optimizer"), (b - a for a, b in zip(marks, marks[1:]))))
    return parts | {"step": marks[-1] - marks[0], "cpu": time.process_time() - cpu}, loss.item()


def profiled(run, rows: int = 14) -> list[dict]:
    """Where one step's time goes: operators by their own time."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        run()
    events = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [{"operator": event.key, "calls": event.count, "seconds": event.self_cpu_time_total / 1e6,
             "share": event.self_cpu_time_total / total} for event in events[:rows]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--optimizer", default="default", choices=["default", "foreach", "fused", "loop"])
    for name, default in (("steps", 3), ("warm-up", 1), ("tokens", 1024), ("layers", 4), ("experts", 8), ("chosen", 2), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--no-clip", action="store_true")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    with torch.device("meta"):
        model = MODELS[options.model](options)
    model = filled(model)
    optimizer = adamw(model, options.optimizer)
    ids = torch.randint(0, SHAPE["vocab_size"], (1, options.tokens), generator=torch.Generator().manual_seed(1))
    run = lambda: step(model, optimizer, ids, not options.no_clip)
    found = [run() for _ in range(options.warm_up + options.steps)]
    parts = [timed for timed, _ in found[options.warm_up :]]
    kinds = {str(value.dtype) for state in optimizer.state.values() for name, value in state.items() if name != "step"}
    assert kinds == {"torch.bfloat16"} and all(p.dtype == torch.bfloat16 for p in model.parameters()), kinds
    told = {"seconds": [part.pop("step") for part in parts], "cpu_seconds": [part.pop("cpu") for part in parts], "parts": parts,
            "losses": [loss for _, loss in found], "peak_bytes": peak(), "base_bytes": BASE, "parameters": sum(p.numel() for p in model.parameters())}
    print(json.dumps(told | ({"profile": profiled(run)} if options.profile else {})))


if __name__ == "__main__":
    main()
