"""Expected parts of responses: where they are, from Python's `str`; their tokens, from the offsets of tokenizers; their support, from rouge_score.

Run with Python 3, numpy, tokenizers and, without its dependencies but with nltk and six, `rouge_score==0.1.2`; writes spans.json beside
this file. Sentences, claims and spans are taken apart by hand. The tokens are a byte-level BPE's, trained on the responses so that some words are
one token, some are several, and letters beyond ASCII are often in pieces.
"""

import codecs
import json
import pathlib
import re

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from tokenizers import ByteLevelBPETokenizer
from tokenizers.pre_tokenizers import ByteLevel

RNG = np.random.default_rng(11)
ROUGE = RougeScorer(["rouge1"])

# Of each response: its sentences, each a list of its claims; its spans; samples (of ASCII, as rouge_score knows no other letters).
RESPONSES = [
    (
        [
            ["Albert Einstein, who was born in Ulm on 14 March 1879", "died in Princeton."],
            ["He won the Nobel Prize in Physics in 1921", "it brought him $32,000; "],
            ["he gave 5 million lectures in the U.S.", "few of them ended."],
        ],
        "Albert Einstein, who was born in Ulm on 14 March 1879, died in Princeton. He won the Nobel Prize in Physics in 1921, and it brought"
        " him $32,000;\nhe gave 5 million lectures in the U.S., but few of them ended.",
        "Albert Einstein|Ulm|14 March 1879|Princeton|Nobel Prize|Physics|1921|$32,000|5 million|U.S",
        ["Einstein was born in Ulm on 14 March 1879 and won the Nobel Prize.", "He died in Princeton, in the U.S. Yes, in Princeton."],
    ),
    (
        [["The café in Zürich was 3.5 % dearer 🙂", "which Élodie Müller said in May 2001."], ["Nobody 👩‍🔬 asked."], ["東京は晴れ。"]],
        "The café in Zürich was 3.5 % dearer 🙂, which Élodie Müller said in May 2001. Nobody 👩‍🔬 asked. 東京は晴れ。",
        "Zürich|3.5|Élodie Müller|May 2001",
        [],
    ),
    ([["Paris"]], "Paris", "Paris", ["Paris", "paris.", "It is Paris", "Rome"]),
    ([["It is so."], ["It is not."], ["It is so."]], "It is so. It is not.  It is so.", "", ["It is so. So it is.", "", "no"]),
    (
        [["1. Ellen DeGeneres"], ["2. Sam Smith, Laverne Cox, and Billy Porter"]],
        "1. Ellen DeGeneres\n2. Sam Smith, Laverne Cox, and Billy Porter\n",
        "Ellen DeGeneres|Sam Smith|Laverne Cox|Billy Porter",
        ["Billy and Porter; Sam Smith; 2", "ellen degeneres, laverne cox (1)"],
    ),
    ([], " \n", "", ["a"]),
]


def pieces(encoding):
    """The text of every token; a letter in pieces stands at the token that completes it."""
    of = {letter: byte for byte, letter in zip(range(256), byte_letters())}
    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(bytes(of[letter] for letter in token)) for token in encoding.tokens]


def byte_letters():
    """The letters that stand for the bytes 0 to 255 in a byte-level vocabulary: printable ones for themselves, the rest from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    letters = [chr(byte) if byte in plain else chr(next(rest)) for byte in range(256)]
    assert sorted(letters) == sorted(ByteLevel.alphabet())
    return letters


def places(response, texts):
    """(start, end) of every text, each looked for behind the one before."""
    found, end = [], 0
    for text in texts:
        start = response.index(text, end)
        end = start + len(text)
        found.append((start, end))
    return found


def traced(place, offsets, logprobs, entropies):
    own = [t for t, (start, end) in enumerate(offsets) if start < place[1] and place[0] < end]
    return {
        "first_token_entropy": entropies[own[0]],
        "first_token_nll": -logprobs[own[0]],
        "mean_token_entropy": float(np.mean([entropies[t] for t in own])),
        "max_token_nll": float(max(-logprobs[t] for t in own)),
    }


def recall(text, samples):
    if not samples or not re.search(r"\w", text):
        return None
    return float(np.mean([ROUGE.score(text, sample)["rouge1"].recall for sample in samples]))


def contained(text, samples):
    def words(text):
        return " " + " ".join(re.findall(r"[^\W_]+", text.lower())) + " "

    return float(np.mean([words(text) in words(sample) for sample in samples])) if samples else None


def golden(index, tokenizer, sentences, response, spans, samples):
    encoding = tokenizer.encode(response)
    count = len(encoding.ids)
    logprobs, entropies = (-RNG.exponential(1.0, count)).round(6).tolist(), RNG.exponential(1.0, count).round(6).tolist()

    def part(place):
        text = response[place[0] : place[1]]
        scores = traced(place, encoding.offsets, logprobs, entropies)
        return {"text": text, "start": place[0], "end": place[1], "scores": scores, "support": recall(text, samples)}

    def span(place):
        text = response[place[0] : place[1]]
        score = traced(place, encoding.offsets, logprobs, entropies)["first_token_entropy"]
        return {"text": text, "start": place[0], "end": place[1], "score": score, "support": contained(text, samples)}

    claims = places(response, [claim.rstrip("; ") for sentence in sentences for claim in sentence])
    ends = np.cumsum([len(sentence) for sentence in sentences])
    whole = [(claims[end - len(sentence)][0], claims[end - 1][1]) for sentence, end in zip(sentences, ends)]
    # A semicolon at the end of a line is the sentence's, and no claim's.
    whole = [(start, end + (response[end : end + 2] == ";\n")) for start, end in whole]
    return {
        "record": {
            "id": f"w{index}",
            "prompt": "p",
            "response": response,
            "token_texts": pieces(encoding),
            "token_logprobs": logprobs,
            "token_entropies": entropies,
            "samples": [{"text": sample} for sample in samples],
        },
        "sentences": [part(place) for place in whole],
        "claims": [part(place) for place in claims],
        "spans": [span(place) for place in places(response, filter(None, spans.split("|")))],
    }


def main():
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([response for _, response, _, _ in RESPONSES], vocab_size=290, min_frequency=2, show_progress=False)
    found = [golden(index, tokenizer, *given) for index, given in enumerate(RESPONSES)]
    path = pathlib.Path(__file__).parent / "spans.json"
    path.write_text(json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
