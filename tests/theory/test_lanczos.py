import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lensllm.theory.lanczos import Lanczos, bracket

SPECTRA = {
    "decaying": lambda rng, n: rng.standard_normal(n) * np.arange(1, n + 1.0) ** -1.5,
    "outliers": lambda rng, n: np.r_[rng.exponential(10, 4), 0.1 * rng.standard_normal(n - 4)],
    "semicircle": lambda rng, n: np.linalg.eigvalsh((m := rng.standard_normal((n, n))) + m.T),
    "positive": lambda rng, n: rng.exponential(1, n) ** 3,
    "negative": lambda rng, n: -rng.exponential(1, n),
    "low rank": lambda rng, n: np.r_[rng.standard_normal(5), np.zeros(n - 5)],
}
ONE = np.array([0])


def problem(kind, seed, n=40):
    """A matrix, a vector and the true v^T H^+ v."""
    rng = np.random.default_rng(seed)
    eigenvalues = SPECTRA[kind](rng, n)
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    along = rng.standard_normal(n) * rng.exponential(1, n)
    matrix = torch.tensor(basis * eigenvalues @ basis.T)
    return matrix, torch.tensor(basis @ along), float((along**2 * np.maximum(eigenvalues, 0)).sum())


def brackets(matrix, v, steps):
    """The interval after each step, shape (steps, 2)."""
    lanczos = Lanczos(lambda rows, which: rows @ matrix, v[None])
    found = []
    for _ in range(steps):
        lanczos.step(ONE)
        found.append(np.array(bracket(lanczos.found(ONE)))[:, 0])
        if lanczos.found(ONE).beta[0, -1] == 0:
            break
    return np.array(found)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(SPECTRA)), st.integers(0, 10**6), st.floats(1e-6, 1e6))
def test_the_interval_holds_the_truth_and_never_widens(kind, seed, scale):
    matrix, v, true = problem(kind, seed)
    found = brackets(scale * matrix, v, 12)
    slack = 1e-7 * scale * float(v @ v) * float(torch.linalg.matrix_norm(matrix, 2))
    assert (found[:, 0] <= scale * true + slack).all()
    assert (found[:, 1] >= scale * true - slack).all()
    assert (np.diff(found[:, 0]) >= -slack).all()
    assert (np.diff(found[:, 1]) <= slack).all()


@pytest.mark.parametrize("kind", SPECTRA)
def test_the_interval_closes_on_the_dense_truth(kind):
    matrix, v, true = problem(kind, 3)
    low, high = brackets(matrix, v, 40)[-1]
    assert low == pytest.approx(true, rel=1e-6, abs=1e-9)
    assert high == pytest.approx(true, rel=1e-6, abs=1e-9)


def test_the_ends_are_reached_by_some_matrix():
    """After one step alpha, beta and |v| are known: two-by-two matrices with these reach both ends."""
    matrix, v, _ = problem("semicircle", 1)
    low, high = brackets(matrix, v, 1)[0]
    lanczos = Lanczos(lambda rows, which: rows @ matrix, v[None])
    lanczos.step(ONE)
    found = lanczos.found(ONE)
    reached = []
    for last in np.tan(np.linspace(-1.5707, 1.5707, 5001)) * 10:
        theta, vectors = np.linalg.eigh([[found.alpha[0, 0], found.beta[0, 0]], [found.beta[0, 0], last]])
        reached.append(float(v @ v) * (vectors[0] ** 2 * np.maximum(theta, 0)).sum())
    assert low == pytest.approx(min(reached), rel=1e-3)
    assert high == pytest.approx(max(reached), rel=1e-3)
