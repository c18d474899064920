"""Times transformers' `generate` on a StableLM 2 checkpoint, to stand beside `coppice generate` on the same machine in the same run.

Usage: `python generate.py --model DIR [--samples 1,10] [--prompt-tokens 64] [--new-tokens 64] [--repeats 3] [--temperature 1] [--threads 2]`

One prompt of fixed ids, 1 sample and 10 samples (`num_return_sequences`: transformers computes the prompt once per sample). End of text is
disabled, so every sample has exactly the asked length. Prints one JSON object: per row the tokens per second of every repeat, prompt
time included, over all samples together. The first repeat of each row comes after an unmeasured warm-up of two tokens.
"""

import argparse
import json
import statistics
import time

import torch
import transformers

DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}


def prompt(count: int, vocabulary: int) -> torch.Tensor:
    """`[1, count]` ids spread over the vocabulary, the same on every machine: 1 + 7919 i mod (V / 2)."""
    return (1 + 7919 * torch.arange(count) % (vocabulary // 2)).view(1, -1)


def run(model, ids: torch.Tensor, samples: int, new_tokens: int, temperature: float) -> float:
    """Seconds for `samples` continuations of `new_tokens` each; refuses a run that ended early."""
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
    if temperature == 0 and samples > 1:
        ids, samples = ids.expand(samples, -1), 1
    start = time.perf_counter()
    out = model.generate(ids, attention_mask=torch.ones_like(ids), num_return_sequences=samples, max_new_tokens=new_tokens,
                         min_new_tokens=new_tokens, eos_token_id=None, pad_token_id=0, **sampling)
    seconds = time.perf_counter() - start
    assert out.shape[1] == ids.shape[1] + new_tokens, "a sample ended early"
    return seconds


def row(model, ids: torch.Tensor, samples: int, options: argparse.Namespace) -> dict:
    run(model, ids, samples, 2, options.temperature)
    seconds = [run(model, ids, samples, options.new_tokens, options.temperature) for _ in range(options.repeats)]
    rates = [samples * options.new_tokens / taken for taken in seconds]
    return {"samples": samples, "seconds": seconds, "tokens_per_second": rates, "median_tokens_per_second": statistics.median(rates)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--samples", default="1,10")
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=1.0, help="0 = greedy")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(options.model, dtype=DTYPES[options.dtype]).eval()
    ids = prompt(options.prompt_tokens, model.config.vocab_size)
    rows = [row(model, ids, int(samples), options) for samples in options.samples.split(",")]
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    print(json.dumps({"peer": "transformers", "versions": versions, "options": vars(options), "rows": rows}))


if __name__ == "__main__":
    main()
