"""Batches whose logits would be many are made smaller, and nothing else changes."""

from __future__ import annotations

import pytest

from lensllm.candidates import find_candidate
from lensllm.candidates.load import load_model
from lensllm.tasks import read_task
from lensllm.tuning import loss
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.training_config import TrainingConfig

QUICK = TrainingConfig(num_train_epochs=1, max_test_examples=30, learning_rate_trials=(1.0,))
NAMES = ("gpt", "llama", "t5")


@pytest.fixture(params=NAMES)
def encoded(request, model_folders, sums_file):
    return EncodedTask(find_candidate(str(model_folders[request.param])), read_task(sums_file), QUICK)


def formed(model, watched):
    """Sizes of all logits that the model forms from now on."""
    model.get_output_embeddings().register_forward_hook(lambda _, __, logits: watched.append(logits.numel()))
    return model


def test_no_batch_has_more_logits_than_allowed(encoded, monkeypatch):
    before, after = [], []
    whole = loss.evaluate(formed(load_model(encoded.candidate), before), encoded.split("test"))
    allowed = max(before) // 3
    monkeypatch.setattr(loss, "MOST_LOGITS", allowed)
    parts = loss.evaluate(formed(load_model(encoded.candidate), after), encoded.split("test"))
    assert max(after) <= allowed < max(before)
    assert parts.nats == pytest.approx(whole.nats, rel=1e-5)
    assert (parts.tokens, parts.n_bytes) == (whole.tokens, whole.n_bytes)


def test_one_example_is_always_allowed(encoded, monkeypatch):
    monkeypatch.setattr(loss, "MOST_LOGITS", 1)
    after = []
    examples = encoded.split("test")
    loss.evaluate(formed(load_model(encoded.candidate), after), examples)
    assert len(after) == len(examples)


def test_training_takes_the_same_steps_in_smaller_parts(encoded, monkeypatch):
    whole = fine_tune(encoded, 24)
    monkeypatch.setattr(loss, "MOST_LOGITS", 320 * 24)
    parts = fine_tune(encoded, 24)
    assert parts.nats_per_byte == pytest.approx(whole.nats_per_byte, rel=1e-3)
    assert parts.flops != whole.flops  # padded otherwise
