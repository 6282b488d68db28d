"""What a model is asked in a chat: the template's own prompt for the next turn of the assistant."""

from __future__ import annotations

import pytest
from chat_tokenizers import TRLS, tokenizer_with

from lensllm.scores.asked import asked_of
from lensllm.tasks import Example
from lensllm.tasks.conversation import Conversation, Turn
from lensllm.tasks.encode import encode_with
from lensllm.tasks.encoded import Reader
from lensllm.tuning.measure_scores import _end_tokens, _prompt

TURNS = (
    Turn("user", "My order 12 is late."),
    Turn("assistant", "I am sorry. Naïve question:\nwhich address?", learned=True),
    Turn("user", "The <b>old</b> one"),
    Turn("assistant", "🙂 It ships today.", learned=True),
)

BEGUN = ("", "<think></think>", "<think>\n\n</think>", "<|channel|>final<|message|>", "to=user<|message|>")
"""What templates write between their prompt for a turn and what it says."""


@pytest.mark.parametrize("path", sorted(TRLS.glob("*.jinja")), ids=lambda path: path.stem)
def test_the_prompt_is_the_templates_own_and_the_answer_ends_where_the_turn_does(path):
    if path.stem.endswith("_training"):
        pytest.skip("a copy with marks")
    tokenizer = tokenizer_with(path.stem)
    reader = Reader(tokenizer, False, 4096)
    asked = asked_of(Example.of(Conversation(TURNS)))
    [encoded] = encode_with([asked.example], reader)
    given = tokenizer.decode(_prompt(encoded, reader, 9).ids)
    written = reader.template.render(asked.example.conversation)
    assert given == written.text[: written.spans[0].content]
    parts = reader.template._shape(asked.example.conversation).content_parts
    prompt = reader.template._render(Conversation(TURNS[:3]), prompt=True, content_parts=parts)
    assert given.startswith(prompt.removesuffix("<think>\n"))
    assert given[len(prompt) :].strip() in BEGUN or prompt.endswith("<think>\n")
    behind = written.text[written.spans[0].said :]
    ends = [tokenizer.decode([token]) for token in _end_tokens([encoded], reader)]
    assert any(behind.startswith(end) for end in ends) or not reader.template.control_tokens_in(behind)
