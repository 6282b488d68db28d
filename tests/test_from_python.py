"""`lensllm.select` with objects where the command line has names."""

import functools
import importlib.util
import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import refused, run

import lensllm
from lensllm.candidates import Lora, find_candidate
from lensllm.errors import InputError
from lensllm.execution import InProcess
from lensllm.given import Given
from lensllm.scores import Answer, Score, UserFunction
from lensllm.scores.own import own_score
from lensllm.search.replay import replay_folder
from lensllm.selectors import GaussianProcess
from lensllm.selectors.base import PointSelector
from lensllm.store import Store
from lensllm.tuning.run import Run

MODELS = ["gpt2-0.2m-random", "gpt2-0.2m-brown-0.3m"]
ONE = ["gpt2-0.2m-random"]
FEW = {"sizes": [50], "num_train_epochs": 1, "max_test_examples": 10, "score_examples": 10, "workers": 1}
LONGEST = 12
TEMPLATE = (
    "{% for one in messages %}[{{ one.role }}]{{ one.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


class StraightLine(PointSelector):
    """Along the last two points in log-log."""

    name = "straight_line"

    def point(self, curve, target_size):
        known = np.isfinite(curve.losses[0]) & (curve.sizes > 0)
        sizes, losses = np.log(curve.sizes[known][-2:]), np.log(curve.losses[0, known][-2:])
        if len(sizes) < 2:
            return float(np.exp(losses[-1])) if len(losses) else np.nan
        return float(np.exp(np.polyval(np.polyfit(sizes, losses, 1), np.log(target_size))))


class Counting(InProcess):
    """Counts what it runs."""

    def __init__(self):
        super().__init__()
        self.submitted = 0
        self.closed = False

    def submit(self, job):
        self.submitted += 1
        super().submit(job)

    def close(self):
        self.closed = True
        super().close()


def words(text):
    return re.findall(r"[a-z]+", text.lower())


def brief(prompt, completion, reference):
    return len(words(completion)) <= LONGEST


class Brief(Score):
    """Share of short answers."""

    name, unit = "brief", "share of answers of few words"

    def __init__(self, most):
        self.most = most

    def values(self, answers):
        return [float(len(words(one.completion)) <= self.most) for one in answers]


def test_candidates_say_their_method_themselves_and_names_are_crossed(tmp_path):
    by_lora = lensllm.select(
        "define",
        [Path(find_candidate(MODELS[0]).folder), find_candidate_by(Lora(lora_r=2), MODELS[1])],
        methods=["full"],
        output_dir=tmp_path,
        **FEW,
    )
    tuned = {row.candidate: row.method for row in by_lora.ranking if row.method != "none"}
    assert tuned == {"gpt2-0.2m-random full": "full", "gpt2-0.2m-brown-0.3m lora r2": "lora"}
    origin = by_lora.provenance.candidate("gpt2-0.2m-brown-0.3m lora r2")
    assert origin.settings["lora_r"] == 2
    asked = by_lora.provenance.settings["candidates"]
    assert [(one["model"], one["method"], one["lora_r"]) for one in asked] == [(MODELS[1], "lora", 2)]


def find_candidate_by(method, model):
    return replace(find_candidate(model), method=method)


def test_a_candidate_keeps_its_folder_name_and_template(tmp_path):
    mine = replace(find_candidate(MODELS[0]), model_name_or_path="mine", name="mine", chat_template=TEMPLATE)
    found = lensllm.select("define", mine, output_dir=tmp_path, **FEW)
    origin = found.provenance.candidate("mine")
    assert (origin.method, origin.chat_template) == ("full", TEMPLATE)
    with pytest.raises(InputError, match="two candidates are mine with another"):
        lensllm.select("define", [mine, replace(mine, chat_template=None)], output_dir=tmp_path, **FEW)


def test_an_executor_of_ones_own_runs_everything_and_is_left_open(tmp_path):
    executor = Counting()
    found = lensllm.select("define", MODELS, executor=executor, output_dir=tmp_path, **FEW)
    assert executor.submitted == 4
    assert not executor.closed
    assert found.provenance.objects == {"executor": "Counting"}
    assert found.provenance.settings["executor"] == "processes"


def test_a_selector_of_ones_own_forecasts_and_the_folder_says_so(tmp_path, capsys):
    budget = {name: value for name, value in FEW.items() if name != "sizes"}
    found = lensllm.select("define", MODELS, selector=StraightLine(), budget=0.05, output_dir=tmp_path, **budget)
    curves = found.curves
    expected = dict(zip(curves.candidates, StraightLine().forecast(curves, found.target_size).mean, strict=True))
    assert {row.candidate: row.forecast for row in found.ranking if row.method != "none"} == pytest.approx(expected)
    assert "StraightLine gives no uncertainty" in " ".join(found.notes)
    assert "selector was StraightLine" in (tmp_path / "report.html").read_text()
    assert "selector was StraightLine" in (tmp_path / "report.md").read_text()
    assert "StraightLine" in refused(capsys, "replay", tmp_path)
    assert all(one.agrees for one in replay_folder(tmp_path, StraightLine()))
    run(capsys, "report", tmp_path)
    again = lensllm.Selection.load(tmp_path)
    with pytest.raises(InputError, match="StraightLine, the selector of a Python program"):
        again.forecast_at(100_000)
    assert again.train(examples=50, output_dir=str(tmp_path / "trained")).outcomes[0].forecast is None


def test_a_selector_by_name_is_replayed_by_anyone(tmp_path, capsys):
    budget = {name: value for name, value in FEW.items() if name != "sizes"}
    found = lensllm.select("define", MODELS, selector="gaussian_process", budget=0.05, output_dir=tmp_path, **budget)
    assert found.provenance.settings["selector"] == "gaussian_process"
    expected = GaussianProcess().forecast(found.curves, 100_000).mean
    assert lensllm.Selection.load(tmp_path).forecast_at(100_000).mean == pytest.approx(expected)
    assert "all agree" in run(capsys, "replay", tmp_path)
    with pytest.raises(InputError, match="no selector is named 'magic': there are prior_fitted, growing_slopes"):
        lensllm.select("define", ONE, selector="magic", output_dir=tmp_path)


def test_a_function_becomes_a_file_of_the_folder_that_the_command_line_can_name(tmp_path, capsys):
    found = lensllm.select("name", ONE, score=brief, output_dir=tmp_path, **FEW)
    value = found.scored.value("brief.py:brief", ONE[0], 50)
    assert value.examples == 10
    assert 0 <= value.value <= 1
    file = tmp_path / "scores" / "brief.py"
    assert found.provenance.settings["score"] == [f"{file}:brief"]
    assert found.provenance.objects == {}
    for part in ("import re as re", "LONGEST = 12", "def words(text):"):
        assert part in file.read_text()
    before = keys(tmp_path)
    options = [f"--{name.replace('_', '-')}={value if name != 'sizes' else 50}" for name, value in FEW.items()]
    run(capsys, "select", "name", "--models", *ONE, "--score", f"{file}:brief", *options, "--output-dir", tmp_path)
    assert keys(tmp_path) == before
    trained = lensllm.Selection.load(tmp_path).train(examples=50)
    assert [one.measure for one in trained.outcomes] == ["loss", "brief.py:brief"]


def keys(folder):
    store = Store(folder, readonly=True)
    try:
        return {key for key, _ in store.records(Run)}
    finally:
        store.close()


def test_a_score_of_an_own_class_is_measured_and_named(tmp_path):
    scores = ["exact_match", Brief(most=3)]
    found = lensllm.select("name", ONE, score=scores, output_dir=tmp_path, **FEW)
    value = found.scored.value("brief", ONE[0], 50)
    assert value.examples == 10
    assert found.provenance.objects["score"] == "brief"
    assert found.provenance.settings["score"] == ["exact_match"]
    assert "class Brief(Score):" in (tmp_path / "scores" / "Brief.py").read_text()
    outcomes = lensllm.Selection.load(tmp_path).train(examples=50).outcomes
    assert [one.measure for one in outcomes] == ["loss", "exact_match"]


def module_of(path, text):
    """A module made of this text."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FUNCTION = """
from lensllm.scores import Score
MOST = {most}
def helper(text):
    return {helper}
def score(prompt, completion, reference):
    return float(helper(completion) < MOST)
class Own(Score):
    name, unit = "own", "share"
    def __init__(self, part):
        self.part = part
    def values(self, answers):
        return [float(helper(one.completion) < MOST * self.part) for one in answers]
"""


@pytest.mark.parametrize("kind", ["score", "Own"])
def test_whatever_changes_a_score_changes_its_key(tmp_path, kind):
    def spec(number, part=0.5, **parts):
        text = FUNCTION.format(**({"most": 3, "helper": "len(text)"} | parts))
        module = module_of(tmp_path / f"made{number}.py", text)
        return own_score(module.score if kind == "score" else module.Own(part)).spec()

    assert spec(1) == spec(2)
    others = [spec(3, most=4), spec(4, helper="len(text.split())")] + ([spec(5, part=0.6)] if kind == "Own" else [])
    assert all(other != spec(6) for other in others)


def unreadable():
    made = {}
    exec("def typed(prompt, completion, reference):\n    return 1", made)
    return made["typed"]


class Holding(Brief):
    def __init__(self):
        super().__init__(3)
        self.path = Path()


def of_another(prompt, completion, reference):
    return HOLDING is None


HOLDING = object()


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (lambda prompt, completion, reference: 1.0, "<lambda>: expected a name, a function written with def"),
        (functools.partial(brief, prompt=""), "partial: expected a name"),
        (len, "len: expected a name"),
        (Brief, "Brief: expected a name"),
        (unreadable(), "the text of typed cannot be read"),
        (of_another, "it uses HOLDING, which is neither installed nor a plain value"),
        (Holding(), "its attributes"),
        (3, "int: expected a name"),
    ],
)
def test_a_score_whose_change_could_go_unseen_is_refused(tmp_path, score, said):
    with pytest.raises(InputError, match=re.escape(said)):
        lensllm.select("name", ONE, score=[score], output_dir=tmp_path)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"executor": object()}, "executor: expected a name or an object of a subclass of lensllm.execution.Exec"),
        (
            {"selector": StraightLine},
            "selector: expected a name or an object of a subclass of lensllm.selectors.Sel",
        ),
        ({"score": [brief, brief]}, "two scores are named brief.py:brief"),
    ],
)
def test_an_object_of_another_kind_is_refused(option, said):
    with pytest.raises(InputError, match=re.escape(said)):
        lensllm.select("name", ONE, **option)


def test_a_shipped_score_is_its_name(tmp_path):
    config, given = Given.of("name", ONE, {"score": [lensllm.scores.ExactMatch(), "chrf"]})
    assert config.score == ["exact_match", "chrf"]
    assert not given.scores


def test_check_takes_the_same_objects():
    candidate = find_candidate_by(Lora(lora_r=2), MODELS[0])
    plan = lensllm.check("name", candidate, score=brief, executor=Counting(), output_dir="none")
    assert plan.workers == 1
    assert plan.candidates[0].trained_parameters < plan.candidates[0].parameters
    assert not Path("none").exists()


def test_a_score_of_an_own_class_reaches_a_process_that_has_no_such_class():
    """As workers and the nodes of a cluster get it."""
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).values(pickle.load(sys.stdin.buffer)))"
    sent = pickle.dumps(own_score(Brief(most=1))) + pickle.dumps([Answer("", "one", ""), Answer("", "one two", "")])
    answered = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert answered.stdout.decode().split() == ["[1.0,", "0.0]"]


def test_the_function_host_runs_the_text():
    score = own_score(brief)
    assert isinstance(score, UserFunction)
    assert score.values([Answer("", "one two", ""), Answer("", "w " * 20, "")]) == [1.0, 0.0]
    assert json.loads(json.dumps(score.spec())) == score.spec()
