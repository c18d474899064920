"""Writes chat.json: conversations rendered by transformers' apply_chat_template, which tests/tokenizer.rs compares with.

Usage: python make_chat.py
Each case holds the template, so the test needs no other file. The two built-in templates are read from src/chat_templates.
"""

import json
import pathlib

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
BUILT_IN = HERE.parent.parent / "src" / "chat_templates"

TURNS = [
    {"role": "user", "content": "Who wrote “Faust”? <b>&amp;</b>"},
    {"role": "assistant", "content": "  Goethe.\n"},
    {"role": "user", "content": "When?\n\nIn which year?"},
]
SYSTEM = [{"role": "system", "content": "Be brief."}, *TURNS]

TEMPLATES = {
    "chatml": (BUILT_IN / "chatml.jinja").read_text(),
    "zephyr": (BUILT_IN / "zephyr.jinja").read_text(),
    # The form of zephyr's own template: bare blocks on lines of their own, which trim_blocks and lstrip_blocks must swallow.
    "blocks": """{% for m in messages %}
    {% if m['role'] == 'user' %}
{{ '<|user|>\n' + m['content'] + eos_token }}
    {% elif m['role'] == 'assistant' %}
{{ '<|assistant|>\n' + m['content'].strip() + eos_token }}
    {% else %}
{{ '<|system|>\n' + m['content'] + eos_token }}
    {% endif %}
    {% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
    {% endif %}
{% endfor %}
""",
    # Python methods, namespaces, slices, tests, filters, loop controls.
    "python": """{%- set ns = namespace(first=true) -%}
{%- if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{{ bos_token + messages[0].content.upper() }}
{%- else %}{% set rest = messages %}{% endif -%}
{%- for m in rest -%}
{%- if m.role.startswith('assist') and not m.get('hidden') -%}[{{ m.content | trim }}|{{ m['content'].split('e') | length }}]
{%- elif m.content is string -%}{% if ns.first %}first {% set ns.first = false %}{% endif %}({{ m.content.replace('W', 'w').rstrip() }})
{%- endif -%}
{%- if loop.index0 == 7 %}{% break %}{% endif -%}
{%- endfor -%}
{{ 'go' if add_generation_prompt is defined and add_generation_prompt else 'stop' }}{{ missing }}{{ messages | map(attribute='role') | join(',') }}
""",
    "json": """{% for m in messages %}{{ m | tojson }} {{ m.content | tojson }}
{% endfor %}{{ [1, 2.5, none, true, 'é<'] | tojson(indent=2) }}{% generation %}kept{% endgeneration %}
""",
    "comment": "{# a remark #}\n  {%- if not messages %}none{% else %}  {{ messages | length }}{% endif %}\n\n",
}
REFUSING = "{% if messages[0].role != 'user' %}{{ raise_exception('A conversation starts with the user') }}{% endif %}ok"


def tokenizer() -> PreTrainedTokenizerFast:
    inner = Tokenizer(WordLevel({"<|endoftext|>": 0, "<s>": 1}, unk_token="<s>"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>", bos_token="<s>")


def main() -> None:
    render = tokenizer().apply_chat_template
    cases = []
    for name, template in {**TEMPLATES, "refusing": REFUSING}.items():
        for messages in (TURNS, SYSTEM):
            for prompt in (False, True):
                if name == "refusing" and messages is SYSTEM:
                    continue
                text = render(messages, chat_template=template, tokenize=False, add_generation_prompt=prompt)
                cases.append({"name": name, "template": template, "messages": messages, "prompt": prompt, "text": text})
    tokens = {"eos_token": "<|endoftext|>", "bos_token": "<s>"}
    (HERE / "chat.json").write_text(json.dumps({"tokens": tokens, "refusing": REFUSING, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
