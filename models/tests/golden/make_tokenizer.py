"""Writes tokenizer.json: ids and texts by the Python `tokenizers` package, which tests/tokenizer.rs compares with.

Usage: python make_tokenizer.py arcade100k_reconstructed.json.zst
The tokenizer file is data beside the project (folder `tokenizers`), not part of the repository.
"""

import json
import pathlib
import subprocess
import sys

from tokenizers import Tokenizer

TEXTS = [
    "",
    "Hello, world!",
    " leading and trailing  ",
    "In 1984 there were 1234567 of 3.14159 and 0x7f.",
    "it's they'll WE'RE I'd",
    "tabs\tand\n\nnew lines\r\n  indented\n",
    "def f(x):\n    return x ** 2  # square\n",
    "naïve café — “quotes” … ½ ﬁ",
    "e\u0301 is not é",
    "Привет, мир! 你好，世界。こんにちは 안녕하세요 مرحبا",
    "🙂 👩‍👩‍👧‍👦 🏳️‍🌈 \U0001f9ff",
    "a\u00a0b\u2003c\u200bd",
    "<|user|>\nWho are you?<|endoftext|>\n<|assistant|>\n",
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n",
    "<|im_start|ALMOST <|endoftext",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\x00\x01\x7f",
]


def main() -> None:
    text = subprocess.run(["zstd", "-dc", sys.argv[1]], check=True, capture_output=True).stdout.decode()
    tokenizer = Tokenizer.from_str(text)
    cases = []
    for case in TEXTS:
        ids = tokenizer.encode(case, add_special_tokens=False).ids
        whole = tokenizer.decode(ids, skip_special_tokens=False)
        cases.append({"text": case, "ids": ids, "whole": whole, "without_special": tokenizer.decode(ids, skip_special_tokens=True)})
    prefixes = tokenizer.encode(TEXTS[10], add_special_tokens=False).ids
    broken = [{"ids": prefixes[:n], "whole": tokenizer.decode(prefixes[:n], skip_special_tokens=False)} for n in range(len(prefixes))]
    golden = {"vocab_size": tokenizer.get_vocab_size(), "cases": cases, "broken": broken}
    target = pathlib.Path(__file__).with_name("tokenizer.json")
    target.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
