"""Times `coppice generate` and transformers' `generate` in turn on one checkpoint, and prints the ratio of their medians.

Usage: `python compare_generate.py --coppice target/release/coppice --model DIR [--rounds 3] [--prompt-tokens 64] [--new-tokens 64]`

Both get the same prompt ids, temperature 1, every sample of full length, and two threads. coppice's seconds are those of prefill and
decoding; the peer's come after a warm-up of two tokens. Run it on an idle machine with the peers installed
(`pip install torch==2.11.0 transformers`).
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys


def coppice(options: argparse.Namespace, samples: int, vocabulary: int) -> float:
    """Tokens per second over all samples together."""
    ids = ",".join(str(1 + 7919 * i % (vocabulary // 2)) for i in range(options.prompt_tokens))
    command = [options.coppice, "generate", "--model", options.model, "--tokens", ids, "--samples", str(samples), "--temperature", "1"]
    command += ["--max-new-tokens", str(options.new_tokens), "--ignore-eos"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    tokens, seconds = re.search(r"(\d+) tokens in ([0-9.]+) s", told).groups()
    assert int(tokens) == samples * options.new_tokens, "a sample ended early"
    return int(tokens) / float(seconds)


def peer(options: argparse.Namespace, samples: int) -> float:
    script = pathlib.Path(__file__).with_name("generate.py")
    command = [sys.executable, script, "--model", options.model, "--samples", str(samples), "--repeats", "1"]
    command += ["--prompt-tokens", str(options.prompt_tokens), "--new-tokens", str(options.new_tokens)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(printed)["rows"][0]["median_tokens_per_second"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coppice", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=64)
    options = parser.parse_args()
    vocabulary = json.loads((pathlib.Path(options.model) / "config.json").read_text())["vocab_size"]
    for samples in (1, 10):
        rounds = [(coppice(options, samples, vocabulary), peer(options, samples)) for _ in range(options.rounds)]
        ours, theirs = (statistics.median(column) for column in zip(*rounds))
        print(json.dumps({"samples": samples, "coppice": ours, "transformers": theirs, "ratio": ours / theirs, "rounds": rounds}))


if __name__ == "__main__":
    main()
