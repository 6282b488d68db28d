"""Folders of runs that transformers' Trainer left behind become curves."""

import json

import pytest

from lensllm.cli import main
from lensllm.curve_sources import HowRead
from lensllm.curves import Curves
from lensllm.errors import InputError
from tests.curve_sources.runs_elsewhere import state, trained


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory, model_folders):
    root = tmp_path_factory.mktemp("trained")
    losses = {}
    for size in (16, 50):
        trainer = trained(model_folders["gpt"], root / "gpt" / f"n{size}", size)
        trainer.save_state()
        losses[size] = trainer.evaluate()["eval_loss"]
    return root, losses


def test_the_runs_of_a_trainer_are_read_with_their_sizes(trained_folder):
    root, losses = trained_folder
    curves = Curves.read(root)
    assert curves.candidates == ("gpt",)
    assert curves.sizes.tolist() == [16, 50]
    assert curves.losses[0].tolist() == pytest.approx([losses[16], losses[50]])
    assert any("train_samples_per_second x train_runtime" in note for note in curves.notes)
    assert any("nats a token" in note for note in curves.notes)


def test_a_run_that_left_checkpoints_alone_has_not_told_its_size(trained_folder, tmp_path):
    root, losses = trained_folder
    last = max((root / "gpt" / "n50").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    run = tmp_path / "gpt" / "n50" / last.name
    run.mkdir(parents=True)
    (run / "trainer_state.json").write_text((last / "trainer_state.json").read_text())
    with pytest.raises(InputError, match=r"trainer_state.json does not say how many examples .* --examples gpt/n50=N"):
        Curves.read(tmp_path)
    for how in (HowRead(examples={"gpt/n50": 50}), HowRead(run_names="{candidate}/n{examples}")):
        curves = Curves.read(tmp_path, how)
        assert (curves.sizes.tolist(), curves.losses[0].tolist()) == ([50], [pytest.approx(losses[50])])


def test_what_a_script_wrote_down_comes_before_what_is_derived(tmp_path):
    state(tmp_path / "a", examples=50)
    (tmp_path / "a" / "all_results.json").write_text(json.dumps({"train_samples": 48}))
    assert Curves.read(tmp_path).sizes.tolist() == [48]


def test_a_run_that_goes_on_is_left_out_by_name(tmp_path):
    state(tmp_path / "a" / "1", examples=50)
    state(tmp_path / "b" / "checkpoint-3", step=3)
    curves = Curves.read(tmp_path)
    assert curves.candidates == ("a",)
    assert any("b/checkpoint-3" in note and "step 3 of 6" in note for note in curves.notes)


def test_several_losses_are_refused_until_one_is_chosen(tmp_path):
    state(tmp_path / "a", examples=50, eval_math_loss=2.0)
    log = json.loads((tmp_path / "a" / "trainer_state.json").read_text())
    del log["log_history"][0]["eval_loss"]
    log["log_history"][0]["eval_code_loss"] = 3.0
    (tmp_path / "a" / "trainer_state.json").write_text(json.dumps(log))
    with pytest.raises(InputError, match=r"trainer_state.json has several .*eval_code_loss, eval_math_loss"):
        Curves.read(tmp_path)
    assert Curves.read(tmp_path, HowRead(metric="eval/math_loss")).losses.tolist() == [[2.0]]


def test_losses_of_two_names_are_not_mixed(tmp_path):
    state(tmp_path / "a", examples=50)
    state(tmp_path / "b", examples=50)
    other = tmp_path / "b" / "trainer_state.json"
    other.write_text(other.read_text().replace("eval_loss", "eval_math_loss"))
    with pytest.raises(InputError, match=r"several names .*eval_loss in .*eval_math_loss in"):
        Curves.read(tmp_path)


def test_tokenizers_that_differ_are_told(tmp_path):
    for name in ("a", "b"):
        state(tmp_path / name, examples=50)
        (tmp_path / name / "tokenizer.json").write_text(json.dumps({"of": name}))
    assert any("tokenizers of a, b differ" in note for note in Curves.read(tmp_path).notes)


def test_the_best_evaluation_where_it_is_asked_for(tmp_path):
    state(tmp_path / "a", examples=50)
    file = tmp_path / "a" / "trainer_state.json"
    log = json.loads(file.read_text())
    log["log_history"].insert(0, {"step": 3, "epoch": 1.0, "eval_loss": 1.2})
    file.write_text(json.dumps(log))
    last = Curves.read(tmp_path)
    assert last.losses.tolist() == [[1.5]]
    assert any("--evaluation best" in note for note in last.notes)
    assert Curves.read(tmp_path, HowRead(evaluation="best")).losses.tolist() == [[1.2]]


def test_an_evaluation_before_training_is_the_loss_at_0(tmp_path):
    state(tmp_path / "a", examples=50)
    file = tmp_path / "a" / "trainer_state.json"
    log = json.loads(file.read_text())
    log["log_history"].insert(0, {"step": 0, "epoch": 0.0, "eval_loss": 3.0})
    file.write_text(json.dumps(log))
    curves = Curves.read(tmp_path)
    assert (curves.sizes.tolist(), curves.losses.tolist()) == ([0, 50], [[3.0, 1.5]])


def test_a_broken_state_takes_nothing_from_the_others(tmp_path):
    state(tmp_path / "a", examples=50)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "trainer_state.json").write_text("{")
    curves = Curves.read(tmp_path)
    assert curves.candidates == ("a",)
    assert any("b/trainer_state.json cannot be read" in note for note in curves.notes)


def test_names_that_say_candidate_size_and_seed(tmp_path):
    for seed, loss in ((0, 1.5), (1, 1.7)):
        state(tmp_path / f"llama-1k-s{seed}", loss=loss)
    state(tmp_path / "notes", loss=9.0)
    curves = Curves.read(tmp_path, HowRead(run_names="{candidate}-{examples}-s{seed}"))
    assert (curves.candidates, curves.sizes.tolist(), curves.losses.tolist()) == (("llama",), [1000], [[1.6]])
    assert any("notes is not named as" in note for note in curves.notes)


def test_forecast_and_plan_take_a_folder_of_runs(tmp_path, capsys):
    for name, start in (("a", 2.0), ("b", 2.2)):
        for i, size in enumerate((50, 100, 200, 400)):
            state(tmp_path / name / str(size), loss=start - 0.1 * i, examples=size)
    for command in (["forecast"], ["plan", "--gain", "0.02"]):
        with pytest.raises(SystemExit) as stop:
            main([*command[:1], str(tmp_path), "--target-size", "3200", *command[1:]])
        assert stop.value.code == 0
        shown = capsys.readouterr().out
        assert "note: 8 runs read by eval_loss" in shown
        assert "nats a token" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--examples", "a=few"], "expected RUN=N"),
        (["--examples", "z=50"], "has no run 'z'"),
        (["--evaluation", "first"], "expected last or best"),
        (["--run-names", "{examples}"], "expected {candidate} in it"),
        (["--run-names", "{candidate}-{model}"], "expected {candidate} in it"),
        (["--metric", "eval_accuracy"], "of which more is better"),
        (["--metric", "eval_other_loss"], "no run with a loss to read"),
    ],
)
def test_bad_options_are_one_sentence(tmp_path, capsys, options, message):
    state(tmp_path / "a", examples=50)
    with pytest.raises(SystemExit) as stop:
        main(["forecast", str(tmp_path), "--target-size", "800", *options])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_without_runs(tmp_path):
    with pytest.raises(InputError, match="holds no runs"):
        Curves.read(tmp_path)
