"""Folders: split files, shards, hub-style folders and saved data sets."""

import json

import pandas as pd
import pyarrow as pa
import pytest

from lensllm.errors import InputError
from lensllm.tasks import read_task


def shards(folder, split, count=60, of=2, kept=None, suffix=".parquet"):
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(of) if kept is None else kept:
        rows = [{"prompt": f"{split} {i} ->", "completion": f" thing {i}"} for i in range(k, count, of)]
        pd.DataFrame(rows).to_parquet(folder / f"{split}-{k:05d}-of-{of:05d}{suffix}")


def lines(path, count=60, word="q"):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"prompt": f"{word} {i}", "completion": f"a {i}"} for i in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def saved(folder, count=60, files=("data-00000-of-00001.arrow",), listed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(files):
        numbers = range(k, count, len(files))
        table = pa.table(
            {"prompt": [f"{i} ->" for i in numbers], "completion": [f" {folder.name} {i}" for i in numbers]}
        )
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    if listed:
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in files]}))
        (folder / "dataset_info.json").write_text("{}")


def sizes(task):
    return len(task.train), len(task.validation), len(task.test)


def test_shards_are_read_together(tmp_path):
    shards(tmp_path / "task", "train")
    assert sizes(read_task(tmp_path / "task")) == (51, 3, 6)
    shards(tmp_path / "task", "test", 12)
    assert sizes(read_task(tmp_path / "task")) == (57, 3, 12)


def test_hub_folders(tmp_path):
    shards(tmp_path / "a" / "data", "train")
    shards(tmp_path / "a" / "data", "validation", 10)
    (tmp_path / "a" / "README.md").write_text("x")
    assert sizes(read_task(tmp_path / "a")) == (54, 10, 6)
    lines(tmp_path / "b" / "train" / "0000.jsonl")
    lines(tmp_path / "b" / "test" / "0000.jsonl", 5, "other")
    assert sizes(read_task(tmp_path / "b")) == (57, 3, 5)
    shards(tmp_path / "c" / "small", "train")
    assert sizes(read_task(tmp_path / "c")) == (51, 3, 6)
    shards(tmp_path / "c" / "large", "train")
    with pytest.raises(InputError, match=r"several data sets: name one of .*large.*small"):
        read_task(tmp_path / "c")


def test_a_missing_shard_is_told(tmp_path):
    shards(tmp_path, "train", of=3, kept=(0, 2))
    with pytest.raises(InputError, match=r"has 2 of the 3 shards of train: fetch the others"):
        read_task(tmp_path)


def test_saved_data_sets(tmp_path):
    saved(tmp_path / "one", files=("data-00000-of-00002.arrow", "data-00001-of-00002.arrow"))
    assert sizes(read_task(tmp_path / "one")) == (51, 3, 6)
    (tmp_path / "one" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(InputError, match=r"not complete: data-00001-of-00002.arrow missing"):
        read_task(tmp_path / "one")
    for split, count in (("train", 60), ("test", 9), ("extra", 5)):
        saved(tmp_path / "many" / split, count, listed=split != "train")
    (tmp_path / "many" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test", "extra"]}))
    task = read_task(tmp_path / "many")
    assert sizes(task) == (57, 3, 9)
    assert "many: not read: the splits extra" in task.notes
    (tmp_path / "many" / "dataset_dict.json").write_text("{")
    with pytest.raises(InputError, match=r"dataset_dict\.json is damaged"):
        read_task(tmp_path / "many")


def test_files_without_a_split_and_files_that_contradict(tmp_path):
    lines(tmp_path / "a" / "one.jsonl")
    lines(tmp_path / "a" / "two.jsonl", 20, "r")
    task = read_task(tmp_path / "a")
    assert sizes(task) == (68, 4, 8)
    assert "a: read together: one.jsonl, two.jsonl" in task.notes
    lines(tmp_path / "a" / "train.jsonl")
    assert "a: not read: one.jsonl, two.jsonl" in read_task(tmp_path / "a").notes
    (tmp_path / "a" / "train.csv").write_text("prompt,completion\na,b\n")
    with pytest.raises(InputError, match=r"has train.csv, train.jsonl for train: leave one of them there"):
        read_task(tmp_path / "a")
    lines(tmp_path / "b" / "test.jsonl")
    with pytest.raises(InputError, match="has no train file: its splits are test"):
        read_task(tmp_path / "b")
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match=r"has no train file: expected train\.jsonl"):
        read_task(tmp_path / "c")
