"""The demonstrations: what they select among, and that they compare with a truth that was measured."""

import json

import pytest

from lensllm import demo, zoo
from lensllm.tasks import read_task

TRUTHS = {demo.TASK: demo.TRUTH, demo.CHAT_TASK: demo.CHAT_TRUTH}


@pytest.mark.parametrize(("task", "file"), TRUTHS.items())
def test_the_truth_is_of_the_task_on_all_its_data(task, file):
    truth = demo.read_truth(file)
    assert (truth["task"], truth["examples"]) == (task, len(read_task(task).train))
    assert all(0.3 < loss < 3 for loss in truth["losses"].values())


def test_the_truth_of_the_chats_is_of_both_models_tuned_both_ways():
    losses = demo.read_truth(demo.CHAT_TRUTH)["losses"]
    assert len(losses) == len(demo.CHAT_MODELS) * len(demo.METHODS)
    for model in demo.CHAT_MODELS:
        assert model in zoo.model_names()
        assert sum(name.startswith(f"{model} ") or name == model for name in losses) == 2


def test_chats_are_chosen_among_models_and_methods(tmp_path, monkeypatch):
    """The whole demonstration, on a tenth of the examples that are measured and tested on."""
    short = demo.SelectConfig
    monkeypatch.setattr(
        demo,
        "SelectConfig",
        lambda **given: short(**given, sizes=[16, 32], max_test_examples=20, learning_rate=1e-3),
    )
    selection = demo.run_demo(tmp_path, chats=True)
    names = {row.candidate for row in selection.ranking if row.method != "none"}
    assert names == set(demo.read_truth(demo.CHAT_TRUTH)["losses"])
    assert {row.method for row in selection.ranking} >= {"full", "lora"}
    assert selection.truth["candidates"] == 4
    assert json.loads((tmp_path / "selection.json").read_text())["truth"]["candidates"] == 4
    assert (tmp_path / "report.html").is_file()
