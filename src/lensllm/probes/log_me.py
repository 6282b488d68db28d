"""LogME: the evidence of a linear model on frozen features (You et al. 2021, arXiv 2102.11005).

For labels that are one of a few. Each label's indicator y is regressed on the features F with prior precision alpha of
the weights and noise precision beta; the log evidence

    D/2 log alpha + N/2 log beta - N/2 log 2 pi - beta/2 |F m - y|^2 - alpha/2 |m|^2 - 1/2 log det(alpha I + beta F^T F)

is maximised over alpha and beta, divided by N and averaged over the labels. Larger is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lensllm.errors import InputError
from lensllm.probes.rows import base_model, is_encoder_decoder, read_examples

Floats = NDArray[np.float64]

ROUNDS = 100
TOLERANCE = 1e-6
MOST_LABELS = 0.5


def log_me(features: Floats, labels: NDArray[np.int64]) -> float:
    """Mean log evidence per example and label, nats.

    Args:
        features: shape (N, D).
        labels: shape (N,), whole numbers.

    Raises:
        InputError: if features are not finite or there are fewer than two labels.
    """
    features = np.asarray(features, dtype=float)
    if not np.isfinite(features).all():
        raise InputError("LogME needs finite features")
    kinds = np.unique(labels)
    if len(kinds) < 2:
        raise InputError("LogME needs at least two different labels")
    vectors, singular, _ = np.linalg.svd(features, full_matrices=False)
    return float(np.mean([_evidence(vectors, singular**2, features.shape, labels == kind) for kind in kinds]))


def _evidence(vectors: Floats, squares: Floats, shape: tuple[int, ...], indicator: NDArray[np.bool_]) -> float:
    n, d = shape
    target = indicator.astype(float)
    along = np.square(vectors.T @ target)
    outside = max(target @ target - along.sum(), 0.0)
    alpha = beta = 1.0
    for _ in range(ROUNDS):
        ratio = alpha / beta
        gamma = (squares / (squares + ratio)).sum()
        weight_norm = (squares * along / (squares + ratio) ** 2).sum()
        error = (along / (1 + squares / ratio) ** 2).sum() + outside
        alpha, beta = gamma / (weight_norm + 1e-5), (n - gamma) / (error + 1e-5)
        if abs(alpha / beta - ratio) <= TOLERANCE * ratio:
            break
    determinant = np.log(alpha + beta * squares).sum() + (d - len(squares)) * np.log(alpha)
    evidence = d * np.log(alpha) + n * np.log(beta / (2 * np.pi)) - beta * error - alpha * weight_norm - determinant
    return float(evidence / 2 / n)


def prompt_features(model: nn.Module, batches: Iterable[Mapping[str, Tensor]]) -> tuple[Floats, NDArray[np.int64]]:
    """Mean last hidden state over each prompt, (N, D), and which of the completions it has, (N,).

    An encoder-decoder is read at the end of its encoder.

    Raises:
        InputError: as `read_examples`; and if the completions are not one of a few labels.
    """
    base = base_model(model)
    examples = read_examples(model, batches)
    completions = [tuple(example.targets.tolist()) for example in examples]
    kinds = sorted(set(completions))
    if len(kinds) < 2 or len(kinds) > MOST_LABELS * len(examples):
        raise InputError(
            f"LogME needs completions that are one of a few labels: {len(examples)} examples have {len(kinds)} "
            "different completions"
        )
    reader = base.get_encoder() if is_encoder_decoder(model) else base.base_model
    features = []
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for example in examples:
            prompt = example.source if is_encoder_decoder(model) else example.inputs[: int(example.positions[0]) + 1]
            features.append(reader(input_ids=prompt[None]).last_hidden_state[0].mean(0).double().cpu().numpy())
    model.train(was_training)
    return np.stack(features), np.array([kinds.index(completion) for completion in completions])
