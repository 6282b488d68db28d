import warnings

import numpy as np
import pytest
import torch
from tiny_models import NAMES, examples, model
from torch.func import functional_call

from lensllm.errors import InputError
from lensllm.tasks.encoded import collate
from lensllm.theory.bound import example_losses
from lensllm.theory.curvature import (
    OUTSIDE,
    LayerHessian,
    flatten,
    largest_eigenvalues,
    layers,
    positive_part,
    spectral_density,
    trace,
)


def loss_at(m, names, example):
    """The loss of one example as a function of a layer's flat parameters, written out anew."""
    shapes = {name: dict(m.named_parameters())[name].shape for name in names}
    batch = collate([example])

    def loss(flat):
        part, start = {}, 0
        for name, shape in shapes.items():
            part[name] = flat[start : start + shape.numel()].view(shape)
            start += shape.numel()
        labels = batch["labels"]
        if m.config.is_encoder_decoder:
            logits = functional_call(m, part, (), batch).logits
        else:
            logits = functional_call(m, part, (), {"input_ids": batch["input_ids"]}).logits[:, :-1]
            labels = labels[:, 1:]
        nats = torch.nn.functional.cross_entropy(logits[0], labels[0], ignore_index=-100, reduction="sum")
        return nats / example.n_bytes

    return loss


def dense(m, names, example):
    """The whole Hessian of one example and layer."""
    flat = flatten(dict(m.named_parameters()), names)
    return torch.autograd.functional.hessian(loss_at(m, names, example), flat, vectorize=True).numpy()


