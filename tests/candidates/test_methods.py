"""Ways to tune a model: what they change, what they cost, and that they are alike where they must be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lensllm.candidates import Full, Lora, NoTuning, Qlora, cross, find_candidate
from lensllm.candidates.four_bits import _unpacks, elements
from lensllm.candidates.load import load_model
from lensllm.errors import InputError
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import FineTune, fine_tune
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.loss import evaluate
from lensllm.tuning.training_config import TrainingConfig

QUICK = TrainingConfig(
    num_train_epochs=1, max_test_examples=10, max_validation_examples=10, learning_rate_trials=(0.3,)
)
METHODS = [
    Full(),
    Lora(lora_r=4),
    Lora(lora_r=4, use_dora=True),
    Lora(lora_r=4, use_rslora=True, lora_dropout=0.1),
    Qlora(lora_r=4),
    Qlora(lora_r=4, use_dora=True),
]
MODELS = ("gpt", "llama", "t5")


@pytest.fixture
def candidates(wide_model_folders):
    return {name: find_candidate(str(wide_model_folders[name])) for name in MODELS}


@pytest.fixture
def task(sums_file):
    return read_task(sums_file)


def crossed(models, methods, lora=None):
    return cross([(model, method) for model in models for method in methods or [None]], lora or Lora())


def tuned(candidate, method, task, examples=24, config=QUICK):
    [made] = crossed([candidate], [method]).candidates
    return fine_tune(EncodedTask(made, task, config), examples)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", METHODS, ids=str)
class TestEveryMethod:
    def test_nothing_is_changed_before_training(self, candidates, task, name, method):
        model = load_model(replace(candidates[name], method=method))
        examples = EncodedTask(candidates[name], task, QUICK).split("test")
        before = evaluate(model, examples).nats
        assert evaluate(method.prepare(model, seed=3), examples).nats == pytest.approx(before, rel=1e-6)

    def test_what_is_trained_is_told_and_the_rest_stays(self, candidates, task, name, method):
        model = method.prepare(load_model(replace(candidates[name], method=method)))
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        run = tuned(candidates[name], method, task)
        assert run.trained_parameters == trained
        assert run.parameters == sum(p.numel() for p in load_model(candidates[name]).parameters())
        assert (trained < run.parameters) == (method != Full())

    def test_runs_are_repeated_to_the_bit_and_learn(self, candidates, task, name, method):
        run, again = (tuned(candidates[name], method, task) for _ in range(2))
        assert (run.nats_per_byte, run.flops) == (again.nats_per_byte, again.flops)
        assert run.nats_per_byte < tuned(candidates[name], method, task, 0).nats_per_byte


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", [Lora(lora_r=4), Qlora(lora_r=4)], ids=str)
def test_an_adapter_moves_no_weight_of_the_model(candidates, task, name, method):
    """After training the weights that are not the adapter's are those that were loaded."""
    [candidate] = crossed([candidates[name]], [method]).candidates
    kept = []
    fine_tune(EncodedTask(candidate, task, QUICK), 24, keep=kept.append)
    now = {key.replace(".base_layer", ""): p for key, p in kept[0].named_parameters() if "lora_" not in key}
    before = dict(load_model(candidate).named_parameters())
    assert now.keys() == before.keys()
    assert all(torch.equal(now[key], before[key]) for key in before)
    scales = [key for key in before if hasattr(before[key], "quant_state")]
    assert bool(scales) == (method.name == "qlora")
    assert all(torch.equal(now[key].quant_state.absmax, before[key].quant_state.absmax) for key in scales)


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


@pytest.mark.parametrize("name", MODELS)
def test_a_product_in_four_bits_costs_what_it_costs_in_float(candidates, name):
    lora, qlora = (replace(candidates[name], method=kind(lora_r=2)) for kind in (Lora, Qlora))
    asked, packed = (FlopMeter(one.method.prepare(load_model(one))) for one in (lora, qlora))
    assert packed.estimated == asked.estimated
    for training in (False, True):
        expected = asked.of(32, 16, training=training)
        assert packed.of(32, 16, training=training) == pytest.approx(expected, rel=0.02)
    assert FlopMeter(load_model(qlora)).of(32, 16, training=False) == pytest.approx(
        FlopMeter(load_model(lora)).of(32, 16, training=False), rel=0.02
    )


@pytest.mark.parametrize("name", MODELS)
def test_four_bits_are_near_the_weights_that_they_stand_for(candidates, name):
    """The widest gap of NF4 is 0.304 of a block's largest weight; Conv1D of GPT-2 is packed the other way round."""
    whole = dict(load_model(candidates[name]).named_parameters())
    packed = load_model(replace(candidates[name], method=Qlora()))
    in_four_bits = {key for key, parameter in packed.named_parameters() if elements(parameter) != parameter.numel()}
    assert len(in_four_bits) >= 8
    for key, weight in packed.dequantize(torch.float32).named_parameters():
        expected = whole[key].T if name == "gpt" and key in in_four_bits else whole[key]
        if key in in_four_bits:
            assert 0 < (weight - expected).abs().max() / expected.abs().max() < 0.16
        else:
            assert torch.equal(weight, expected)


def test_one_evaluation_leaves_later_products_and_gradients_whole(candidates):
    """bitsandbytes would pack layers anew at the first one on some CPUs: in bfloat16 and without gradients."""
    candidate = replace(candidates["llama"], method=Qlora(lora_r=4))
    packed = candidate.method.prepare(load_model(candidate))
    unpacked = Lora(lora_r=4).prepare(load_model(candidate).dequantize(torch.float32))
    ids = torch.arange(12)[None] + 1
    with torch.no_grad():
        packed.eval()(ids)
    gradients = []
    for model in (packed, unpacked):
        logits = model.train()(ids).logits
        logits.square().sum().backward()
        gradients.append([logits, *(p.grad for name, p in model.named_parameters() if "lora_B" in name)])
    assert len(gradients[0]) == 15
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


