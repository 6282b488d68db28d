"""Data that are no file: what a Python program has at hand, data sets of the hub, and splits that are named."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal

import datasets
import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from local_hub import COMMIT, local_hub, read

import lensllm
from lensllm.errors import InputError
from lensllm.tasks import read_task

ROWS = [{"prompt": f"{i} plus {i} is", "completion": f" {2 * i}"} for i in range(80)]
CHATS = [
    {"messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": f"{i}!"}]} for i in range(80)
]


def completions(task):
    return {e.completion for e in (*task.train, *task.validation, *task.test)}


def sizes(task):
    return len(task.train), len(task.validation), len(task.test)


@pytest.mark.parametrize("kind", [list, tuple, pd.DataFrame, Dataset.from_list])
@pytest.mark.parametrize("rows", [ROWS, CHATS])
def test_the_same_rows_give_the_same_task(kind, rows):
    task = read_task(kind(rows))
    assert task.fingerprint == read_task(rows).fingerprint
    assert task.name == "data"
    assert min(e.number for e in (*task.train, *task.validation, *task.test)) == 1
    assert task.train[0].place.startswith("data row ")


def test_datasets_is_not_imported_for_rows():
    code = "import sys; from lensllm.tasks import read_task; read_task([{'text': str(i)} for i in range(40)])"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'datasets' not in sys.modules"], check=True)


@pytest.mark.parametrize("missing", [None, np.nan, np.float32("nan"), pd.NA, pd.NaT, Decimal("NaN"), np.ma.masked])
def test_what_is_missing_is_nothing_and_numbers_of_numpy_are_plain(missing):
    rows = [{"prompt": f"{i}", "completion": [np.int64(1), missing, np.array(3)][i % 3]} for i in range(60)]
    for data in (rows, pd.DataFrame({key: pd.Series([row[key] for row in rows], dtype=object) for key in rows[0]})):
        task = read_task(data)
        assert completions(task) == {"1", "3"}
        assert any("20 of 60 rows have nothing to learn" in note for note in task.notes)


def test_arrays_of_numpy_are_lists():
    turns = pd.DataFrame({"messages": [np.array(row["messages"], dtype=object) for row in CHATS]})
    assert read_task(turns).fingerprint == read_task(CHATS).fingerprint


@pytest.mark.parametrize("value", [np.datetime64("2020-01-01T00:00:00.1", "ns"), np.timedelta64(3, "ns")])
def test_times_are_no_numbers(value):
    with pytest.raises(InputError, match=r"^data row 1: 'completion' must be text, got (datetime|timedelta)"):
        read_task([{"prompt": "when", "completion": value}] * 40)


def test_a_named_index_is_a_column():
    frame = pd.DataFrame(ROWS)
    assert read_task(frame.set_index("prompt")).fingerprint == read_task(ROWS).fingerprint
    assert read_task(frame.sample(frac=1, random_state=0).sort_index()).fingerprint == read_task(ROWS).fingerprint


def test_class_labels_are_names():
    features = Features({"text": Value("string"), "answer": ClassLabel(names=["no", "yes"])})
    data = Dataset.from_list([{"text": f"t{i}", "answer": i % 2 - (i == 0)} for i in range(40)], features=features)
    task = read_task(data.rename_column("answer", "label").shuffle(seed=0))
    assert completions(task) == {"no", "yes"}
    assert any("1 of 40 rows has nothing to learn" in note for note in task.notes)


def test_a_data_set_is_read_as_it_is_shown():
    data = Dataset.from_list([{**row, "score": 1.0} for row in ROWS])
    with pytest.raises(InputError, match="without the column 'score'"):
        read_task(data)
    shown = data.with_format("numpy", columns=["prompt", "completion"])
    assert read_task(shown).fingerprint == read_task(ROWS).fingerprint
    assert len(read_task(shown.filter(lambda row: row["completion"] != " 0")).train) < len(read_task(ROWS).train)
    with pytest.raises(InputError, match=r"^data has a transform that runs when rows are taken: run it with map"):
        read_task(data.with_transform(lambda batch: {"text": ["x"] * len(batch["prompt"])}))


def test_splits_of_a_dataset_dict_are_told_by_name():
    rows = Dataset.from_list(ROWS)
    data = DatasetDict({"train_sft": rows, "test_sft": rows.select(range(3)), "odd": rows.select(range(20))})
    task = read_task(data)
    assert (len(task.train) > 70, len(task.test), task.test[0].place) == (True, 3, "data test_sft row 1")
    assert "data: not read: the splits odd" in task.notes
    assert len(read_task(data, dataset_test_split="odd").test) == 20
    with pytest.raises(InputError, match="no split 'nope' for train: its splits are train_sft, test_sft, odd"):
        read_task(data, dataset_train_split="nope")
    data["train_gen"] = rows
    with pytest.raises(InputError, match=r"2 splits for train: train_sft, train_gen; .*--dataset-train-split"):
        read_task(data)
    task = read_task(data, dataset_train_split="train_gen")
    assert task.train[0].place.startswith("data train_gen row ")
    assert "data: not read: the splits train_sft, odd" in task.notes
    data["test_gen"] = rows
    with pytest.raises(InputError, match=r"2 splits for test: test_sft, test_gen; .*--dataset-test-split"):
        read_task(data, dataset_train_split="train_gen")


def test_of_several_validation_splits_none_is_read():
    rows = Dataset.from_list(ROWS)
    task = read_task(DatasetDict({"train": rows, "validation_a": rows, "validation_b": rows}))
    assert sizes(task) == (68, 4, 8)
    assert "data: not read: the splits validation_a, validation_b" in task.notes


def test_a_row_at_fault_is_told_with_its_split():
    bad = Dataset.from_list([*ROWS[:3], {"prompt": "a\x00", "completion": "b"}])
    with pytest.raises(InputError, match=r"^data test row 4: 'prompt' holds a NUL character"):
        read_task(DatasetDict({"train": Dataset.from_list(ROWS), "test": bad}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "data has no examples: it is empty"),
        (pd.DataFrame(columns=["prompt", "completion"]), "data has no examples: it is empty"),
        (Dataset.from_list(ROWS).filter(lambda row: False), "data has no examples: it is empty"),
        (DatasetDict(), "data has no examples: it has no splits"),
        (DatasetDict({"train": Dataset.from_list(ROWS).select([])}), "data train has no examples: it is empty"),
        (3, "data must be a path, a list of dicts, a pandas frame, a datasets.Dataset or DatasetDict, got int"),
        (Dataset.from_list(ROWS).to_iterable_dataset(), "got IterableDataset; load it without streaming"),
        ([ROWS[0], "a"], "data row 2 must be a dict of columns and values, got str"),
        (pd.DataFrame([[1, 2]], columns=["text", "text"]), "data has more than one column 'text'"),
        (pd.DataFrame({"text": ["a"]}, index=pd.Index(["b"], name="text")), "data has more than one column 'text'"),
        (pd.DataFrame([["a", "b"]]), "data has a column named 0, which is not text"),
        (pd.DataFrame([["a"]], columns=[("text", "x")]), r"data has a column named \('text', 'x'\), which is not text"),
        ([{"text": "a", 1: "b", "1": "c"}], "data row 1 has a column named 1, which is not text"),
        ([{"messages": []}] * 3, "every completion is empty"),
    ],
)
def test_other_data_are_refused(data, message):
    with pytest.raises(InputError, match=message):
        read_task(data)


def test_names_of_splits_are_for_data_with_splits(tmp_path):
    file = tmp_path / "one.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for source in (ROWS, file):
        with pytest.raises(InputError, match="leave out"):
            read_task(source, dataset_train_split="train")


def test_splits_of_folders_are_named(tmp_path):
    for name in ("train_sft", "train_gen", "test_sft", "test_gen"):
        rows = [{**row, "prompt": f"{name} {row['prompt']}"} for row in ROWS]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    together = read_task(tmp_path)
    assert f"{tmp_path.name}: read together as train: train_gen.jsonl, train_sft.jsonl" in together.notes
    task = read_task(tmp_path, dataset_train_split="train_gen", dataset_test_split="test_gen")
    assert sizes(task) == (76, 4, 80)
    assert all(e.prompt.startswith("train_gen") for e in task.train)
    assert f"{tmp_path.name}: not read: test_sft.jsonl, train_sft.jsonl" in task.notes
    with pytest.raises(InputError, match="has 2 splits for test: test_gen, test_sft"):
        read_task(tmp_path, dataset_train_split="train_gen")
    with pytest.raises(InputError, match="no split 'nope' for test: its splits are test_gen, test_sft, train_gen"):
        read_task(tmp_path, dataset_test_split="nope")


def test_splits_of_shards_and_of_folders_inside_are_named(tmp_path):
    for k in range(2):
        pd.DataFrame(ROWS[k::2]).to_parquet(tmp_path / f"first-{k:05d}-of-00002.parquet")
    (tmp_path / "second").mkdir()
    pd.DataFrame(ROWS[:9]).to_parquet(tmp_path / "second" / "0000.parquet")
    task = read_task(tmp_path, dataset_train_split="first", dataset_test_split="second")
    assert len(task.test) == 9
    (tmp_path / "third" / "deep").mkdir(parents=True)
    pd.DataFrame(ROWS[:9]).to_parquet(tmp_path / "third" / "deep" / "0000.parquet")
    with pytest.raises(InputError, match="third has its files in folders of its own: move them up"):
        read_task(tmp_path, dataset_train_split="first", dataset_test_split="third")


def test_splits_of_saved_data_sets_are_named(tmp_path):
    rows = Dataset.from_list(ROWS)
    DatasetDict({"one": rows, "two": rows.select(range(9))}).save_to_disk(tmp_path)
    task = read_task(tmp_path, dataset_train_split="one", dataset_test_split="two")
    assert len(task.test) == 9
    with pytest.raises(InputError, match=r"has no train split: its splits are one, two; name one with"):
        read_task(tmp_path)
    with pytest.raises(InputError, match="is one saved split: leave out"):
        read_task(tmp_path / "one", dataset_train_split="one")


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Makes a subset of `org/name` in a local cache, as the datasets library leaves it there."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)

    def make(subset: str, commit: str, **splits: list[dict[str, str]]) -> None:
        folder = tmp_path / "org___name" / subset / "0.0.0" / commit
        folder.mkdir(parents=True)
        info = {"config_name": subset, "dataset_name": "name", "version": {"version_str": "0.0.0"}, "splits": {}}
        for split, rows in splits.items():
            data = Dataset.from_list(rows)
            with datasets.arrow_writer.ArrowWriter(
                features=data.features, path=str(folder / f"name-{split}.arrow")
            ) as f:
                f.write_table(data.data.table)
                f.finalize()
            info["splits"][split] = {"name": split, "num_examples": len(rows), "dataset_name": "name"}
            info["features"] = data.features.to_dict()
        (folder / "dataset_info.json").write_text(json.dumps(info))

    return make


def test_the_hub_without_a_net_is_its_cache(cached, capfd):
    cached("default", COMMIT, train_sft=ROWS, test_sft=ROWS[:6], odd=ROWS[:12])
    task = read_task("org/name")
    assert (task.name, len(task.test), task.test[0].place) == ("org/name", 6, "org/name test_sft row 1")
    read = f"org/name: read: commit {COMMIT}, from the local cache, as the hub did not give it"
    assert task.notes[:2] == (read, "org/name: not read: the splits odd")
    assert len(read_task("org/name:default", dataset_test_split="odd", dataset_train_split="train_sft").test) == 12
    assert read_task(f"org/name@{COMMIT}").fingerprint == task.fingerprint
    assert read_task(f"org/name@{COMMIT[:7]}").fingerprint == task.fingerprint
    for other in ("f" * 40, "main", COMMIT[:3]):
        with pytest.raises(InputError, match=f"has commit {COMMIT} of it last, which is not known to be {other}"):
            read_task(f"org/name@{other}")
    assert capfd.readouterr() == ("", "")


def test_of_several_cached_subsets_one_is_named(cached):
    cached("one", "a" * 40, train=ROWS)
    assert read_task("org/name").notes[0].startswith(f"org/name: read: subset one, commit {'a' * 40}, from")
    cached("two", "b" * 40, train=ROWS, train_more=ROWS)
    with pytest.raises(InputError, match=r"^org/name has several subsets, name one as org/name:SUBSET: one, two$"):
        read_task("org/name")
    with pytest.raises(InputError, match="the local cache has no subset 'three' of it: its subsets there are one, two"):
        read_task("org/name:three")
    with pytest.raises(InputError, match=r"^org/name:two has 2 splits for train: train, train_more; name one with"):
        read_task("org/name:two")


def test_what_is_no_file_and_not_within_reach_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"^org/name is no file here, and .* the hub cannot be reached: mend the path"):
        read_task("org/name:sub@main")
    for missing in ("./org/name", "../name", "org/name.csv", "org/name.jsonl.gz"):
        with pytest.raises(InputError, match="no such task file"):
            read_task(missing)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    with pytest.raises(InputError, match=r"^org/name is a folder here, which has no subsets or revisions"):
        read_task("org/name:sub")


def test_the_bars_of_libraries_are_as_before(cached):
    cached("default", COMMIT, train=ROWS)
    before = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    read_task("org/name")
    assert (datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()) == before


@pytest.fixture(scope="module")
def hub_home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def from_hub(hub_home):
    """What is read of a hub that answers."""
    names = ["plain", "plain@v9", "many", "many:two", "many:nope", "gated", "login", "mine", "none", "code", "broken"]
    with local_hub() as address:
        return *read([f"org/{name}" for name in names], address, hub_home), address


def test_splits_subsets_and_revisions_of_the_hub(from_hub):
    found, said, _ = from_hub
    assert found["org/plain"][:4] == [57, 3, 5, f"org/plain: read: commit {COMMIT}"]
    assert found["org/many:two"][:4] == [57, 3, 7, f"org/many: read: commit {COMMIT}"]
    assert said == ""


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("org/plain@v9", "org/plain has no revision 'v9' on the hub"),
        ("org/many", "org/many has several subsets, name one as org/many:SUBSET: one, two"),
        ("org/many:nope", "org/many has no subset 'nope': its subsets are one, two"),
        ("org/gated", "org/gated is gated: ask for access at {hub}/datasets/org/gated, and log in"),
        ("org/login", "the hub does not let you read org/login (HTTP 401): log in"),
        ("org/mine", "the hub does not let you read org/mine (HTTP 403): log in"),
        ("org/none", "org/none is no file here and no data set of the hub that is open to you"),
        ("org/code", "org/code is made by Python code, which is not run"),
        ("org/broken", "the data set org/broken cannot be read: JSON parse error"),
    ],
)
def test_what_the_hub_does_not_give_is_one_sentence(from_hub, source, sentence):
    found, _, address = from_hub
    assert found[source].startswith(sentence.replace("{hub}", address))


def test_what_was_read_once_is_read_without_the_hub(from_hub, hub_home):
    found, said = read(["org/plain", "org/many", f"org/plain@{COMMIT}", "org/plain@main", "org/plain@v9"], "", hub_home)
    cache = "from the local cache, as the hub did not give it"
    assert found["org/plain"] == found["org/plain@main"]
    assert found["org/plain"][:4] == [57, 3, 5, f"org/plain: read: commit {COMMIT}, {cache}"]
    assert found["org/many"][3] == f"org/many: read: subset two, commit {COMMIT}, {cache}"
    assert found[f"org/plain@{COMMIT}"][3] == f"org/plain: read: {cache}"
    assert "is not known to be v9" in found["org/plain@v9"]
    assert said == ""


def test_select_takes_rows(model_folders, tmp_path):
    few = {"sizes": [8], "workers": 1}
    found = lensllm.select(CHATS, [str(model_folders["llama"])], output_dir=str(tmp_path / "a"), **few)
    assert (found.task, found.target_size) == ("data", len(read_task(CHATS).train))
    again = lensllm.select(
        Dataset.from_list(CHATS), [str(model_folders["llama"])], output_dir=str(tmp_path / "b"), **few
    )
    assert again.ranking[0].measured == found.ranking[0].measured
