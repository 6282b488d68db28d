"""Trackers hear of every run of a selection, and change nothing of it."""

import json
import logging

import pytest

import lensllm
from lensllm.cli import main
from lensllm.curve_sources import HowRead, read_histories
from lensllm.curves import Curves
from lensllm.store import Store
from lensllm.tuning.run import Run
from lensllm.tuning.tracking import Tracking, plain

FEW = {"sizes": [16, 40], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}

BY_BYTE = HowRead(metric="eval_nats_per_byte", run_names="{candidate}-{examples}")


def selected(folder, model_folders, sums_file, **options):
    models = [str(model_folders["gpt"]), str(model_folders["llama"])]
    return lensllm.select(str(sums_file), models, output_dir=str(folder), **FEW | options)


@pytest.fixture(scope="module")
def untracked(tmp_path_factory, model_folders, sums_file):
    return rows_of(selected(tmp_path_factory.mktemp("untracked") / "mine", model_folders, sums_file))


def rows_of(selection):
    return {name: row.tolist() for name, row in zip(selection.curves.candidates, selection.curves.losses, strict=True)}


def test_tensorboard_hears_of_every_run_and_nothing_changes(tmp_path, model_folders, sums_file, untracked):
    pytest.importorskip("tensorboard")
    folder = tmp_path / "mine"
    selection = selected(folder, model_folders, sums_file, report_to=["tensorboard"])
    assert rows_of(selection) == untracked
    curves = Curves.read(folder / "tensorboard", BY_BYTE)
    assert curves.candidates == tuple(sorted(selection.curves.candidates))
    assert curves.sizes.tolist() == [0, 16, 40]
    measured = selection.curves.of(curves.candidates).losses
    assert curves.losses.ravel().tolist() == pytest.approx(measured.ravel().tolist())
    histories, _ = read_histories(str(folder / "tensorboard"))
    steps = {one.name: [row for row in one.rows if "loss" in row] for one in histories}
    assert {name for name, rows in steps.items() if not rows} == {"gpt-0", "llama-0", "decision"}
    decision = next(one for one in histories if one.name == "decision")
    assert decision.last("gpt/forecast") == pytest.approx(
        next(r for r in selection.ranking if r.candidate == "gpt").forecast
    )


def test_keys_are_the_same(tmp_path, model_folders, sums_file):
    pytest.importorskip("tensorboard")
    folder = tmp_path / "mine"
    first = selected(folder, model_folders, sums_file)
    selected(folder, model_folders, sums_file, report_to=["tensorboard"])
    assert not (folder / "tensorboard" / "gpt-16").exists()
    store = Store(folder, readonly=True)
    assert len(store.records(Run)) == 2 * 3
    assert first.curves.losses.shape == (2, 3)


def test_all_learning_rates_of_a_job_are_one_run(tmp_path, model_folders, sums_file):
    pytest.importorskip("tensorboard")
    selected(tmp_path / "mine", model_folders, sums_file, report_to=["tensorboard"])
    (history,), _ = read_histories(str(tmp_path / "mine" / "tensorboard" / "gpt-16"))
    assert max(row["step"] for row in history.rows) == 3 * 2


def test_trackio(tmp_path, model_folders, sums_file, untracked, monkeypatch, capsys):
    trackio = pytest.importorskip("trackio")
    for module in (trackio.utils, trackio.sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    selection = selected(tmp_path / "mine", model_folders, sums_file, report_to=["trackio"])
    assert rows_of(selection) == untracked
    assert capsys.readouterr().out == ""
    curves = Curves.read("trackio:sums-mine", BY_BYTE)
    assert curves.losses.ravel().tolist() == pytest.approx(
        selection.curves.of(curves.candidates).losses.ravel().tolist()
    )


def test_mlflow_on_a_file(tmp_path, model_folders, sums_file, untracked, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    import mlflow

    mlflow.set_tracking_uri(None)
    selection = selected(tmp_path / "mine", model_folders, sums_file, report_to=["mlflow"])
    assert rows_of(selection) == untracked
    histories, _ = read_histories(str(tmp_path / "mine" / "mlruns"))
    assert {one.name for one in histories} == {
        "gpt-0",
        "gpt-16",
        "gpt-40",
        "llama-0",
        "llama-16",
        "llama-40",
        "decision",
    }
    (tags,) = [p for p in (tmp_path / "mine" / "mlruns").rglob("lensllm.decision")]
    assert tags.read_text() == selection.sentence


def test_a_tracker_that_fails_takes_nothing_from_a_run(
    tmp_path, model_folders, sums_file, untracked, monkeypatch, caplog
):
    pytest.importorskip("tensorboard")
    from transformers.integrations.integration_utils import TensorBoardCallback

    def full(*args, **kwargs):
        raise OSError("the disk is full")

    monkeypatch.setattr(TensorBoardCallback, "on_log", full)
    with caplog.at_level(logging.WARNING):
        selection = selected(tmp_path / "mine", model_folders, sums_file, report_to=["tensorboard"])
    assert rows_of(selection) == untracked
    assert any("tensorboard does not take gpt-16 (OSError: the disk is full)" in text for text in caplog.messages)


def test_a_tracker_that_is_not_installed_is_said_before_anything_runs(tmp_path, capsys, monkeypatch):
    from transformers.integrations import integration_utils

    monkeypatch.setattr(integration_utils, "is_wandb_available", lambda: False)
    arguments = [
        "select",
        "no-such-task",
        "--models",
        "x",
        "--report-to",
        "wandb",
        "--output-dir",
        str(tmp_path / "out"),
    ]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--output-dir", str(tmp_path / "out")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "report_to names wandb, which is not installed: pip install wandb" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_the_user_said_to_a_tracker_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    told = Tracking(("wandb",), "mine", str(tmp_path)).environment("a-50", {"x": "y"})
    assert "WANDB_PROJECT" not in told
    assert told["WANDB_RUN_GROUP"] == "mine"
    assert json.loads(told["MLFLOW_TAGS"]) == {"lensllm.selection": "mine", "x": "y"}


def test_names_that_any_tracker_takes():
    assert plain("org/model@v1 (not fine-tuned)") == "org_model_v1 _not fine-tuned_"
