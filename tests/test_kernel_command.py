"""`lensllm kernel` from the outside."""

import json
import shutil

import numpy as np
import pytest

from lensllm.cli import main
from lensllm.probes.record import Probe
from lensllm.store import Store
from lensllm.tuning.run import Run


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["kernel", *map(str, arguments)])
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


@pytest.fixture
def model(model_folders):
    return model_folders["gpt"]


def test_it_measures_shows_and_saves(capsys, model, sums_file, tmp_path):
    curves = tmp_path / "curves.csv"
    curves.write_text("candidate,examples,loss\ngpt,0,5.5\ngpt,50,3.25\nother,50,9.75\n")
    where = ["--save", tmp_path / "k.npz", "--html", tmp_path / "k.html", "--curves", curves]
    code, printed, progress = run(capsys, "--model", model, "--task", sums_file, "--probe", 16, *where)
    assert code == 0
    assert progress == ""
    for text in ("gpt on 16 examples of sums", "effective rank", "t=100", "Kernel curve", "3.2500", "FLOPs"):
        assert text in printed
    assert "9.75" not in printed
    with np.load(tmp_path / "k.npz") as file:
        n = len(file["gram"])
        assert file["gram"].shape == (n, n)
        assert file["residual"].shape == (n, 320)
        assert file["index"].shape == (n, 3)
    page = (tmp_path / "k.html").read_text()
    assert "measured by fine-tuning" in page
    assert "kernel curve, nothing trained" in page
    assert 'src="http' not in page


def test_the_store_keeps_the_probe_and_lends_its_losses(capsys, model, sums_file, tmp_path):
    select = ["select", sums_file, "--models", model, "--sizes", 50, "--num-train-epochs", 1, "--output-dir", tmp_path]
    with pytest.raises(SystemExit):
        main([*map(str, select), "--max-test-examples", "10"])
    capsys.readouterr()
    same = ["--model", model, "--task", sums_file, "--probe", 16, "--output-dir", tmp_path, "--json"]
    first, second = (json.loads(run(capsys, *same)[1]) for _ in range(2))
    assert first["losses"] == second["losses"]
    measured = {str(r.examples): r.nats_per_byte for _, r in Store(tmp_path).records(Run)}
    assert first["measured"] == measured
    [(task, probe)] = Store(tmp_path).records(Probe)
    assert (task, probe.candidate, probe.losses) == ("sums", "gpt", first["losses"])


def test_the_kernel_of_a_method_beside_the_losses_of_its_runs(capsys, model, sums_file, tmp_path):
    select = ["select", sums_file, "--models", model, "--sizes", 20, "--num-train-epochs", 1, "--output-dir", tmp_path]
    both = ["--methods", "full", "lora", "--lora-r", 4, "--max-test-examples", 10]
    with pytest.raises(SystemExit):
        main([*map(str, select), *map(str, both)])
    capsys.readouterr()
    runs = {run.candidate: run for _, run in Store(tmp_path).records(Run) if run.examples == 20}
    same = ["--model", model, "--task", sums_file, "--probe", 16, "--output-dir", tmp_path]
    full = json.loads(run(capsys, *same, "--json")[1])
    lora = json.loads(run(capsys, *same, "--json", "--method", "lora", "--lora-r", 4)[1])
    assert lora["measured"]["20"] == runs["gpt lora r4"].nats_per_byte
    assert full["measured"]["20"] == runs["gpt full"].nats_per_byte
    assert (full["method"], lora["method"]) == ("full", "lora r4")
    assert full["trained_parameters"] == full["parameters"] == lora["parameters"]
    assert lora["trained_parameters"] == runs["gpt lora r4"].trained_parameters
    assert full["trace"] != lora["trace"]
    assert len(Store(tmp_path).records(Probe)) == 2
    shown = run(capsys, *same, "--method", "lora", "--lora-r", 4)[1]
    assert f"The kernel is over what is trained: {lora['trained_parameters']:,} of lora r4" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--probe", "500"], "500 examples asked for, and sums has 136 training examples: ask for fewer"),
        (["--probe", "2"], "2 probe examples are too few"),
        (["--model", "BROKEN"], "its logits are not finite: its weights are damaged"),
        (["--save", "NOWHERE/k.npz"], "cannot be written: there is no folder"),
        (["--html", "NOWHERE/k.html"], "cannot be written: there is no folder"),
        (["--curves", "OTHER"], "has no losses of gpt: its candidates are other"),
        (
            ["--method", "lora", "--lora-target-modules", "q_proj"],
            "it has no layers that LoRA can be put into (q_proj)",
        ),
        (["--model", "nonsense"], "no model 'nonsense'"),
        (["--task", "nowhere.jsonl"], "no such task file"),
    ],
)
def test_bad_input_is_one_sentence_and_stores_nothing(arguments, message, capsys, model, sums_file, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(model, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["transformer.wte.weight"][5:] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "other.csv").write_text("candidate,examples,loss\nother,50,9.75\n")
    places = {"BROKEN": broken, "OTHER": tmp_path / "other.csv"}
    given = [str(places.get(a, a)).replace("NOWHERE", str(tmp_path / "nowhere")) for a in arguments]
    rest = {
        "--model": model,
        "--task": sums_file,
        "--probe": 16,
        "--save": tmp_path / "k.npz",
        "--output-dir": tmp_path,
    }
    for option, value in rest.items():
        if option not in given:
            given += [option, str(value)]
    code, printed, error = run(capsys, *given)
    assert code == 2
    assert printed == ""
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("k.*"))
    assert not (tmp_path / "runs.sqlite").exists() or Store(tmp_path).records(Probe) == []