def test_the_base_in_four_bits_is_measured_once_and_apart(candidates, task):
    methods = [Full(), Lora(lora_r=4), Qlora(lora_r=4), Qlora(lora_r=32)]
    made = crossed([candidates["llama"]], methods).candidates
    jobs = [FineTune(one, task, QUICK, 0) for one in made]
    assert len({job.key for job in jobs}) == 4
    full, lora, few, many = (job.shared_key for job in jobs)
    assert full == lora
    assert few == many
    assert few != full
    assert [one.untuned_name for one in made] == ["llama", "llama", "llama in NF4", "llama in NF4"]


def test_a_width_that_bitsandbytes_unpacks_wrongly_is_refused(model_folders, monkeypatch):
    """Version 0.50.2 does so on CPUs with AVX512; elsewhere it has to be made believe."""
    monkeypatch.setattr("lensllm.candidates.four_bits._unpacks", lambda width, device: width % 64 == 0)
    for name in MODELS:
        found = crossed([find_candidate(str(model_folders[name]))], [Lora(), Qlora()])
        assert [one.method for one in found.candidates] == [Lora()]
        assert "one of its layers reads 16 numbers" in found.refused[f"{name} qlora r16"]


def test_a_model_that_hardly_fits_four_bits_is_told_of(copied_wide, monkeypatch):
    folder = copied_wide("llama")
    assert not crossed([find_candidate(str(folder))], [Qlora()]).notes
    monkeypatch.setattr("lensllm.candidates.crossing.MOST", 0.9)
    [note] = crossed([find_candidate(str(folder))], [Qlora()]).notes
    assert note == "llama: only 80% of its weights are in linear layers, which QLoRA holds in 4 bits"


@pytest.mark.parametrize("width", [64, 576, 1536, 30])
def test_widths_that_come_back_from_four_bits(width):
    _unpacks.cache_clear()
    with torch.device("meta"):
        assert _unpacks(width, "cpu")


def test_a_width_is_tried_and_not_believed(monkeypatch):
    """As the fault is: a row begins with the scale of its first block, whatever it has of the block before."""

    def wrong(packed, state):
        absmax = state.absmax.repeat_interleave(64)[: state.shape.numel()]
        return right(packed, state) * absmax.roll(32).reshape(state.shape) / absmax.reshape(state.shape)

    from bitsandbytes import functional

    right = functional.dequantize_4bit
    monkeypatch.setattr(functional, "dequantize_4bit", wrong)
    assert not _unpacks.__wrapped__(64, "cpu")


def test_without_bitsandbytes_the_other_methods_go_on(candidates, monkeypatch):
    monkeypatch.setattr("lensllm.candidates.four_bits.find_spec", lambda name: None)
    found = crossed([candidates["llama"]], [Lora(), Qlora()])
    assert [one.method for one in found.candidates] == [Lora()]
    assert 'not installed: pip install "lensllm[quantized]"' in found.refused["llama qlora r16"]
    with pytest.raises(InputError, match="need bitsandbytes, which is not installed"):
        crossed([candidates["llama"]], [Qlora()])


def test_models_are_crossed_with_methods(candidates):
    made = crossed([candidates["gpt"], candidates["llama"]], [Full(), Lora(lora_r=4)]).candidates
    assert [one.name for one in made] == ["gpt full", "gpt lora r4", "llama full", "llama lora r4"]
    assert [one.model_name for one in made] == ["gpt", "gpt", "llama", "llama"]
    assert [one.name for one in crossed([candidates["gpt"]], [Lora()]).candidates] == ["gpt"]


def test_large_models_are_tuned_by_lora_and_that_is_said(candidates, monkeypatch):
    monkeypatch.setattr("lensllm.candidates.crossing.LORA_FROM", 1)
    found = crossed([candidates["gpt"]], [], Lora(lora_r=8))
    assert found.candidates[0].method == Lora(lora_r=8)
    assert "gpt is tuned by LoRA (r 8, alpha 32, all linear layers)" in found.notes[0]


def test_a_method_that_a_model_cannot_take_is_refused_before_weights_are_read(candidates, monkeypatch):
    def unread(*_, **__):
        raise AssertionError("weights are read")

    monkeypatch.setattr("lensllm.candidates.load._from_files", unread)
    both = [Full(), Lora(lora_target_modules=("q_proj", "v_proj"))]
    found = crossed([candidates["gpt"], candidates["llama"]], both)
    assert [one.name for one in found.candidates] == ["gpt full", "llama full", "llama lora r16"]
    assert "it has no layers that LoRA can be put into (q_proj, v_proj)" in found.refused["gpt lora r16"]
    with pytest.raises(InputError, match="no layers that LoRA can be put into"):
        crossed([candidates["gpt"]], both[1:])
    with pytest.raises(InputError, match="output layer lm_head shares its weights with the embeddings"):
        crossed([candidates["gpt"]], [Lora(lora_target_modules=("c_attn", "lm_head"))])


def test_nothing_is_trained_without_a_method():
    assert NoTuning().base_learning_rate(1) == 0.0


def test_one_model_tuned_in_many_ways_has_as_many_names(candidates):
    ways = [Lora(), Lora(lora_alpha=64), Lora(use_dora=True), Lora(lora_target_modules=("c_attn",)), Lora(lora_r=4)]
    names = [one.name for one in crossed([candidates["gpt"]], [*ways, Lora()]).candidates]
    assert len(names) == len(set(names)) == len(ways)
    assert names[:2] == ["gpt lora r16", "gpt lora r16 alpha 64"]
