import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from tiny_models import NAMES, examples, model

import lensllm
from lensllm.candidates import Lora, find_candidate
from lensllm.errors import InputError
from lensllm.store import Store
from lensllm.tasks import read_task
from lensllm.theory.bound import (
    Bound,
    LayerTerm,
    bound,
    decays,
    example_losses,
    fit_decay,
    load_bounds,
    save_bounds,
)
from lensllm.theory.bound_job import BoundOf, BoundTerms
from lensllm.theory.curvature import LayerHessian, flatten, layers
from lensllm.theory.other_bounds import distance_from_initialization, parameter_counting
from lensllm.tuning.context import Context
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.training_config import TrainingConfig


def moved(name, amount=0.02):
    """A model, its pre-trained parameters and its examples."""
    m = model(name)
    before = {key: p.detach().clone() for key, p in m.named_parameters()}
    torch.manual_seed(3)
    with torch.no_grad():
        for p in m.parameters():
            p.add_(amount * torch.randn_like(p))
    return m, before, examples(name)


def made(n=100, h=(0.04, 0.09), train=1.0, test=1.2, largest=4.0):
    layers = tuple(LayerTerm(f"l{i}", 10, 1.0, value, value, value, 5) for i, value in enumerate(h))
    return Bound("m", n, train, test, largest, False, layers, 8, 1.0)


def test_every_term_by_hand():
    b = made()
    assert b.sum_sqrt_h == pytest.approx(0.5)
    assert b.curvature == pytest.approx(2 * 0.5 / 10)
    assert b.curvature_jensen == pytest.approx(2 * math.sqrt(2 * 0.13) / 10)
    assert b.gap == pytest.approx(0.2)
    assert b.distance == pytest.approx(math.sqrt(2))
    eps = b.epsilon
    assert b.confidence == pytest.approx(4 * (1 + eps) ** 2 * math.log(100) / (2 * eps * 100))
    assert b.value == pytest.approx((1 + eps) * 1.0 + (1 + eps) * 0.1 + b.confidence)


