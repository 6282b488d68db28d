"""Data that are no file: what a Python program has at hand, and data sets of the hub."""

from __future__ import annotations

import datasets
import numpy as np
import pandas as pd
import pytest

import lensllm
from lensllm.errors import InputError
from lensllm.tasks import read_task

ROWS = [{"prompt": f"{i} plus {i} is", "completion": f" {2 * i}"} for i in range(80)]
CHATS = [
    {"messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": f"{i}!"}]} for i in range(80)
]


@pytest.mark.parametrize("kind", [list, pd.DataFrame, datasets.Dataset.from_list])
@pytest.mark.parametrize("rows", [ROWS, CHATS])
def test_the_same_rows_give_the_same_task(kind, rows):
    task = read_task(kind(rows))
    assert task.fingerprint == read_task(rows).fingerprint
    assert task.name == "data"
    assert task.train[0].place.startswith("data row ")


def test_splits_of_a_dataset_dict_are_told_by_name():
    rows = datasets.Dataset.from_list(ROWS)
    data = datasets.DatasetDict({"train_sft": rows, "test_sft": rows.select(range(3)), "odd": rows.select(range(20))})
    task = read_task(data)
    assert (len(task.train) > 70, len(task.test)) == (True, 3)
    assert "data: not read: the splits odd" in task.notes
    assert len(read_task(data, dataset_test_split="odd").test) == 20
    with pytest.raises(InputError, match="no split 'nope' for train: its splits are train_sft, test_sft, odd"):
        read_task(data, dataset_train_split="nope")
    data["train_gen"] = rows
    with pytest.raises(InputError, match=r"two splits for train.*--dataset-train-split"):
        read_task(data)


def test_values_of_numpy_and_pandas_are_plain():
    frame = pd.DataFrame({"prompt": ["a", "b", "c"] * 9, "completion": [1, pd.NA, np.int64(3)] * 9})
    task = read_task(frame)
    assert {e.completion for e in (*task.train, *task.validation, *task.test)} == {"1", "3"}
    assert any("9 of 27 rows have nothing to learn" in note for note in task.notes)
    turns = pd.DataFrame({"messages": [np.array(row["messages"], dtype=object) for row in CHATS]})
    assert read_task(turns).fingerprint == read_task(CHATS).fingerprint


def test_class_labels_are_names():
    feature = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    data = datasets.Dataset.from_list([{"text": f"t{i}", "label": i % 2} for i in range(40)], features=feature)
    assert {e.completion for e in read_task(data).train} == {"no", "yes"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "data has no examples: it is empty"),
        (3, "data must be a path, a list of dicts, a pandas frame or a datasets.Dataset, got int"),
        (["a"], "data must be a path, a list of dicts"),
        (pd.DataFrame([[1, 2]], columns=["text", "text"]), "more than one column of one name"),
        ([{"messages": []}] * 3, "every completion is empty"),
    ],
)
def test_other_data_are_refused(data, message):
    with pytest.raises(InputError, match=message):
        read_task(data)


def test_the_hub_out_of_reach_is_one_sentence():
    with pytest.raises(InputError, match=r"^the data set org/name:sub@main cannot be read from the hub or its cache: "):
        read_task("org/name:sub@main")


def test_select_takes_rows(model_folders, tmp_path):
    found = lensllm.select(CHATS, [str(model_folders["llama"])], sizes=[8], workers=1, output_dir=str(tmp_path))
    assert (found.task, found.target_size) == ("data", len(read_task(CHATS).train))
