import numpy as np
import pytest
import torch
from cases import batch, tiny
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from lensllm.errors import InputError
from lensllm.probes.log_me import log_me, prompt_features


@pytest.mark.parametrize("shape", [(40, 6), (12, 20)])
def test_equals_the_maximised_marginal_likelihood(shape):
    """The evidence is the density of the labels under N(0, F F^T / alpha + I / beta)."""
    n = shape[0]
    random = np.random.default_rng(0)
    features = random.normal(size=shape)
    labels = (features[:, 0] + 0.5 * random.normal(size=n) > 0).astype(int)

    def cost(precisions, target):
        alpha, beta = np.exp(precisions)
        return -multivariate_normal.logpdf(target, np.zeros(n), features @ features.T / alpha + np.eye(n) / beta)

    best = [-minimize(cost, (0, 0), args=((labels == kind).astype(float),)).fun / n for kind in (0, 1)]
    assert log_me(features, labels) == pytest.approx(np.mean(best), abs=2e-3)


def test_features_that_know_the_label_score_higher():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 120)
    blind = random.normal(size=(120, 10))
    knowing = blind + np.eye(10)[labels]
    assert log_me(knowing, labels) > log_me(blind, labels) + 0.05


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_prompts_are_read_and_completions_are_labels(family):
    model, data = tiny(family), batch("t5", examples=6)
    labels = torch.full_like(data["labels"], -100)
    kinds = torch.tensor([5, 9, 5, 5, 9, 9])
    if family == "t5":
        labels[:, 0] = kinds
    else:
        ends = data["attention_mask"].sum(1) - 1
        data["input_ids"][torch.arange(6), ends] = kinds
        labels[torch.arange(6), ends] = kinds
    features, found = prompt_features(model, [{**data, "labels": labels}])
    assert features.shape == (6, 16)
    assert found.tolist() == [0, 1, 0, 0, 1, 1]
    assert np.isfinite(log_me(features, found))


def test_bad_input():
    with pytest.raises(InputError, match="one of a few labels"):
        prompt_features(tiny("gpt2"), [batch("gpt2")])
    with pytest.raises(InputError, match="at least two different labels"):
        log_me(np.ones((3, 2)), np.zeros(3, int))
    with pytest.raises(InputError, match="finite"):
        log_me(np.full((3, 2), np.nan), np.array([0, 1, 1]))
