"""`lensllm watch` beside a selection and runs of transformers' Trainer."""

import json

import pytest

import lensllm
from lensllm.cli import main
from lensllm.selection import Selection
from lensllm.watching.watch import follow, watch
from tests.curve_sources.runs_elsewhere import collated, encoded, state, trained


@pytest.fixture(scope="module")
def selected(tmp_path_factory, model_folders, sums_file):
    folder = tmp_path_factory.mktemp("selected")
    few = {"sizes": [16, 32, 64], "num_train_epochs": 1, "max_test_examples": 16, "workers": 1}
    lensllm.select(
        str(sums_file), [str(model_folders["gpt"]), str(model_folders["llama"])], output_dir=str(folder), **few
    )
    return folder


def run(capsys, *arguments):
    """Exit code, output and errors of a command."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code, *capsys.readouterr()


def expected_of(folder):
    selection = Selection.load(folder)
    row = next(row for row in selection.ranking if row.candidate == "gpt")
    cost = selection.costs["gpt"]
    return row, cost.flops_per_token / cost.flops_per_byte, selection.curves.of(["gpt"]).losses[0, 0]


def test_before_training_the_loss_of_a_trainer_is_the_measured_one(selected, tmp_path, model_folders):
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

    from lensllm.tasks import read_task

    origin = Selection.load(selected).provenance.task
    tokenizer = AutoTokenizer.from_pretrained(model_folders["gpt"])
    task = read_task(origin.source)
    rows = [{"prompt": one.prompt, "completion": one.completion} for one in task.test[:16]]
    made = []
    for row in rows:
        prompt, completion = (tokenizer(row[name])["input_ids"] for name in ("prompt", "completion"))
        completion = [*completion, tokenizer.eos_token_id]
        made.append({"input_ids": prompt + completion, "labels": [-100] * len(prompt) + completion})
    trainer = Trainer(
        AutoModelForCausalLM.from_pretrained(model_folders["gpt"]),
        TrainingArguments(
            str(tmp_path / "run"), eval_on_start=True, max_steps=4, report_to=[], disable_tqdm=True, use_cpu=True,
            save_strategy="no", eval_strategy="steps", eval_steps=1, learning_rate=1e-5,
        ),
        train_dataset=encoded(tokenizer, 16), eval_dataset=Dataset.from_list(made), data_collator=collated,
    )  # fmt: skip
    trainer.train()
    trainer.save_state()
    _, ratio, zero_shot = expected_of(selected)
    first = next(row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row)
    assert first / ratio == pytest.approx(zero_shot, rel=0.02)
    verdict = watch(selected, str(tmp_path / "run"), candidate="gpt")
    assert "before training" not in verdict.sentence


@pytest.mark.parametrize(("part", "code", "status"), [(1.0, 0, "on forecast"), (1.5, 3, "off"), (0.5, 3, "off")])
def test_exit_code_and_words(selected, tmp_path, capsys, part, code, status):
    row, ratio, _ = expected_of(selected)
    state(tmp_path / "run", loss=part * row.forecast * ratio, step=18, planned=18)
    assert run(capsys, "watch", selected, "--log", tmp_path / "run", "--candidate", "gpt")[0] == code
    _, out, _ = run(capsys, "watch", selected, "--log", tmp_path / "run", "--candidate", "gpt", "--json")
    shown = json.loads(out)
    assert shown["status"] == status
    assert bool(shown["causes"]) is (status == "off")


def test_a_run_on_the_way_is_no_alarm(selected, tmp_path, capsys):
    row, ratio, zero_shot = expected_of(selected)
    state(tmp_path / "run", loss=(row.forecast + zero_shot) / 2 * ratio, step=6, planned=18)
    code, out, _ = run(capsys, "watch", selected, "--log", tmp_path / "run", "--candidate", "gpt")
    assert code == 0
    assert out.startswith("cannot tell yet: ")
    assert "33% of the run" in out


def test_an_interval_for_fewer_examples(selected, tmp_path, capsys):
    _, ratio, zero_shot = expected_of(selected)
    state(tmp_path / "run", loss=zero_shot * ratio, step=6, examples=32)
    _, out, _ = run(capsys, "watch", selected, "--log", tmp_path / "run", "--candidate", "gpt")
    assert "gpt on 32 examples" in out


def test_it_follows_until_it_can_be_told(selected, tmp_path):
    row, ratio, zero_shot = expected_of(selected)
    run_folder, seen = tmp_path / "run", []
    state(run_folder, loss=zero_shot * ratio, step=3, planned=18)

    def look():
        verdict = watch(selected, str(run_folder), candidate="gpt")
        if len(seen) == 1:
            state(run_folder, loss=row.forecast * ratio, step=18, planned=18)
        seen.append(verdict)
        return verdict

    told = [verdict.status for verdict in follow(look, every=0.0)]
    assert told == ["cannot tell yet", "on forecast"]
    assert len(seen) == 3


def test_a_csv_and_a_tracker_are_watched(selected, tmp_path, capsys, model_folders):
    pytest.importorskip("tensorboard")
    row, ratio, _ = expected_of(selected)
    csv = tmp_path / "log.csv"
    csv.write_text(f"step,eval_loss\n9,{row.forecast * ratio * 1.3}\n18,{row.forecast * ratio}\n")
    assert run(capsys, "watch", selected, "--log", csv, "--candidate", "gpt", "--steps", 18)[0] == 0
    trained(model_folders["gpt"], tmp_path / "tb", 16, report_to=["tensorboard"], save_strategy="no")
    code, out, _ = run(capsys, "watch", selected, "--log", tmp_path / "tb", "--candidate", "gpt")
    assert code in (0, 3)
    assert "step 4, 100% of the run" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--candidate", "none"], "has no candidate 'none'"),
        (["--unit", "bit"], "expected token or byte"),
        (["--metric", "eval_x_loss"], "has no evaluation loss yet"),
    ],
)
def test_bad_input_is_one_sentence(selected, tmp_path, capsys, options, message):
    state(tmp_path / "run")
    code, _, error = run(capsys, "watch", selected, "--log", tmp_path / "run", *options)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1


def test_several_runs_or_no_selection(selected, tmp_path, capsys):
    for name in ("a", "b"):
        state(tmp_path / "runs" / name)
    code, _, error = run(capsys, "watch", selected, "--log", tmp_path / "runs")
    assert (code, "has 2 runs (a, b): name one" in error) == (2, True)
    code, _, error = run(capsys, "watch", tmp_path, "--log", tmp_path / "runs" / "a")
    assert (code, error.count("\n")) == (2, 1)


def test_a_model_that_is_used_as_it_is(selected, tmp_path, capsys):
    state(tmp_path / "run")
    row = next(row for row in Selection.load(selected).ranking if row.method == "none")
    code, _, error = run(capsys, "watch", selected, "--log", tmp_path / "run", "--candidate", row.candidate)
    assert (code, "is used as it is" in error) == (2, True)
