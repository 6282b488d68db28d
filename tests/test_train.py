"""From the answer to the model, from the outside: train, go on after a kill, load with transformers and peft."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from commands import refused, run, sums
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

import lensllm
from lensllm.execution import InProcess
from lensllm.handover.claim import check_claim, claim
from lensllm.handover.steps import StepsRead, StepsWritten
from lensllm.jobs import Lost
from lensllm.selection import Selection
from lensllm.tasks import read_task
from lensllm.tuning.step_progress import StepProgress

QUICK = {"max_test_examples": 20, "workers": 1, "sizes": [25, 50, 100]}


def selected(folder, source, models, **options):
    """The folder of a finished selection."""
    lensllm.select(source, list(map(str, models)), output_dir=str(folder), **{**QUICK, **options})
    return folder


@pytest.fixture(scope="module")
def chosen(model_folders, sums_file, tmp_path_factory):
    """GPT in full and by LoRA with dropout, with a score."""
    options = {"methods": ["full", "lora"], "lora_dropout": 0.1, "score": ["exact_match"], "score_examples": 10}
    return selected(tmp_path_factory.mktemp("chosen"), sums_file, [model_folders["gpt"]], **options)


@pytest.fixture
def copy(chosen, tmp_path):
    """The same in a folder of its own."""
    shutil.copytree(chosen, tmp_path / "copy")
    return tmp_path / "copy"


def plain_loss(model, tokenizer, source, count=20):
    """Nats a byte of the completions, with nothing of ours but the split."""
    nats = size = 0
    for example in read_task(source).test[:count]:
        prompt = [tokenizer.bos_token_id, *tokenizer(example.prompt)["input_ids"]]
        learned = [*tokenizer(example.completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        labels = torch.tensor([[-100] * len(prompt) + learned])
        with torch.no_grad():
            out = model(input_ids=torch.tensor([prompt + learned]), labels=labels)
        nats += float(out.loss) * len(learned)
        size += example.n_bytes
    return nats / size


def test_the_winner_is_trained_saved_measured_and_remembered(copy, sums_file, capsys):
    answer = json.loads(run(capsys, "train", copy, "--candidate", "gpt full", "--json"))
    assert answer["examples"] == Selection.load(copy).target_size
    loss, score = answer["outcomes"]
    row = next(row for row in Selection.load(copy).ranking if row.candidate == "gpt full")
    assert (loss["measure"], loss["forecast"], tuple(loss["interval"])) == ("loss", row.forecast, row.interval)
    assert loss["inside"] == (row.interval[0] <= loss["reached"] <= row.interval[1])
    assert score["measure"] == "exact_match"
    folder = copy / "trained" / "gpt-full"
    assert not (folder / "checkpoints").exists()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert plain_loss(model, tokenizer, sums_file) == pytest.approx(loss["reached"], rel=1e-5)
    card = (folder / "README.md").read_text()
    assert f"forecast {row.forecast:.3f}" in card
    assert "library_name: transformers" in card
    assert "names none" in card
    (kept, _) = csv.DictReader((copy / "history.csv").open())
    assert (float(kept["reached"]), float(kept["low"])) == (loss["reached"], row.interval[0])
    printed = run(capsys, "history", copy.parent)
    assert "gpt full" in printed
    assert "of 2 forecasts came true" in printed
    assert "is not empty" in refused(capsys, "train", copy, "--candidate", "gpt full")


def test_an_adapter_is_loaded_by_peft_and_merged(copy, sums_file, capsys):
    answer = json.loads(run(capsys, "train", copy, "--candidate", "gpt lora r16", "--merge", "--json"))
    folder, reached = copy / "trained" / "gpt-lora-r16", answer["outcomes"][0]["reached"]
    assert load_file(folder / "adapter_model.safetensors")
    assert not (folder / "model.safetensors").exists()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    adapted = AutoPeftModelForCausalLM.from_pretrained(folder)
    assert plain_loss(adapted.eval(), tokenizer, sums_file) == pytest.approx(reached, rel=1e-5)
    merged = AutoModelForCausalLM.from_pretrained(folder / "merged")
    assert plain_loss(merged, tokenizer, sums_file) == pytest.approx(answer["merged_loss"], rel=1e-5)
    assert answer["merged_loss"] == pytest.approx(reached, rel=1e-4)
    assert "library_name: peft" in (folder / "README.md").read_text()
    untrained = AutoModelForCausalLM.from_pretrained(Selection.load(copy).provenance.candidates[0].folder)
    assert plain_loss(untrained, tokenizer, sums_file) > reached + 0.1


def test_a_rung_trained_again_is_the_rung(copy):
    selection = Selection.load(copy)
    for name in ("gpt full", "gpt lora r16"):
        trained = selection.train(candidate=name, examples=50)
        known = selection.provenance.candidate(name).rungs[50]
        assert (trained.loss.reached, trained.learning_rate) == (known.loss, known.learning_rate)
        assert trained.loss.inside is None


def test_between_the_rungs_and_all_the_data_there_is_a_forecast(copy):
    trained = Selection.load(copy).train(candidate="gpt full", examples=120)
    low, high = trained.loss.interval
    assert low < trained.loss.forecast < high
    assert len(trained.outcomes) == 2
    assert trained.outcomes[1].interval is None


def test_after_a_kill_it_goes_on_to_the_same_weights(copy, capsys):
    """Killed in the second of three epochs, with dropout: the weights are the same to the bit."""
    name, selection = "gpt lora r16", Selection.load(copy)
    whole, halved = copy / "whole", copy / "halved"
    first = selection.train(candidate=name, output_dir=whole)
    command = ["train", copy, "--candidate", name, "--save-steps", 5, "--output-dir", halved]
    process = subprocess.Popen([sys.executable, "-m", "lensllm", *map(str, command)], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 240
    while not list(halved.glob("checkpoints/*/checkpoint-25/spent.json")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (halved / "README.md").exists()
    again = selection.train(candidate=name, output_dir=halved, save_steps=5, progress=True)
    begun = int(re.search(r"step (\d+) of 51", capsys.readouterr().err)[1])
    assert begun > 25
    file = "adapter_model.safetensors"
    assert (halved / file).read_bytes() == (whole / file).read_bytes()
    assert (again.loss, again.validation) == (first.loss, first.validation)
    assert again.flops == pytest.approx(first.flops)


def test_a_trainer_goes_on_at_an_epochs_end(copy, monkeypatch):
    """Every weight trained, cut off at the end of an epoch: what comes is the order of the next."""
    selection = Selection.load(copy)
    whole = selection.train(candidate="gpt full", examples=40, output_dir=copy / "whole", save_steps=1000)
    for last in (5, 7, 10):
        options = {"candidate": "gpt full", "examples": 40, "output_dir": copy / str(last), "save_steps": 1}
        with monkeypatch.context() as patch:
            patch.setattr(StepProgress, "__call__", stopping(last))
            with pytest.raises(lensllm.InputError, match="stopped"):
                selection.train(**options, progress=True)
        again = selection.train(**options)
        assert again.loss == whole.loss
        file = "model.safetensors"
        assert (copy / str(last) / file).read_bytes() == (copy / "whole" / file).read_bytes()


def stopping(last):
    """A progress that ends the training after the checkpoint of a step."""

    def step(self, name, done, total):
        if done > last:
            raise RuntimeError("stopped")

    return step


def test_what_a_killed_run_took_is_counted(copy, monkeypatch):
    """Trained to the end and killed before it was saved: FLOPs and tokens are those of all steps."""
    selection = Selection.load(copy)
    first = selection.train(candidate="gpt full", examples=50, output_dir=copy / "one")
    monkeypatch.setattr("lensllm.handover.save.save_trained", lambda *given: 1 / 0)
    with pytest.raises(lensllm.InputError, match="ZeroDivisionError"):
        selection.train(candidate="gpt full", examples=50, output_dir=copy / "two")
    monkeypatch.undo()
    second = selection.train(candidate="gpt full", examples=50, output_dir=copy / "two")
    assert second.flops == pytest.approx(first.flops)
    assert second.loss.reached == first.loss.reached


def test_a_try_that_another_has_taken_over_writes_nothing_more(copy, monkeypatch):
    def taken_over(self, name, done, total):
        if done == 8:
            claim(copy / "one")

    monkeypatch.setattr(StepProgress, "__call__", taken_over)
    options = {"candidate": "gpt full", "examples": 50, "output_dir": copy / "one", "save_steps": 5}
    with pytest.raises(lensllm.InputError, match="is not the folder there that it is where the command runs"):
        Selection.load(copy).train(**options, progress=True)
    assert [path.name for path in copy.glob("one/checkpoints/*/*")] == ["checkpoint-5"]
    assert [path.name for path in copy.glob("one/*")] == ["checkpoints"]


def test_a_training_whose_worker_dies_twice_can_be_gone_on_with(copy, monkeypatch):
    lost = []
    monkeypatch.setattr(InProcess, "wait", lambda executor, timeout: lost.append(executor._job) or died(executor))
    with pytest.raises(lensllm.InputError, match=r"50 examples: it died, twice; the same command goes on from the"):
        Selection.load(copy).train(candidate="gpt full", examples=50)
    assert len({job.claim for job in lost}) == len(lost) == 2
    monkeypatch.undo()
    assert Selection.load(copy).train(candidate="gpt full", examples=50).examples == 50


def died(executor):
    job, executor._job = executor._job, None
    return job, Lost("it died")


def test_a_claimed_folder_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "checkpoints").mkdir()
    token = claim(tmp_path)
    check_claim(tmp_path, token)
    monkeypatch.setattr("os.access", lambda *given: False)
    with pytest.raises(lensllm.InputError, match=r"cannot be written there: name one on a disk that all nodes have"):
        check_claim(tmp_path, token)


def test_steps_that_a_file_tells_are_told_with_the_time_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lensllm.handover.steps.EVERY", 0.0)
    written, told = StepsWritten(tmp_path / "steps"), StepProgress("a on 9 examples")
    read = StepsRead(tmp_path / "steps", told)
    read.look()
    for done in (1, 1, 2, 10):
        written("learning rate 0.1", done, 10)
        read.look()
    first, second, last = capsys.readouterr().err.splitlines()
    assert first == "a on 9 examples, learning rate 0.1: step 1 of 10"
    assert re.fullmatch(r"a on 9 examples, learning rate 0.1: step 2 of 10, .* left", second)
    assert last == "a on 9 examples, learning rate 0.1: step 10 of 10"


def test_an_encoder_decoder_is_trained(model_folders, sums_file, tmp_path, capsys):
    folder = selected(tmp_path / "out", sums_file, [model_folders["t5"]], num_train_epochs=1)
    run(capsys, "train", folder, "--examples", 60)
    made = folder / "trained" / "t5"
    assert AutoModelForSeq2SeqLM.from_pretrained(made).config.model_type == "t5"
    assert "text2text-generation" in (made / "README.md").read_text()


def test_a_base_in_four_bits_is_merged_unpacked(wide_model_folders, sums_file, tmp_path, capsys):
    folder = selected(tmp_path / "out", sums_file, [wide_model_folders["llama"]], methods=["qlora"], num_train_epochs=1)
    answer = json.loads(run(capsys, "train", folder, "--examples", 60, "--merge", "--json"))
    assert answer["merged_loss"] == pytest.approx(answer["outcomes"][0]["reached"], rel=1e-3)
    merged = AutoModelForCausalLM.from_pretrained(answer["merged"])
    assert getattr(merged.config, "quantization_config", None) is None
    loss = plain_loss(merged, AutoTokenizer.from_pretrained(answer["merged"]), sums_file)
    assert loss == pytest.approx(answer["merged_loss"], rel=1e-4)
    assert "NF4" in (folder / "trained" / "llama" / "README.md").read_text()


def test_examples_of_a_program_are_handed_over_again(tmp_path):
    few = {"sizes": [50], "num_train_epochs": 1, "max_test_examples": 10, "workers": 1}
    found = lensllm.select(sums(120), ["gpt2-0.2m-random"], output_dir=str(tmp_path / "out"), **few)
    with pytest.raises(lensllm.InputError, match="came from a Python program"):
        found.train()
    with pytest.raises(lensllm.InputError, match="are others than those"):
        found.train(sums(121))
    assert found.train(sums(120)).examples == found.target_size


def test_bad_input_is_one_sentence(copy, capsys, tmp_path, sums_file):
    assert "holds no selection" in refused(capsys, "train", tmp_path)
    assert "holds no history" in refused(capsys, "history", copy)
    assert "no such folder" in refused(capsys, "history", copy / "nowhere")
    assert "no candidate 'gpt9' in this selection" in refused(capsys, "train", copy, "--candidate", "gpt9")
    left = refused(capsys, "train", copy, "--candidate", "gpt (not fine-tuned)")
    assert "is used as it is, so there is nothing to train" in left
    assert "there are 136 training examples" in refused(capsys, "train", copy, "--examples", 1000)
    assert "ask for one or more" in refused(capsys, "train", copy, "--examples", 0)
    assert "no adapter to merge" in refused(capsys, "train", copy, "--candidate", "gpt full", "--merge")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert "is not empty" in refused(capsys, "train", copy, "--output-dir", tmp_path / "full")
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    assert "is no folder" in refused(capsys, "train", copy, "--output-dir", copy / "curves.csv")
    with pytest.raises(lensllm.InputError, match=r"option 'executor': .*, got 'slurm'"):
        Selection.load(copy).train(executor="slurm")


def test_checkpoints_of_another_training_are_left_alone(copy, capsys, tmp_path):
    made = tmp_path / "other" / "checkpoints"
    made.mkdir(parents=True)
    (made / "job.json").write_text("{}")
    assert "checkpoints of another training" in refused(capsys, "train", copy, "--output-dir", made.parent)


def test_a_winner_that_is_not_fine_tuned_is_said(copy, capsys):
    path = copy / "selection.json"
    answer = json.loads(path.read_text())
    answer["ranking"].sort(key=lambda row: row["method"] != "none")
    answer["ranking"][0] |= {"forecast": 0.1, "parameters": 1}
    path.write_text(json.dumps(answer))
    assert "wins as it came, so there is nothing to train" in refused(capsys, "train", copy)


def test_a_base_that_has_changed_is_said(model_folders, sums_file, tmp_path, capsys):
    base, data = tmp_path / "base", tmp_path / "data.jsonl"
    shutil.copytree(model_folders["gpt"], base)
    shutil.copy(sums_file, data)
    folder = selected(tmp_path / "out", data, [base], num_train_epochs=1)
    weights = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(weights[:-4] + b"\x00\x00\x80\x3f")
    assert f"{base} has changed since the selection" in refused(capsys, "train", folder)
    (base / "model.safetensors").write_bytes(weights)
    rows = data.read_text()
    data.write_text(rows.replace("to be sure", "to be safe", 1))
    assert f"{data} has changed since the selection" in refused(capsys, "train", folder)
    data.unlink()
    assert f"{data}, which the selection read, is missing" in refused(capsys, "train", folder)
    shutil.rmtree(base)
    assert str(base) in refused(capsys, "train", folder)


def test_a_damaged_history_is_one_sentence(tmp_path, capsys):
    (tmp_path / "history.csv").write_text("date,task\n2026-01-01,t\n")
    assert "history.csv line 2" in refused(capsys, "history", tmp_path)
    (tmp_path / "history.csv").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refused(capsys, "history", tmp_path)


def test_select_then_train_reaches_what_was_forecast(tmp_path, capsys):
    """Two zoo models on a part of a shipped task, end to end."""
    rows = [{"prompt": one.prompt, "completion": one.completion} for one in read_task("define").train[:900]]
    (tmp_path / "define.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    models = ["gpt2-0.2m-random", "gpt2-0.2m-glosses-5m"]
    folder = tmp_path / "out"
    command = ["select", tmp_path / "define.jsonl", "--models", *models, "--sizes", 50, 100, 200]
    run(capsys, *command, "--workers", 1, "--max-test-examples", 90, "--output-dir", folder)
    said = run(capsys, "train", folder)
    assert said.startswith("gpt2-0.2m-glosses-5m trained on")
    assert "): inside" in said
    assert "1 of 1 forecast came true" in run(capsys, "history", folder)
