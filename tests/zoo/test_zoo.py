"""What ships: models that load offline and know something, tokenizers that lose nothing, tasks split cleanly."""

import gzip
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from lensllm import zoo
from lensllm.errors import InputError
from lensllm.zoo.build import models, table

MODELS = [recipe.name for recipe in models.RECIPES]
TASKS = ["austen", "define", "name", "sentiment", "talk"]
SPLITS = {"train": 6400, "validation": 400, "test": 1000}
CHATS = ["llama-0.9m-mix-5m-chat", "gpt2-0.2m-mix-5m-chat"]
TEXT = "The heart of the matter is that they had not been there before, and nothing could be done about it."


def rows(task, split):
    with gzip.open(zoo.task_path(task) / f"{split}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def tokenizer(model):
    return AutoTokenizer.from_pretrained(zoo.model_path(model))


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    monkeypatch.setenv("LENSLLM_HOME", str(tmp_path))


def test_everything_planned_ships():
    assert sorted(zoo.model_names()) == sorted(MODELS)
    assert sorted(zoo.task_names()) == TASKS


def test_models_fit_the_budget():
    weights = [path for path in (zoo.SHIPPED / "models").rglob("*") if path.suffix == ".safetensors"]
    assert len(weights) >= 15
    assert sum(path.stat().st_size for path in weights) <= 19_000_000


@pytest.mark.parametrize("name", MODELS)
def test_a_model_loads_offline_and_predicts_better_than_chance_unless_random(name):
    folder = zoo.model_path(name)
    config, card = AutoConfig.from_pretrained(folder), json.loads((folder / "card.json").read_text())
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model, encode = auto.from_pretrained(folder), tokenizer(name)
    assert model.dtype == torch.float32
    parameters = sum(p.numel() for p in model.parameters())
    assert 200_000 <= parameters <= 3_000_000
    assert card["parameters"] == parameters
    assert (config.pad_token_id, config.eos_token_id) == (encode.pad_token_id, encode.eos_token_id)
    assert config.vocab_size == len(encode)
    ids = torch.tensor([[encode.eos_token_id, *encode(TEXT)["input_ids"]]])
    with torch.inference_mode():
        loss = models.loss(model, ids, prefix=len(ids[0]) // 2).item()
    uniform = math.log(config.vocab_size)
    if card["tokens"] == 0:
        assert loss == pytest.approx(uniform, abs=0.1)
    else:
        assert loss < uniform - 0.1


def test_the_pool_varies_in_architecture_size_pretraining_corpus_and_tokenizer():
    cards = [json.loads((zoo.model_path(name) / "card.json").read_text()) for name in MODELS]
    for key, different in (("architecture", 3), ("width", 3), ("tokens", 4), ("corpus", 6), ("vocabulary", 2)):
        assert len({card[key] for card in cards}) >= different


@pytest.mark.parametrize("name", MODELS)
def test_a_model_card_is_complete(name):
    folder = zoo.model_path(name)
    card, readme = json.loads((folder / "card.json").read_text()), (folder / "README.md").read_text()
    assert card["name"] == name
    assert set(card["held_out"]) >= {"mix"}
    if card["tokens"]:
        assert card["licences"]
        assert card["sha256"]
        assert card["training_loss"] > 0
    for told in ("Architecture", "Tokenizer", "Pre-training", "training loss", "Held-out", "Seed", card["command"]):
        assert told in readme


@pytest.mark.parametrize("name", ["gpt2-2.6m-mix-5m", "gpt2-0.7m-brown-1.5m"])
@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60))
def test_every_text_comes_back_from_its_tokens(name, text):
    encode = _cached(name)
    ids = encode(text)["input_ids"]
    assert encode.decode(ids) == text
    assert encode.eos_token_id not in ids or encode.eos_token in text or encode.pad_token in text


def _cached(name, _kept={}):  # noqa: B006
    if name not in _kept:
        _kept[name] = tokenizer(name)
    return _kept[name]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_its_counts_and_a_complete_card(task):
    folder = zoo.task_path(task)
    card = json.loads((folder / "card.json").read_text())
    expected = SPLITS | {"train": 5252} if task == "talk" else SPLITS
    assert card["counts"] == expected == {split: len(rows(task, split)) for split in SPLITS}
    for key in ("name", "kind", "source", "licence", "split_by", "example", "sha256"):
        assert card[key]
    assert card["licence"] in (folder / "card.md").read_text()
    assert card["example"] == rows(task, "train")[0]


@pytest.mark.parametrize("task", TASKS)
def test_no_text_is_on_two_sides_of_a_split(task):
    keys = ("prompt",) if task == "sentiment" else ("prompt", "completion", "text")
    for key in keys:
        shown = [texts_of(task, split) for split in SPLITS]
        texts = [[" ".join(row[key].casefold().split()) for row in of if key in row] for of in shown]
        assert len({text for side in texts for text in side}) == sum(map(len, texts))


