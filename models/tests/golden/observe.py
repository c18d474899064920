"""Writes observe.json: what transformers (fp32, eager) and lm-polygraph's own estimators say of the greedy responses in `parity/`.

Usage: `python observe.py` with torch 2.11, transformers 5.23 or 5.24, and lm-polygraph 0.7.0 where Python finds it (`pip install --no-deps`
is enough: only the files of four estimators are loaded). One forward pass over prompt and response gives every attention weight and hidden
state; nothing is cached and nothing is reduced while decoding. The lookback ratio is computed as arXiv 2407.07071 defines it.
"""

import importlib
import importlib.util
import json
import pathlib
import sys
import types

import numpy
import torch

import make

HERE = pathlib.Path(__file__).parent
CASES = ["1_6b", "12b", "3b_tied_bf16", "moe_alternate", "moe_12b_shared_gated"]
SHOWN = 8
BEGIN = 0


def bare_packages() -> None:
    """Makes single files of lm-polygraph importable without all that its packages import."""
    root = pathlib.Path(importlib.util.find_spec("lm_polygraph").submodule_search_locations[0])
    for package in ("lm_polygraph", "lm_polygraph.estimators", "lm_polygraph.utils"):
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(root.joinpath(*package.split(".")[1:]))]


def estimator(module: str, name: str):
    """A class of lm-polygraph."""
    return getattr(importlib.import_module(f"lm_polygraph.estimators.{module}"), name)


def forward(model, ids: list[int]) -> tuple[torch.Tensor, numpy.ndarray, list[torch.Tensor]]:
    """Log-probabilities `[S, V]`, attention weights `[L, H, S, S]`, and the residual stream after every layer, `[S, D]` each."""
    states = []
    keep = lambda module, inputs, output: states.append((output[0] if isinstance(output, tuple) else output).reshape(len(ids), -1))
    hooks = [layer.register_forward_hook(keep) for layer in model.model.layers]
    out = model(input_ids=torch.tensor([ids]), output_attentions=True)
    [hook.remove() for hook in hooks]
    return torch.log_softmax(out.logits[0].double(), -1), torch.stack(out.attentions)[:, 0].numpy(), states


def rauq(attention: numpy.ndarray, logprobs: list[float], start: int) -> list[float]:
    """lm-polygraph's RAUQ, one of its layers at a time; `attention_all` is laid out as its `greedy_probs.py` does."""
    layers, heads, n = attention.shape[0], attention.shape[1], len(logprobs)
    told = numpy.zeros((layers * heads, n, n))
    for step in range(1, n):
        told[:, step, :step] = attention[:, :, start + step - 1, start:start + step].reshape(-1, step)
    stats = {"attention_all": [told], "greedy_log_likelihoods": [numpy.array(logprobs)]}
    whole = estimator("rauq", "RAUQ")(n_layers=layers, n_heads=heads)
    chosen, single = [layer for layer in whole.layers if layer < layers], []
    for layer in chosen:
        whole.layers = [layer]
        single.append(float(whole(stats)[0]))
    return single


def attention_score(attention: numpy.ndarray, tokens: list[int]) -> list[float]:
    """lm-polygraph's, of every layer, not negated; it leaves out the last token, as those that ended a response at its longest."""
    stats = {"forwardpass_attention_weights": [attention], "greedy_tokens": [tokens]}
    score = estimator("attention_score", "AttentionScore")
    return [-float(score(layer=layer, gen_only=True)(stats)[0]) for layer in range(attention.shape[0])]


def lookback(attention: numpy.ndarray, start: int, n: int) -> list[float]:
    """Mean attention to a token of the prompt over that plus the mean attention to a token of the response so far, `[L * H]`, where another
    token was predicted."""
    ratios = []
    for place in range(start, start + n - 1):
        context = attention[:, :, place, :start].mean(-1)
        new = attention[:, :, place, start:place + 1].mean(-1)
        ratios.append(context / (context + new))
    return numpy.mean(ratios, axis=0).reshape(-1).tolist()


def divergences(distributions: torch.Tensor) -> dict:
    """lm-polygraph's estimators of each token alone; its Renyi divergence lacks two ln V (see `models/src/observe/distribution.rs`)."""
    certainty, renyi = estimator("self_certainty", "SelfCertainty")(), estimator("renyi_neg", "RenyiNeg")()
    vocabulary = numpy.log(distributions.shape[1])
    alone = [{"greedy_log_probs": [[row.numpy()]]} for row in distributions]
    return {"self_certainties": [-float(certainty(stats)[0]) for stats in alone],
            "renyi": [float(renyi(stats)[0]) + 2 * vocabulary for stats in alone]}


def vector(values: torch.Tensor) -> dict:
    """The first values and the length of a vector."""
    return {"first": values[:SHOWN].tolist(), "norm": float(values.double().norm())}


def hidden(states: torch.Tensor, layer: int, start: int, n: int) -> dict:
    """The summary of one layer's states `[S, D]`."""
    own = states[start:start + n]
    return {"layer": layer, "mean": vector(own.mean(0)), "last": vector(own[-1]), "before_last": vector(states[start + n - 2]),
            "prompt": vector(states[start - 1])}


def response(model, prompt: list[int], tokens: list[int]) -> dict:
    """All that is observed of one response."""
    start, n = len(prompt), len(tokens)
    distributions, attention, states = forward(model, prompt + tokens)
    own = distributions[start - 1:start - 1 + n]
    logprobs = own.gather(1, torch.tensor(tokens).view(-1, 1)).view(-1).tolist()
    alone = forward(model, [BEGIN] + tokens)[0][:-1].gather(1, torch.tensor(tokens).view(-1, 1)).view(-1)
    return {"prompt": prompt, "tokens": tokens, "rauq": rauq(attention, logprobs, start), "score": attention_score(attention, tokens),
            "lookback": lookback(attention, start, n), "unconditional": alone.tolist(),
            "hidden": [hidden(state, layer, start, n) for layer, state in enumerate(states)]} | divergences(own)


def following(model, prompts: list[list[int]], continuations: list[list[int]]) -> list[list[float]]:
    """Log-probability of every continuation of every prompt, by a pass of its own."""
    total = lambda prompt, told: sum(forward(model, prompt + told)[0][len(prompt) - 1 + place, token].item()
                                     for place, token in enumerate(told))
    return [[total(prompt, told) for told in continuations] for prompt in prompts]


def case(name: str) -> dict:
    """The golden values of one model of `parity/`."""
    stored = json.loads((HERE / "parity" / f"{name}.json").read_text())
    given, _, dtype, _, biases, routed = make.CASES[name]
    model = make.build(make.settings(given), routed)
    make.fill(model, make.DTYPES[dtype], biases)
    prompts = [text["prompt"] for text in stored["greedy"]]
    continuations = [[7], [7, 3], [11, 5, 2]]
    return {"responses": [response(model, text["prompt"], text["tokens"]) for text in stored["greedy"]], "prompts": prompts,
            "continuations": continuations, "following": following(model, prompts, continuations)}


def rounded(value):
    """Seven significant digits of every float."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def main() -> None:
    torch.set_num_threads(1)
    bare_packages()
    with torch.no_grad():
        make.write("observe", rounded({"cases": {name: case(name) for name in CASES}}))


if __name__ == "__main__":
    main()
