"""Every file goes through `select` with a model that has a chat template and one that has none."""

from __future__ import annotations

import shutil

import pytest
from chat_files import COUNT, asked, write_files
from chat_tokenizers import template
from folders import edit

from lensllm.pipeline import select
from lensllm.tasks import read_task

NAMES = (
    *("messages.jsonl", "messages.json", "messages.parquet", "tools.jsonl", "sharegpt.json", "dict", "saved"),
    *("turns.jsonl", "pairs.jsonl.gz", "pairs.csv", "alpaca.json", "shards", "questions.csv", "responses.jsonl"),
    *("outputs.tsv", "preferences.jsonl", "preferences.parquet", "text.jsonl", "labels.csv", "column.csv"),
    "system.jsonl",
)
CONVERSATIONS = {"messages.jsonl", "messages.json", "messages.parquet", "tools.jsonl", "sharegpt.json", "dict", "saved"}
CONVERSATIONS |= {"turns.jsonl", "preferences.parquet", "column.csv", "system.jsonl"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def models(model_folders, tmp_path_factory):
    """Llama-like models that read 512 tokens at once."""
    root = tmp_path_factory.mktemp("models")
    folders = [shutil.copytree(model_folders["llama"], root / name) for name in ("chatting", "base")]
    for folder in folders:
        edit(folder / "config.json", max_position_embeddings=512)
    (folders[0] / "chat_template.jinja").write_text(template("smollm").replace("<|im_end|>", "<end>"))
    edit(folders[1] / "config.json", bos_token_id=1)
    return [str(folder) for folder in folders]


def test_there_are_twenty_files_or_more(files):
    assert set(files) == set(NAMES)
    assert len(NAMES) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_read(files, name):
    task = read_task(files[name])
    examples = (*task.train, *task.validation, *task.test)
    assert len(examples) == COUNT
    assert all((example.conversation is not None) == (name in CONVERSATIONS) for example in examples)
    if name not in ("text.jsonl", "labels.csv"):
        said = [example.prompt for example in examples]
        assert all(any(asked(i) in text for text in said) for i in range(COUNT))


@pytest.mark.parametrize("name", ["messages.jsonl", "tools.jsonl", "pairs.csv", "text.jsonl", "shards", "saved"])
def test_one_file_a_kind_goes_through_select(files, models, name, tmp_path):
    found = select(
        files[name], models, sizes=[8], workers=1, num_train_epochs=1, output_dir=str(tmp_path), max_test_examples=10
    )
    assert {row.candidate for row in found.ranking} >= {"chatting", "base"}
    assert not found.failures
    notes = " ".join(found.notes)
    if name in CONVERSATIONS:
        assert "base has no chat template" in notes
    elif name not in ("text.jsonl",):
        assert "chatting reads prompt and completion as a conversation in its chat template" in notes
