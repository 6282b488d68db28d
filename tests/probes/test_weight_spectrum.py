import numpy as np
import pytest
import torch
from cases import tiny
from scipy.integrate import quad
from transformers import GPT2Config, GPT2LMHeadModel

from lensllm.errors import InputError
from lensllm.probes.weight_spectrum import _log_integral, power_law, truncated_power_law, weight_spectrum


@pytest.mark.parametrize("alpha", [1.8, 2.5, 4.0])
def test_the_exponent_of_a_power_law_comes_back(alpha):
    random = np.random.default_rng(0)
    tail = 2 * (1 - random.random(3000)) ** (-1 / (alpha - 1))
    body = random.uniform(0.1, 2, 1000)
    found, x_min = power_law(np.concatenate([tail, body]))
    assert found == pytest.approx(alpha, rel=0.08)
    assert 1.5 < x_min < 8


def test_the_cut_off_comes_back():
    random = np.random.default_rng(0)
    values = 1 - np.log(1 - random.random(40_000)) / 0.4
    kept = values[random.random(len(values)) < values**-1.5]
    alpha, rate, x_min = truncated_power_law(kept)
    assert x_min == pytest.approx(1, rel=0.2)
    assert alpha == pytest.approx(1.5, abs=0.25)
    assert rate == pytest.approx(0.4, rel=0.15)


@pytest.mark.parametrize(("alpha", "rate"), [(0.5, 1.0), (2.0, 1e-3), (3.5, 0.2), (1.0, 1e-6), (8.0, 5.0)])
def test_the_normalisation_is_the_integral(alpha, rate):
    whole = quad(lambda s: np.exp((1 - alpha) * s - rate * np.exp(s)), 0, np.log1p(60 / rate), limit=500)[0]
    assert _log_integral(alpha, rate) == pytest.approx(np.log(whole), abs=1e-6)


def test_heavier_tails_have_smaller_exponents():
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=64, n_head=2, n_positions=8, vocab_size=50))
    light = weight_spectrum(model)
    assert light.layers == (
        "transformer.h.0.attn.c_attn",
        *(f"transformer.h.0.{n}" for n in ("attn.c_proj", "mlp.c_fc", "mlp.c_proj")),
    )
    with torch.no_grad():
        for name, module in model.named_modules():
            if name in light.layers:
                u, s, v = torch.linalg.svd(module.weight, full_matrices=False)
                heavy = s.max() * torch.arange(1, len(s) + 1) ** -0.9
                module.weight.copy_(u * heavy @ v)
    heavy_tailed = weight_spectrum(model)
    assert heavy_tailed.pl_alpha.mean() < light.pl_alpha.mean()


def test_bad_input():
    with pytest.raises(InputError, match="no linear layer has 20 eigenvalues"):
        weight_spectrum(tiny("gpt2"))
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=64, n_head=2, n_positions=8, vocab_size=50))
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.weight[0, 0] = torch.nan
    with pytest.raises(InputError, match=r"weights of transformer\.h\.0\.mlp\.c_fc are not finite"):
        weight_spectrum(model)