def direction(m, names, seed=0):
    size = len(flatten(dict(m.named_parameters()), names))
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def all_double(monkeypatch):
    """Norms and softmaxes that compute in single precision by themselves compute in double."""
    monkeypatch.setattr(torch, "float32", torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


@pytest.mark.parametrize("name", NAMES)
def test_products_of_every_layer_against_finite_differences(name, all_double):
    m, data = model(name), examples(name)
    parameters = dict(m.named_parameters())
    for layer, names in layers(m).items():
        v = direction(m, names)
        product = LayerHessian(m, names, data, layer).each(v[None].repeat(len(data), 1), np.arange(len(data)))
        for row, example in zip(product, data, strict=True):
            gradient = torch.func.grad(loss_at(m, names, example))
            flat, step = flatten(parameters, names), 1e-5
            difference = (gradient(flat + step * v) - gradient(flat - step * v)) / (2 * step)
            assert (row - difference).norm() <= 1e-6 * difference.norm(), layer


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_the_one_that_bounds_report(name):
    m, data = model(name), examples(name)
    names = layers(m)[OUTSIDE]
    flat = flatten(dict(m.named_parameters()), names)
    written_out = [loss_at(m, names, example)(flat).item() for example in data]
    np.testing.assert_allclose(example_losses(m, data), written_out, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_quadrature_against_the_dense_positive_part_of_every_layer(name):
    m, data = model(name), examples(name, 1)
    for layer, names in layers(m).items():
        v = direction(m, names)
        found = positive_part(LayerHessian(m, names, data, layer).each, v[None], relative=1e-3, max_steps=400)
        eigenvalues, vectors = np.linalg.eigh(dense(m, names, data[0]))
        true = float(((vectors.T @ v.numpy()) ** 2 * np.maximum(eigenvalues, 0)).sum())
        assert abs(found.value[0] - true) <= 1e-3 * true, layer
        assert abs(found.value[0] - true) <= found.error[0] <= 1.01e-3 * true, layer


def test_the_mean_hessian_is_the_mean_of_the_hessians():
    m, data = model("llama"), examples("llama")
    names = layers(m)["model.layers.0"]
    hessian = LayerHessian(m, names, data, "b")
    v = direction(m, names)
    each = hessian.each(v[None].repeat(3, 1), np.arange(3)).mean(0)
    torch.testing.assert_close(hessian.mean(v[None], np.array([0]))[0], each)
    assert hessian.products == 6


@pytest.mark.parametrize("name", NAMES)
def test_an_example_alone_has_the_product_it_has_in_a_batch(name):
    """Norms of a llama are formed in float32 even where its weights are in float64."""
    close = {"rtol": 1e-5, "atol": 1e-5} if name == "llama" else {}
    m, data = model(name), examples(name)
    names = layers(m)[OUTSIDE]
    v = direction(m, names)[None].repeat(3, 1)
    together = LayerHessian(m, names, data, "b").each(v, np.arange(3))
    for i, example in enumerate(data):
        alone = LayerHessian(m, names, [example], "b").each(v[:1], np.array([0]))
        torch.testing.assert_close(alone[0], together[i], **close)


def test_a_maximum_needs_fewer_steps_than_every_value():
    m, data = model("gpt"), examples("gpt")
    names = layers(m)["transformer.h.0"]
    v = direction(m, names)[None].repeat(3, 1)
    each = positive_part(LayerHessian(m, names, data, "b").each, v, relative=0.05, max_steps=200)
    largest = positive_part(LayerHessian(m, names, data, "b").each, v, relative=0.05, max_steps=200, of_largest=True)
    assert largest.steps.sum() < each.steps.sum()
    assert largest.value.max() == pytest.approx(each.value.max(), rel=0.1)


def test_no_displacement_has_no_curvature():
    found = positive_part(lambda rows, which: rows, torch.zeros(2, 3))
    assert found.value.tolist() == found.error.tolist() == [0, 0]


def test_spectrum_against_the_dense_truth():
    m, data = model("gpt"), examples("gpt", 1)
    names = layers(m)["transformer.h.0"]
    matrix = dense(m, names, data[0])
    true = np.linalg.eigvalsh(matrix)
    hessian = LayerHessian(m, names, data, "b")
    top = largest_eigenvalues(hessian.mean, direction(m, names, 5), 3, relative=1e-6)
    np.testing.assert_allclose(top.value, true[::-1][:3], rtol=1e-4)
    assert (np.abs(top.value - true[::-1][:3]) <= top.error + 1e-9).all()
    single = torch.tensor(matrix).float()
    summed = trace(lambda rows, which: rows @ single, len(true), relative=0.02, most=2000)
    assert abs(summed.value - true.sum()) <= 4 * summed.standard_error
    assert summed.standard_error <= 0.02 * abs(summed.value) or summed.vectors == 2000
    density = spectral_density(lambda rows, which: rows @ single, len(true), vectors=8)
    width = np.diff(density.eigenvalues)[0]
    assert density.density.sum() * width == pytest.approx(1, abs=0.01)
    assert (density.density * density.eigenvalues).sum() * width == pytest.approx(true.mean(), abs=0.05 * true.max())


def test_layers_hold_every_trainable_parameter_once():
    m = model("t5")
    for per in ("block", "matrix"):
        names = [name for part in layers(m, per).values() for name in part]
        assert sorted(names) == sorted(name for name, _ in m.named_parameters())
    assert set(layers(m)) == {OUTSIDE, "encoder.block.0", "decoder.block.0"}
    m.requires_grad_(False)
    with pytest.raises(InputError, match="no parameter requires a gradient"):
        layers(m)


def test_attention_without_a_second_derivative_is_switched_and_said_once():
    m = model("gpt")
    m.set_attn_implementation("sdpa")
    with pytest.warns(UserWarning, match="'sdpa' has no second derivative"):
        LayerHessian(m, layers(m)["transformer.h.0"], examples("gpt"), "b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LayerHessian(m, layers(m)["transformer.h.0"], examples("gpt"), "b")
    assert m.config._attn_implementation == "eager"


def test_a_product_that_is_not_finite_names_the_layer():
    m = model("gpt")
    with torch.no_grad():
        m.transformer.h[0].mlp.c_fc.weight[0, 0] = torch.nan
    hessian = LayerHessian(m, layers(m)["transformer.h.0"], examples("gpt"), "transformer.h.0")
    with pytest.raises(InputError, match=r"layer 'transformer.h.0': a product .* not finite"):
        hessian.each(torch.ones(3, hessian.size, dtype=torch.float64), np.arange(3))


def test_more_eigenvalues_than_parameters_is_refused():
    with pytest.raises(InputError, match="asked for 4 eigenvalues of a layer with 3 parameters"):
        largest_eigenvalues(lambda rows, which: rows, torch.ones(3), 4)
