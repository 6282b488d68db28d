import numpy as np
import pytest
from cases import batch, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from lensllm.errors import InputError
from lensllm.probes.kernel import Kernel, kernel
from lensllm.probes.spectrum import spectrum


def made_up(n=8, vocabulary=5, seed=0, decay=1.0):
    random = np.random.default_rng(seed)
    basis = np.linalg.qr(random.normal(size=(n, n)))[0]
    gram = basis * np.arange(1, n + 1) ** -decay @ basis.T
    logits = random.normal(size=(n, vocabulary))
    log_probs = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
    index = np.stack([np.arange(n), np.ones(n), random.integers(0, vocabulary, n)], axis=1).astype(int)
    return Kernel(gram, log_probs, index, np.ones(n, int), 0.0)


def test_the_loss_is_the_matrix_exponential_applied_to_the_residual():
    measured = made_up()
    times = np.array([0, 0.3, 2.0])
    expected = [np.square(expm(-0.7 * measured.gram * t) @ measured.residual).sum() for t in times]
    assert np.allclose(spectrum(measured).loss(times, step=0.7), expected)


@pytest.mark.parametrize("output", ["scalar", "token"])
def test_it_starts_at_the_squared_residual(output):
    measured = kernel(tiny("gpt2"), [batch("gpt2")], output)
    assert spectrum(measured).loss(0) == pytest.approx(np.square(measured.residual).sum(), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10**6), st.floats(0, 3))
def test_laws_that_hold_for_every_kernel(n, seed, decay):
    measured = made_up(n, seed=seed, decay=decay)
    found = spectrum(measured)
    losses = found.loss(np.linspace(0, 50, 20))
    assert np.all(np.diff(losses) <= 1e-9 * losses[0])
    assert 1 - 1e-9 <= found.effective_rank <= n + 1e-9
    assert 0 <= found.alignment <= 1 + 1e-9
    assert found.trace == pytest.approx(np.trace(measured.gram))
    assert found.decay == pytest.approx(decay, abs=1e-6)


def test_directions_outside_the_kernel_are_never_learned():
    measured = made_up(6)
    gram = measured.gram.copy()
    gram[3], gram[:, 3] = 0, 0
    outside = Kernel(gram, measured.log_probs, measured.index, measured.n_targets, 0.0)
    assert spectrum(outside).loss(1e6) == pytest.approx(np.square(measured.residual[3]).sum(), rel=1e-6)


def test_bad_input():
    measured = made_up()
    with pytest.raises(InputError, match="training times"):
        spectrum(measured).loss([-1.0])
    nothing = Kernel(0 * measured.gram, measured.log_probs, measured.index, measured.n_targets, 0.0)
    with pytest.raises(InputError, match="kernel is zero"):
        spectrum(nothing)
