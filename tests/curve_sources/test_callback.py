"""CurveCallback writes our table from transformers' Trainer and from TRL's."""

import math

import pandas as pd
import pytest

import lensllm
from lensllm.curve_callback import tokens_a_byte
from lensllm.curves import Curves
from lensllm.errors import InputError
from tests.conftest import sums
from tests.curve_sources.runs_elsewhere import texts, trained


def test_runs_of_a_trainer_become_a_table(tmp_path, model_folders):
    file = tmp_path / "curves.csv"
    for name, size in (("gpt", 16), ("gpt", 48), ("llama", 16)):
        callback = lensllm.CurveCallback(file, name)
        trainer = trained(model_folders[name], tmp_path / "run", size, [callback], eval_on_start=True)
        if (name, size) == ("gpt", 48):
            ratio = tokens_a_byte(trainer.get_eval_dataloader(), trainer.processing_class)
            logged = trainer.state.log_history[-2]["eval_loss"]
    curves = Curves.read(file)
    assert curves.candidates == ("gpt", "llama")
    assert curves.sizes.tolist() == [0, 16, 48]
    assert curves.losses[0, 2] == pytest.approx(logged * ratio)
    assert math.isnan(curves.losses[1, 2])
    assert set(pd.read_csv(file)["unit"]) == {"nats a byte"}


def test_bytes_are_those_of_the_completions(tmp_path, model_folders):
    trainer = trained(model_folders["gpt"], tmp_path / "run", 16)
    rows = sums(156)[140:]
    size = sum(len(row["completion"].encode()) for row in rows)
    tokens = sum(len(trainer.processing_class(row["completion"])["input_ids"]) + 1 for row in rows)
    assert tokens_a_byte(trainer.get_eval_dataloader(), trainer.processing_class) == pytest.approx(tokens / size)


def test_a_run_of_trl(tmp_path, model_folders):
    trl = pytest.importorskip("trl")
    file = tmp_path / "curves.csv"
    trainer = trl.SFTTrainer(
        model=str(model_folders["gpt"]),
        args=trl.SFTConfig(
            output_dir=str(tmp_path / "run"), num_train_epochs=1, report_to=[], use_cpu=True, bf16=False,
            eval_strategy="epoch", disable_tqdm=True,
        ),
        train_dataset=texts(16),
        eval_dataset=texts(16, skip=140),
        callbacks=[lensllm.CurveCallback(file, "gpt", unit="token")],
    )  # fmt: skip
    trainer.train()
    logged = [row["eval_loss"] for row in trainer.state.log_history if "eval_loss" in row]
    curves = Curves.read(file)
    assert (curves.sizes.tolist(), curves.losses[0].tolist()) == ([16], [pytest.approx(logged[-1])])


def test_the_best_model_is_what_counts_where_it_is_loaded(tmp_path, model_folders):
    file = tmp_path / "curves.csv"
    callback = lensllm.CurveCallback(file, "gpt", unit="token")
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "learning_rate": 0.3}
    trainer = trained(model_folders["gpt"], tmp_path / "run", 16, [callback], num_train_epochs=3, **best)
    assert Curves.read(file).losses.tolist() == [[pytest.approx(trainer.state.best_metric)]]


def test_a_run_again_takes_the_place_of_the_first(tmp_path, model_folders):
    file = tmp_path / "curves.csv"
    for rate in (3e-3, 1e-4):
        callback = lensllm.CurveCallback(file, "gpt", unit="token")
        trained(model_folders["gpt"], tmp_path / "run", 16, [callback], learning_rate=rate)
    assert len(pd.read_csv(file)) == 1


def test_packed_rows_are_no_examples(tmp_path, model_folders):
    trl = pytest.importorskip("trl")
    trainer = trl.SFTTrainer(
        model=str(model_folders["gpt"]),
        args=trl.SFTConfig(
            output_dir=str(tmp_path / "run"), packing=True, packing_strategy="wrapped", max_length=32, report_to=[],
            use_cpu=True, bf16=False, disable_tqdm=True, max_steps=1,
        ),
        train_dataset=texts(16),
        callbacks=[lensllm.CurveCallback(tmp_path / "curves.csv", "gpt")],
    )  # fmt: skip
    with pytest.raises(InputError, match="packed"):
        trainer.train()


def test_units_are_not_mixed(tmp_path, model_folders):
    file = tmp_path / "curves.csv"
    for size, unit in ((16, "byte"), (24, "token")):
        trained(model_folders["gpt"], tmp_path / "run", size, [lensllm.CurveCallback(file, "gpt", unit=unit)])
    with pytest.raises(InputError, match="several kinds in 'unit'"):
        Curves.read(file)


def test_an_unknown_unit():
    with pytest.raises(InputError, match="expected byte or token"):
        lensllm.CurveCallback("curves.csv", "a", unit="bit")
