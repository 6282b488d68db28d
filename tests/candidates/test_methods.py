"""Ways to tune a model: what they change, what they cost, and that they are alike where they must be."""

from __future__ import annotations

import pytest
import torch

from lensllm.candidates import Full, Lora, NoTuning, cross, find_candidate
from lensllm.candidates.load import load_model
from lensllm.errors import InputError
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.loss import evaluate
from lensllm.tuning.training_config import TrainingConfig

QUICK = TrainingConfig(
    num_train_epochs=1, max_test_examples=10, max_validation_examples=10, learning_rate_trials=(1.0,)
)
METHODS = [Full(), Lora(lora_r=4), Lora(lora_r=4, use_dora=True), Lora(lora_r=4, use_rslora=True, lora_dropout=0.1)]
MODELS = ("gpt", "llama", "t5")


@pytest.fixture
def candidates(model_folders):
    return {name: find_candidate(str(model_folders[name])) for name in MODELS}


@pytest.fixture
def task(sums_file):
    return read_task(sums_file)


def tuned(candidate, method, task, examples=24, config=QUICK):
    [made] = cross([candidate], [method], Lora()).candidates
    return fine_tune(EncodedTask(made, task, config), examples)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", METHODS, ids=str)
class TestEveryMethod:
    def test_nothing_is_changed_before_training(self, candidates, task, name, method):
        model = load_model(candidates[name])
        examples = EncodedTask(candidates[name], task, QUICK).split("test")
        before = evaluate(model, examples).nats
        assert evaluate(method.prepare(model, seed=3), examples).nats == pytest.approx(before, rel=1e-6)

    def test_what_is_trained_is_told_and_the_rest_stays(self, candidates, task, name, method):
        model = method.prepare(load_model(candidates[name]))
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        run = tuned(candidates[name], method, task)
        assert run.trained_parameters == trained
        assert run.parameters == sum(p.numel() for p in load_model(candidates[name]).parameters())
        assert (trained < run.parameters) == (method.name == "lora")

    def test_runs_are_repeated_to_the_bit_and_learn(self, candidates, task, name, method):
        run, again = (tuned(candidates[name], method, task) for _ in range(2))
        assert (run.nats_per_byte, run.flops) == (again.nats_per_byte, again.flops)
        assert run.nats_per_byte < tuned(candidates[name], method, task, 0).nats_per_byte


@pytest.mark.parametrize("name", MODELS)
def test_an_adapter_moves_no_weight_of_the_model(candidates, task, name):
    """After training the weights that are not the adapter's are those of the files."""
    [candidate] = cross([candidates[name]], [Lora(lora_r=4)], Lora()).candidates
    kept = []
    fine_tune(EncodedTask(candidate, task, QUICK), 24, keep=kept.append)
    now = {key.replace(".base_layer", ""): p for key, p in kept[0].named_parameters() if "lora_" not in key}
    before = dict(load_model(candidates[name]).named_parameters())
    assert now.keys() == before.keys()
    assert all(torch.equal(now[key], before[key]) for key in before)


def test_another_seed_draws_another_adapter(candidates):
    first, same, other = (Lora().prepare(load_model(candidates["llama"]), seed) for seed in (0, 0, 1))
    a, b, c = (next(p for key, p in m.named_parameters() if "lora_A" in key) for m in (first, same, other))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_step_of_lora_costs_two_passes_and_its_adapters(name):
    from transformers import AutoConfig, AutoModelForCausalLM

    size = {"vocab_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 128}
    width = {"hidden_size": 128, "intermediate_size": 256, "num_key_value_heads": 2} if name == "llama" else {}
    more = {"n_embd": 128, "n_layer": 2, "n_head": 2} if name == "gpt2" else {}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **size | width | more))
    full = FlopMeter(model)
    lora = FlopMeter(Lora(lora_r=2).prepare(model))
    assert not full.estimated
    assert not lora.estimated
    assert lora.of(64, 32, training=True) / full.of(64, 32, training=True) == pytest.approx(2 / 3, rel=0.1)


def test_models_are_crossed_with_methods(candidates):
    made = cross([candidates["gpt"], candidates["llama"]], [Full(), Lora(lora_r=4)], Lora()).candidates
    assert [one.name for one in made] == ["gpt full", "gpt lora r4", "llama full", "llama lora r4"]
    assert [one.model_name for one in made] == ["gpt", "gpt", "llama", "llama"]
    assert [one.name for one in cross([candidates["gpt"]], [Lora()], Lora()).candidates] == ["gpt"]


def test_large_models_are_tuned_by_lora_and_that_is_said(candidates, monkeypatch):
    monkeypatch.setattr("lensllm.candidates.crossing.LORA_FROM", 1)
    found = cross([candidates["gpt"]], [], Lora(lora_r=8))
    assert found.candidates[0].method == Lora(lora_r=8)
    assert "gpt is tuned by LoRA (r 8, alpha 32, all linear layers)" in found.notes[0]


def test_a_method_that_a_model_cannot_take_is_refused_before_weights_are_read(candidates, monkeypatch):
    def unread(*_, **__):
        raise AssertionError("weights are read")

    monkeypatch.setattr("lensllm.candidates.load._from_files", unread)
    both = [Full(), Lora(lora_target_modules=("q_proj", "v_proj"))]
    found = cross([candidates["gpt"], candidates["llama"]], both, Lora())
    assert [one.name for one in found.candidates] == ["gpt full", "llama full", "llama lora r16"]
    assert "it has no layers that LoRA can be put into (q_proj, v_proj)" in found.refused["gpt lora r16"]
    with pytest.raises(InputError, match="no layers that LoRA can be put into"):
        cross([candidates["gpt"]], both[1:], Lora())
    with pytest.raises(InputError, match="output layer lm_head shares its weights with the embeddings"):
        cross([candidates["gpt"]], [Lora(lora_target_modules=("c_attn", "lm_head"))], Lora())


def test_nothing_is_trained_without_a_method():
    assert NoTuning().base_learning_rate(1) == 0.0
