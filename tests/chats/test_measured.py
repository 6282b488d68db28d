"""Losses, kernel and bound on conversations are as on text."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from commands import run
from jinja2 import Template

from lensllm.candidates.load import load_model, load_tokenizer
from lensllm.config import TaskConfig
from lensllm.inputs import read_inputs_of_one
from lensllm.tasks.encoded import IGNORED
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.loss import evaluate
from lensllm.tuning.training_config import TrainingConfig
from lensllm.zoo import model_path

WORDS = ["quick red fox", "old house", "river bank", "good morning", "seven long days", "the sea"]
TEMPLATES = {
    "short": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
    "tags": "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}",
    "wordy": "{% for m in messages %}The {{ m.role }} says:\n{{ m.content }}\nThat is all of it.\n{% endfor %}"
    "{% if add_generation_prompt %}The assistant says:\n{% endif %}",
}


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "chats.jsonl"
    rows = []
    for i in range(80):
        said, more = WORDS[i % 6], WORDS[i // 6 % 6]
        turns = [f"Tell of the {said}, {i}.", f"It was a {said} and a {more}.", "And?", f"The {more} came."]
        rows.append([{"role": ("user", "assistant")[k % 2], "content": text} for k, text in enumerate(turns)])
    path.write_text("\n".join(json.dumps({"messages": turns}) for turns in rows) + "\n")
    return path


@pytest.fixture(scope="module")
def chatting(tmp_path_factory):
    """One model's folder per template."""
    folder = tmp_path_factory.mktemp("models")
    for name, template in TEMPLATES.items():
        copy = shutil.copytree(model_path("llama-0.9m-mix-5m"), folder / name)
        (copy / "chat_template.jinja").write_text(template)
    return folder


def by_hand(model, tokenizer, conversation, template):
    """Nats of the assistant's words: the text rendered by jinja itself, the tokens found by where they stand in it."""
    text = Template(template).render(messages=conversation.messages)
    made = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    ids = made["input_ids"]
    counted, start = set(), 0
    for turn in conversation.turns:
        start = text.index(turn.content, start)
        end = start + len(turn.content)
        if turn.role == "assistant":
            counted |= {i for i, (a, b) in enumerate(made["offset_mapping"]) if a < end and b > start}
        start = end
    with torch.no_grad():
        log_p = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return -sum(float(log_p[i - 1, ids[i]]) for i in counted)


def test_two_templates_differ_by_the_effect_of_their_words_alone(chats, chatting):
    """Nats a byte of the same model and contents, against a count by hand: what templates add is read, not counted."""
    found = {}
    for name, template in TEMPLATES.items():
        task, candidate = read_inputs_of_one(TaskConfig(task=str(chats)), str(chatting / name))
        model, tokenizer = load_model(candidate), load_tokenizer(candidate)
        ours = evaluate(model, EncodedTask(candidate, task, TrainingConfig()).split("test"))
        said = sum(by_hand(model, tokenizer, example.conversation, template) for example in task.test)
        assert ours.nats == pytest.approx(said, rel=1e-4)
        found[name] = ours
    assert len({one.n_bytes for one in found.values()}) == 1
    assert found["short"].nats_per_byte == pytest.approx(found["wordy"].nats_per_byte, rel=0.1)


def test_the_kernel_is_of_the_learned_tokens(chats, chatting, capsys):
    """Its rows are tokens of learned turns, at most eight an example, and another template is another kernel."""
    command = ["kernel", "--model", chatting / "short", "--task", chats, "--probe", 16, "--json"]
    probe, last = (json.loads(run(capsys, *command, "--learn", learn)) for learn in ("assistant", "last"))
    task, candidate = read_inputs_of_one(TaskConfig(task=str(chats)), str(chatting / "short"))
    encoded = EncodedTask(candidate, task, TrainingConfig())
    examples = encoded.train(16)
    learned = [sum(label != IGNORED for label in example.labels[1:]) for example in examples]
    assert probe["rows"] == sum(min(8, count) for count in learned)
    assert last["rows"] < probe["rows"]
    other = json.loads(run(capsys, *command, "--chat-template", chatting / "wordy" / "chat_template.jinja"))
    assert other["rows"] == probe["rows"]
    assert other["trace"] != probe["trace"]


def test_the_bound_holds_on_conversations(chats, chatting, capsys):
    command = ["bound", "--model", chatting / "short", "--task", chats, "--sizes", 20, 40, "--json"]
    found = json.loads(run(capsys, *command))["bounds"]
    assert [one["examples"] for one in found] == [20, 40]
    assert all(one["bound"] > one["test_loss"] > 0 for one in found)