def texts_of(task, split):
    """Rows; of a conversation the answers, by their order."""
    found = rows(task, split)
    if task != "talk":
        return found
    answers = [[turn["content"] for turn in row["messages"] if turn["role"] == "assistant"] for row in found]
    return [{"completion": " | ".join(said)} for said in answers]


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_model_has_a_template_and_ends_a_turn_with_its_end_token(name):
    encode, folder = tokenizer(name), zoo.model_path(name)
    turns = rows("talk", "test")[0]["messages"]
    text = encode.apply_chat_template(turns, tokenize=False)
    ids = encode.apply_chat_template(turns, return_dict=False)
    assert text.count(encode.eos_token) == ids.count(encode.eos_token_id) == len(turns)
    config = AutoConfig.from_pretrained(folder)
    generation = json.loads((folder / "generation_config.json").read_text())
    assert config.eos_token_id == generation["eos_token_id"] == encode.eos_token_id != config.bos_token_id
    assert "chat_template" not in json.loads(
        (zoo.model_path(name.removesuffix("-chat")) / "tokenizer_config.json").read_text()
    )


@pytest.mark.parametrize("name", CHATS)
def test_a_chat_model_knows_conversations_better_than_its_base_does(name):
    conversations = [row["messages"] for row in rows("talk", "test")[:50]]

    def nats_a_byte(model_name, template):
        encode = tokenizer(model_name)
        model = AutoModelForCausalLM.from_pretrained(zoo.model_path(model_name))
        lost, size = 0.0, 0
        for turns in conversations:
            ids = torch.tensor([encode(template.apply_chat_template(turns, tokenize=False))["input_ids"][:128]])
            with torch.inference_mode():
                lost += model(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
            size += len(encode.decode(ids[0]).encode())
        return lost / size

    assert nats_a_byte(name, tokenizer(name)) < 0.8 * nats_a_byte(name.removesuffix("-chat"), tokenizer(name))


def test_conversations_fit_the_context_of_every_reader():
    longest = max(
        len(tokenizer(name).apply_chat_template(row["messages"], return_dict=False))
        for name in CHATS
        for split in SPLITS
        for row in rows("talk", split)
    )
    assert longest <= 128


def test_define_and_name_share_no_word_and_no_definition():
    words, definitions = {}, {}
    for task, word, definition in (("define", "prompt", "completion"), ("name", "completion", "prompt")):
        for split in SPLITS:
            for row in rows(task, split):
                for key, kept in ((word, words), (definition, definitions)):
                    text = row[key].strip().casefold().rsplit(" (", 1)[0] if key == "prompt" else row[key].strip()
                    kept.setdefault(text.casefold(), set()).add((task, split))
    assert {len(places) for kept in (words, definitions) for places in kept.values()} == {1}


def test_sentiment_is_balanced_and_its_words_are_the_labels():
    labels = [row["completion"] for row in rows("sentiment", "test")]
    assert set(labels) == {" negative", " neutral", " positive"}
    assert min(labels.count(label) for label in set(labels)) >= 250


@pytest.mark.parametrize("task", [task for task in TASKS if task != "talk"])
def test_prompt_and_completion_fit_the_context_and_meet_at_one_space(task):
    for name in ("gpt2-2.6m-mix-5m", "gpt2-0.7m-brown-1.5m"):
        encode = tokenizer(name)
        lengths = []
        for split in SPLITS:
            for row in rows(task, split):
                ids = [encode(text)["input_ids"] for text in row.values()]
                lengths.append(2 + sum(map(len, ids)))
                if "prompt" in row:
                    assert row["prompt"] == row["prompt"].strip()
                    assert row["completion"] == " " + row["completion"].strip()
                else:
                    assert row["text"] == row["text"].strip()
        assert max(lengths) <= 128
        if len(encode) == 2048:
            assert sum(lengths) / len(lengths) <= 46


@pytest.mark.parametrize("name", ["nonsense", "", "..", "../models", "/etc", "define/../name", "."])
def test_an_unknown_name_is_refused_and_the_known_ones_are_told(name):
    with pytest.raises(InputError, match="define"):
        zoo.task_path(name)
    with pytest.raises(InputError, match=r"gpt2-0\.2m-random"):
        zoo.model_path(name)


def test_what_was_fetched_is_listed_after_what_ships(tmp_path):
    for kind in ("tasks", "models"):
        (tmp_path / kind / "mine").mkdir(parents=True)
        (tmp_path / kind / "mine" / "card.json").write_text("{}")
        (tmp_path / kind / "unfinished").mkdir()
    assert zoo.task_names() == [*TASKS, "mine"]
    assert zoo.model_names()[-1] == "mine"
    assert zoo.model_path("mine") == tmp_path / "models" / "mine"


def test_importing_the_zoo_imports_no_torch():
    code = "import sys, lensllm.zoo; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0


def test_the_tables_of_the_documentation_are_those_of_the_cards():
    documentation = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text()
    assert table.models() in documentation
    assert table.tasks() in documentation
