"""What a selection's folder tells of it: enough to repeat it, to load it, and to build its page anew."""

import hashlib
import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from commands import refused, run

import lensllm
from lensllm.candidates import Lora
from lensllm.errors import InputError
from lensllm.provenance import Provenance
from lensllm.selection import Selection
from lensllm.tasks import read_task

QUICK = ["--num-train-epochs", 1, "--max-test-examples", 10, "--score-examples", 10, "--workers", 1]


@pytest.fixture(scope="module")
def scored(model_folders, sums_file, tmp_path_factory):
    """A selection with scores, a second task, LoRA, and a model that is refused."""
    folder = tmp_path_factory.mktemp("scored")
    models = [model_folders["gpt"], model_folders["llama"], "no-such-model"]
    command = [
        *("select", sums_file, "--models", *models, "--methods", "full", "lora", "--sizes", 25, 50, 100),
        *("--score", "exact_match", "chrf", "--keep-score", "define", "--output-dir", folder, *QUICK),
    ]
    subprocess.run([sys.executable, "-m", "lensllm", *map(str, command)], capture_output=True, check=True)
    return folder, command


@pytest.fixture
def copy(scored, tmp_path):
    """A copy of its folder that may be damaged."""
    shutil.copytree(scored[0], tmp_path / "copy")
    return tmp_path / "copy"


def test_all_that_is_needed_to_repeat_it_is_written_down(scored, sums_file, model_folders):
    folder, command = scored
    origin = Selection.load(folder).provenance
    assert origin.command == "lensllm " + " ".join(str(one) for one in command)
    assert origin.versions["lensllm"] == version("lensllm")
    assert {"python", "torch", "transformers", "peft"} <= set(origin.versions)
    assert origin.device.startswith("cpu")
    (file,) = origin.task.files
    assert (file.path, file.sha256) == (str(sums_file), hashlib.sha256(sums_file.read_bytes()).hexdigest())
    task = read_task(sums_file)
    assert origin.task.fingerprint == task.fingerprint
    assert (origin.task.train, origin.task.test) == (len(task.train), len(task.test))
    assert origin.task.layout == "prompt + completion"
    assert origin.sizes == (0, 25, 50, 100)
    assert (origin.training.seed, origin.training.num_train_epochs, origin.training.dtype) == (0, 1, "float32")
    tuned = origin.candidate("gpt lora r16")
    assert (tuned.model, tuned.method, tuned.tuned_by()) == (str(model_folders["gpt"]), "lora", Lora())
    assert tuned.rungs[100].loss == Selection.load(folder).curves.at(100)[1]
    assert tuned.learning_rate == tuned.rungs[100].learning_rate > 0
    page = (folder / "report.html").read_text()
    assert "How to repeat this" in page
    assert tuned.fingerprint[:16] in page


def test_from_python_there_is_no_command(tmp_path):
    rows = [{"prompt": f"{i} plus 1 is", "completion": f" {i + 1}"} for i in range(90)]
    few = {"sizes": [50], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}
    found = lensllm.select(rows, ["gpt2-0.2m-random"], output_dir=str(tmp_path), **few)
    assert (found.provenance.command, found.provenance.task.source) == (None, "")
    assert found.provenance.task.files == ()


def test_a_selection_is_loaded_as_it_was(scored):
    folder, _ = scored
    again = Selection.load(folder)
    assert again.to_dict() == json.loads((folder / "selection.json").read_text())
    assert again.score_advice == tuple(again.to_dict()["scored"]["advice"])
    assert again.forecast.errors is not None
    low, high = again.forecast.interval(0.9)[again.forecast.candidates.index(again.ranking[0].candidate)]
    assert (low, high) == again.ranking[0].interval
    assert [one.objective.name for one in again.scored.forecasts] == ["exact_match", "chrf"]


def test_the_page_is_built_anew_the_same(copy, capsys):
    before = (copy / "report.html").read_bytes()
    (copy / "report.html").unlink()
    assert Selection.load(copy).sentence in run(capsys, "report", copy)
    assert (copy / "report.html").read_bytes() == before


def test_provenance_makes_the_round_trip(scored):
    origin = Selection.load(scored[0]).provenance
    assert Provenance.from_dict(json.loads(json.dumps(origin.to_dict()))) == origin
    with pytest.raises(InputError, match="task\\.train: input should be a valid integer"):
        Provenance.from_dict(origin.to_dict() | {"task": origin.to_dict()["task"] | {"train": "many"}})
    with pytest.raises(InputError, match="no candidate 'gpt9' was measured: those that were are gpt full"):
        origin.candidate("gpt9")


def test_a_folder_without_a_selection_is_said(tmp_path, capsys):
    assert f"{tmp_path} holds no selection" in refused(capsys, "report", tmp_path)


def test_a_folder_of_before_is_said(copy, capsys):
    answer = json.loads((copy / "selection.json").read_text())
    del answer["provenance"]
    (copy / "selection.json").write_text(json.dumps(answer))
    assert "earlier version of lensllm, which kept no provenance" in refused(capsys, "report", copy)


DAMAGED = {
    "no JSON": lambda answer: "{",
    "a list": lambda answer: "[]",
    "not a number": lambda answer: json.dumps(answer | {"flops": float("nan")}),
    "deep": lambda answer: "[" * 100_000,
    "no ranking": lambda answer: json.dumps(answer | {"ranking": []}),
    "ranking of texts": lambda answer: json.dumps(answer | {"ranking": ["a"]}),
    "an unknown candidate": lambda answer: json.dumps(answer | {"ranking": [answer["ranking"][0] | {"model": "x"}]}),
    "no costs": lambda answer: json.dumps({name: value for name, value in answer.items() if name != "costs"}),
    "a phase that is none": lambda answer: json.dumps(answer | {"phases": [answer["phases"][0] | {"phase": "<b>"}]}),
    "nothing spent": lambda answer: json.dumps(answer | {"flops_everything": 0}),
    "another size": lambda answer: json.dumps(answer | {"target_size": 7}),
    "provenance of another kind": lambda answer: json.dumps(answer | {"provenance": [1]}),
    "scores of another kind": lambda answer: json.dumps(answer | {"scored": {"candidates": 3}}),
    "a failure without a name": lambda answer: json.dumps(answer | {"failures": [{}]}),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_answer_is_one_sentence(copy, capsys, how):
    path = copy / "selection.json"
    path.write_text(DAMAGED[how](json.loads(path.read_text())))
    assert f"{path} is damaged (" in refused(capsys, "report", copy)


@pytest.mark.parametrize("how", ["cut", "empty", "other", "missing"])
def test_damaged_arrays_are_one_sentence(copy, capsys, how, tmp_path):
    path = copy / "forecast.safetensors"
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "other":
        shutil.copy(Path(lensllm.zoo.model_path("gpt2-0.2m-random"), "model.safetensors"), path)
    else:
        path.write_bytes(content[: len(content) // 2 if how == "cut" else 0])
    said = refused(capsys, "report", copy)
    assert str(path) in said
    assert "run the selection again" in said


def test_nothing_saved_can_run_code():
    """No pickle, and no NumPy file that may hold one."""
    for path in Path(lensllm.__file__).parent.rglob("*.py"):
        text = path.read_text()
        assert "allow_pickle=True" not in text, path
        assert text.count("np.load(") == text.count("allow_pickle=False"), path