@pytest.mark.parametrize("n", [1, 50, 10**6])
@pytest.mark.parametrize("train", [0.0, 0.01, 3.0])
def test_epsilon_is_the_best(n, train):
    b = made(n=n, train=train)

    def at(log_eps):
        eps = math.exp(log_eps)
        return (1 + eps) * (train + b.curvature) + 4 * (1 + eps) ** 2 * math.log(100) / (2 * eps * n)

    assert b.value == pytest.approx(minimize_scalar(at, bounds=(-20, 5), method="bounded").fun, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_has_its_terms(name):
    m, before, data = moved(name)
    found = bound("m", before, m, data, data, max_steps=8)
    after = {key: p.detach() for key, p in m.named_parameters()}
    for (layer, names), term in zip(layers(m).items(), found.layers, strict=True):
        v = flatten(after, names) - flatten(before, names)
        assert (term.layer, term.parameters) == (layer, v.numel())
        assert term.distance == pytest.approx(float(v.norm()))
        assert term.h_low <= term.h
        assert term.h_mean <= term.h
        assert 1 <= term.steps <= 8
    assert found.train_loss == pytest.approx(example_losses(m, data).mean())
    assert found.largest_loss == pytest.approx(example_losses(m, data).max())
    assert found.sample == len(data)
    assert found.flops > 0


@pytest.mark.parametrize("name", ["transformer.h.0.mlp.c_proj.bias", "transformer.ln_f.weight"])
def test_the_interval_of_h_holds_the_maximum_of_the_dense_values(name):
    m, before, data = moved("gpt", 0.3)
    found = bound("m", before, m, data, data, max_steps=3, per="matrix")
    term = next(term for term in found.layers if term.layer == name)
    v = (dict(m.named_parameters())[name].detach() - before[name]).flatten()
    dense = []
    for example in data:
        hessian = LayerHessian(m, [name], [example], name)
        matrix = hessian.each(torch.eye(len(v), dtype=torch.float64), np.zeros(len(v), dtype=int))
        eigenvalues, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
        dense.append(float(((vectors.T @ v) ** 2 * eigenvalues.clamp_min(0)).sum()))
    assert term.h_low * (1 - 1e-9) <= max(dense) <= term.h * (1 + 1e-9)
    assert term.h <= 1.5 * max(dense)


def test_h_of_an_example_against_the_change_of_its_slope():
    """Where H is positive along v, v^T H v is the change of the slope along v; the bound's h is no smaller."""
    m, before, data = moved("gpt")
    found = bound("m", before, m, data, data, relative=0.1, max_steps=30, per="matrix")
    name = "transformer.h.0.mlp.c_proj.weight"
    h = next(term.h for term in found.layers if term.layer == name)
    v = dict(m.named_parameters())[name].detach() - before[name]
    slopes = []
    for step in (-1e-3, 0.0, 1e-3):
        at = copy.deepcopy(m)
        with torch.no_grad():
            dict(at.named_parameters())[name].add_(step * v)
        slopes.append(example_losses(at, data))
    second = (slopes[0] - 2 * slopes[1] + slopes[2]) / 1e-6
    assert h >= second.max() * (1 - 1e-3)


def test_clipping_bounds_every_loss():
    m, before, data = moved("gpt")
    losses = example_losses(m, data)
    clip = float(np.median(losses))
    found = bound("m", before, m, data, data, clip=clip)
    assert found.clipped
    assert found.largest_loss == clip
    assert found.train_loss == pytest.approx(np.minimum(losses, clip).mean())


def test_a_frozen_layer_adds_nothing():
    m, before, data = moved("gpt")
    with torch.no_grad():
        for key, p in m.named_parameters():
            if key.startswith("transformer.h.0"):
                p.copy_(before[key])
    block = next(t for t in bound("m", before, m, data, data).layers if t.layer == "transformer.h.0")
    assert (block.h, block.distance, block.steps) == (0, 0, 0)


def test_bad_input_names_the_layer():
    m, before, data = moved("gpt")
    with pytest.raises(InputError, match=r"zero-shot.*no displacement"):
        bound("m", {key: p.detach() for key, p in m.named_parameters()}, m, data, data)
    other = before | {"transformer.h.0.mlp.c_fc.weight": torch.zeros(2, 2)}
    with pytest.raises(InputError, match=r"layer 'transformer.h.0': .*c_fc.weight is \(8, 32\).*\(2, 2\)"):
        bound("m", other, m, data, data)
    with pytest.raises(InputError, match=r"tuned model has no transformer.h.9.weight"):
        bound("m", before | {"transformer.h.9.weight": torch.zeros(1)}, m, data, data)
    with pytest.raises(InputError, match="clipped at a number above 0"):
        bound("m", before, m, data, data, clip=0)
    with pytest.raises(InputError, match="needs training and test examples"):
        bound("m", before, m, [], data)
    with torch.no_grad():
        m.transformer.h[0].mlp.c_fc.weight[0, 0] = torch.nan
    with pytest.raises(
        InputError, match=r"layer 'transformer.h.0': tuned .*c_fc.weight has values that are not numbers"
    ):
        bound("m", before, m, data, data)


def test_decay_finds_the_exponents_it_was_made_with():
    sizes = (50, 100, 200, 400, 800)
    rows = [made(n=n, h=(0.5 * 3 * n**-0.2, 0.5 * 3 * n**-0.2)) for n in sizes]
    decay = fit_decay(rows)
    assert decay.beta2 == pytest.approx(0.2)
    assert decay.c2 == pytest.approx(3)
    assert decay.c3 == pytest.approx(math.sqrt(4 * 2 * 3))
    assert decay.beta3 == pytest.approx(0.6)
    assert decay.power_from == 0
    for row in rows:
        power = decay.c3 * row.examples**-decay.beta3
        assert power == pytest.approx(row.curvature_jensen)
        assert power >= row.curvature * (1 - 1e-9)


def test_the_power_law_lies_above_every_rung_however_they_scatter():
    rng = np.random.default_rng(0)
    rows = [made(n=n, h=tuple(rng.exponential(1, 3))) for n in (50, 100, 200, 400)]
    decay = fit_decay(rows)
    assert all(decay.c3 * row.examples**-decay.beta3 >= row.curvature * (1 - 1e-9) for row in rows)
    assert decay.beta2_interval[0] < decay.beta2 < decay.beta2_interval[1]


def test_where_the_power_term_begins():
    never = [made(n=n, h=(n**-0.8,)) for n in (50, 100, 200)]
    assert fit_decay(never).power_from == math.inf
    later = [made(n=n, h=(1e-4,), largest=1.0) for n in (50, 100, 200)]
    begins = fit_decay(later).power_from
    assert 1e-2 * begins**-0.5 == pytest.approx(begins**-0.75)
    with pytest.raises(InputError, match="3 or more sizes"):
        fit_decay(never[:2])


def test_saved_bounds_come_back_and_damage_is_named(tmp_path):
    rows = [made(n=n) for n in (50, 100, 200)]
    save_bounds(tmp_path, "t", rows)
    assert load_bounds(tmp_path, "t") == {"m": rows}
    assert load_bounds(tmp_path, "another") == {}
    assert load_bounds(tmp_path / "empty") == {}
    assert set(decays(load_bounds(tmp_path))) == {"m"}
    for damage in ("{", "[]", json.dumps({"task": "t", "candidates": {"m": [{}]}})):
        (tmp_path / "bound.json").write_text(damage)
        with pytest.raises(InputError, match=r"bound.json is damaged"):
            load_bounds(tmp_path)


def test_a_ladder_is_bounded_and_its_bounds_hold(model_folders, sums_file, tmp_path):
    """And what was computed is kept: the second call trains nothing."""
    model = str(model_folders["gpt"])
    report = lensllm.bound(model, sums_file, sizes=[100, 50], output_dir=tmp_path)
    assert [b.examples for b in report.bounds] == [50, 100]
    for b in report.bounds:
        assert b.value > b.test_loss
        assert b.curvature <= b.curvature_jensen
    runs = [record for _, record in Store(tmp_path).records(BoundTerms)]
    assert [(run.examples, run.bound) for run in runs] == [(b.examples, b) for b in report.bounds]
    plain = FineTune(find_candidate(model), read_task(sums_file), TrainingConfig(), 50)
    assert runs[0].nats_per_byte == plain.run(Context()).nats_per_byte
    again = lensllm.bound(model, sums_file, sizes=[100, 50], output_dir=tmp_path)
    assert again.to_dict() == report.to_dict()
    with pytest.raises(InputError, match="size 10000 is outside"):
        lensllm.bound(model, sums_file, sizes=[10000])


def test_other_bounds_by_hand():
    assert parameter_counting(1.0, 2.0, 100, 1000) == pytest.approx(
        1 + 2 * math.sqrt((16000 * math.log(2) + math.log(100)) / 200)
    )
    m, _, data = moved("gpt")
    weights = [p.detach().clone() for p in m.parameters()]
    near = distance_from_initialization(m, data, 0.1, 5.0)
    far = distance_from_initialization(m, data, 10.0, 5.0)
    assert example_losses(m, data).mean() < near < far
    assert all(torch.equal(a, b) for a, b in zip(weights, m.parameters(), strict=True))


def adapted(name, amount=0.3):
    """A model with adapters, what they began as, and its examples."""
    m = Lora(lora_r=2).prepare(model(name)).double()
    before = {key: p.detach().clone() for key, p in m.named_parameters() if p.requires_grad}
    torch.manual_seed(3)
    with torch.no_grad():
        for p in m.parameters():
            if p.requires_grad:
                p.add_(amount * torch.randn_like(p))
    m.set_attn_implementation("eager")
    return m, before, examples(name)


@pytest.mark.parametrize("name", ["gpt", "llama", "t5"])
def test_the_bound_of_adapters_is_over_their_displacement_alone(name):
    """v and the Hessian are those of A and B; the truth is a dense Hessian of the loss by torch.func."""
    m, before, data = adapted(name)
    found = bound("m", before, m, data[:2], data, relative=1e-3, max_steps=30, per="matrix")
    assert {term.layer for term in found.layers} == set(before)
    term = min(found.layers, key=lambda one: (one.parameters, one.layer))
    start = {key: p.detach() for key, p in m.named_parameters()}
    v, shape = (start[term.layer] - before[term.layer]).flatten(), start[term.layer].shape
    dense = []
    for example in data[:2]:
        hessian = LayerHessian(m, [term.layer], [example], name)
        batch = {key: t[:, 0] for key, t in hessian._batch([example]).items()}
        loss = lambda flat: hessian._loss({term.layer: flat.view(shape)}, batch.copy())  # noqa: B023, E731
        matrix = torch.func.hessian(loss)(start[term.layer].flatten())
        eigenvalues, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
        dense.append(float(((vectors.T @ v) ** 2 * eigenvalues.clamp_min(0)).sum()))
    assert term.distance == pytest.approx(float(v.norm()))
    assert term.h_low * (1 - 1e-6) <= max(dense) <= term.h * (1 + 1e-6)
    assert term.h <= 1.1 * max(dense) + 1e-12


def test_the_job_bounds_what_its_method_trained(model_folders, sums_file):
    candidate = replace(find_candidate(str(model_folders["gpt"])), method=Lora(lora_r=2))
    quick = TrainingConfig(num_train_epochs=1, max_test_examples=10, learning_rate_trials=(0.3,))
    made = BoundOf(candidate, read_task(sums_file), quick, 20).record(Context())
    assert made.bound is not None
    assert sum(term.parameters for term in made.bound.layers) == made.trained_parameters < made.parameters
    assert made.bound.distance > 0
    assert made.bound.value > made.bound.test_loss


def test_an_adapters_folder_is_refused(model_folders, sums_file, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="holds an adapter of peft, which does not say from which drawn weights"):
        lensllm.bound(str(model_folders["gpt"]), str(sums_file), tuned=tmp_path)
