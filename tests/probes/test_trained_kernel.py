"""The kernel over what a method trains, against the dense Jacobian, and the probe of candidates by method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import VOCABULARY, batch, dense_gram, error, logits_of, tiny
from torch.func import functional_call, jacrev

from lensllm.candidates import Full, Lora, Qlora, find_candidate
from lensllm.candidates.load import load_model
from lensllm.probes.kernel import kernel
from lensllm.probes.measure import measure
from lensllm.probes.measure_job import Measure
from lensllm.tasks import read_task
from lensllm.tasks.encoded import collate
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.loss import evaluate
from lensllm.tuning.training_config import TrainingConfig

FAMILIES = ("gpt2", "llama", "t5")
SETTINGS = [Lora(lora_r=3), Lora(lora_r=3, use_rslora=True, lora_alpha=5), Lora(lora_r=3, use_dora=True)]


def jacobian_gram(model, data):
    """J J^T with J the Jacobian of the direction's logits over the adapters, one example at a time."""
    signs = np.random.default_rng(0).integers(0, 2, (1, VOCABULARY)) * 2 - 1
    direction = torch.tensor((signs[0] - signs[0].mean()) / VOCABULARY**0.5)
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    rest = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    rows = []
    for example in zip(*(data[name] for name in ("input_ids", "attention_mask", "labels")), strict=True):

        def along(part, example=example):
            called = lambda **inputs: functional_call(model, {**rest, **part}, (), inputs)  # noqa: E731
            called.config = model.config
            return logits_of(called, *example)[0] @ direction.to(next(iter(part.values())))

        found = jacrev(along)(trained)
        rows.append(torch.cat([one.flatten(1) for one in found.values()], 1).double())
    together = torch.cat(rows)
    return (together @ together.T).numpy()


@pytest.mark.parametrize("method", SETTINGS, ids=lambda method: method.whole_label)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_kernel_of_adapters_is_that_of_their_jacobian(family, method):
    model, data = method.prepare(tiny(family)), batch(family)
    model.set_attn_implementation("eager")
    assert error(kernel(model, [data]).gram, jacobian_gram(model, data)) < 1e-5


def test_it_is_what_the_formula_says():
    """One layer: scale^2 <g, g'> <A a, A a'> summed over the positions of both rows."""
    model, data = Lora(lora_r=3, lora_target_modules=("q_proj",)).prepare(tiny("llama")), batch("llama", 2)
    layer = model.model.layers[1].self_attn.q_proj
    for name, p in model.named_parameters():
        p.requires_grad = "layers.1" in name and "lora_B" in name
    seen = []
    layer.register_forward_hook(lambda _, given, out: seen.append((given[0].detach(), out)))
    a = layer.lora_A["default"].weight.detach()
    signs = np.random.default_rng(0).integers(0, 2, (1, VOCABULARY)) * 2 - 1
    direction = torch.tensor((signs[0] - signs[0].mean()) / VOCABULARY**0.5).float()
    rows = []
    for example in zip(*data.values(), strict=True):
        logits, _ = logits_of(model, *example)
        inputs, out = seen.pop()
        for value in logits @ direction:
            rows.append((inputs[0] @ a.T, torch.autograd.grad(value, out, retain_graph=True)[0][0]))
    scale = 32 / 3
    truth = [[float(((g @ h.T) * (x @ y.T)).sum()) * scale**2 for y, h in rows] for x, g in rows]
    assert error(kernel(model, [data]).gram, np.array(truth)) < 1e-4


@pytest.fixture(scope="module")
def sums_task(sums_file):
    return read_task(sums_file)


@pytest.fixture(scope="module")
def made(wide_model_folders, sums_task):
    """Encoded examples of a candidate with a method."""

    def made(name, method=None, count=16):
        candidate = replace(find_candidate(str(wide_model_folders[name])), method=method or Full())
        return candidate, EncodedTask(candidate, sums_task, TrainingConfig()).train(count)

    return made


@pytest.mark.parametrize("method", [Lora(lora_r=4), Qlora(lora_r=4), Lora(lora_r=4, use_dora=True)], ids=str)
@pytest.mark.parametrize("name", ["gpt", "llama", "t5"])
def test_a_probe_is_of_the_model_as_its_method_trains_it(made, name, method):
    candidate, examples = made(name, method)
    found = measure(candidate, examples, seed=3)
    model = method.prepare(load_model(candidate, attn_implementation="eager"), 3)
    assert found.probe.trained_parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert found.probe.parameters == measure(*made(name)).probe.parameters
    assert found.probe.zero_shot_probe_loss == pytest.approx(evaluate(model, examples).nats_per_byte, rel=1e-5)
    exact = kernel(model, [collate(examples)], tokens=8)
    assert abs(found.kernel.gram.trace() / exact.gram.trace() - 1) < 0.2
    assert np.array_equal(found.kernel.index, exact.index)


@pytest.mark.parametrize("name", ["gpt", "llama", "t5"])
def test_a_base_in_four_bits_has_the_kernel_of_its_own_products(made, name):
    method = Qlora(lora_r=4)
    model = method.prepare(load_model(made(name, method)[0], attn_implementation="eager"))
    data = batch("t5" if name == "t5" else "llama")
    found = kernel(model, [data], "scalar").gram
    assert error(found, dense_gram(model, data, "scalar")) < 1e-4
    before = Lora(lora_r=4).prepare(load_model(made(name)[0], attn_implementation="eager"))
    assert error(found, dense_gram(before, data, "scalar")) > 1e-3


def test_the_seed_draws_the_adapters(made):
    one, same, other = (measure(*made("gpt", Lora(lora_r=2)), seed=seed).kernel.gram for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)


def test_what_is_of_the_model_is_the_same_for_every_method():
    candidate = find_candidate("gpt2-0.2m-random")
    examples = EncodedTask(candidate, read_task("sentiment"), TrainingConfig()).train(16)
    full, lora = (measure(replace(candidate, method=method), examples).probe for method in (Full(), Lora()))
    assert (full.pl_alpha, full.e_tpl_lambda) == (lora.pl_alpha, lora.e_tpl_lambda)
    assert full.log_me == pytest.approx(lora.log_me, rel=1e-9)
    assert full.trained_parameters == full.parameters == lora.parameters > lora.trained_parameters
    assert full.trace > 5 * lora.trace


def test_probes_are_told_apart_by_method_and_seed(made, sums_task):
    config, candidate = TrainingConfig(), made("gpt")[0]

    def key(method, seed=0):
        job = Measure(replace(candidate, method=method), sums_task, replace(config, seed=seed), 16)
        assert job.key == job.shared_key
        return job.key

    assert key(Full()) == key(Full(), 1)
    assert len({key(Full()), key(Lora()), key(Lora(), 1), key(Lora(lora_r=2)), key(Qlora())}) == 5
