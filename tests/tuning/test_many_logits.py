"""Batches whose logits would be many are made smaller, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lensllm.candidates import Lora, find_candidate
from lensllm.candidates.load import load_model
from lensllm.tasks import read_task
from lensllm.tasks.encoded import collate
from lensllm.tuning import loss
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.in_training import InTraining
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


@pytest.mark.parametrize("training", [True, False])
def test_one_example_with_more_is_taken_in_parts(encoded, monkeypatch, training):
    model = load_model(encoded.candidate).train(training)
    batch = collate(encoded.split("test")[:1])
    whole, formed_whole, gradients = losses(model, batch)
    monkeypatch.setattr(loss, "MOST_LOGITS", formed_whole // 4)
    parts, formed_at_once, same = losses(model, batch)
    assert torch.allclose(parts, whole, rtol=1e-5)
    assert formed_at_once <= formed_whole // 4
    for a, b in zip(gradients, same, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(a.abs().max()))


def losses(model, batch):
    """Losses of a batch, the most logits formed at once for them, and the gradients."""
    watched = []
    watch = model.get_output_embeddings().register_forward_hook(lambda _, __, logits: watched.append(logits.numel()))
    nats = loss.token_nats(model, batch)
    model.zero_grad()
    nats.sum().backward()
    watch.remove()
    return nats.detach(), max(watched), [p.grad.clone() for p in model.parameters()]


def test_logits_that_are_more_than_the_output_layers_are_formed_whole(monkeypatch):
    """Gemma 2 caps them after that layer."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    size = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 8}
    config = Gemma2Config(**size, num_attention_heads=2, num_key_value_heads=2, final_logit_softcapping=0.5)
    model = Gemma2ForCausalLM(config).eval()
    ids = torch.arange(24)[None]
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    whole = loss.token_nats(model, batch)
    monkeypatch.setattr(loss, "MOST_LOGITS", 100)
    assert torch.equal(loss.token_nats(model, batch), whole)


def test_logits_formed_twice_are_charged_twice(encoded, monkeypatch):
    model, batch = load_model(encoded.candidate), collate(encoded.split("test")[:1])
    meters = [FlopMeter(model) for _ in range(2)]
    meters[0].charge(batch, training=True)
    monkeypatch.setattr(loss, "MOST_LOGITS", 1)
    meters[1].charge(batch, training=True)
    head = 2 * model.get_output_embeddings().weight.numel()
    assert meters[1].total - meters[0].total == pytest.approx(head * len(loss.token_nats(model, batch)[0]), rel=0.2)


def test_training_takes_the_same_steps_in_smaller_parts(encoded, monkeypatch):
    whole = fine_tune(encoded, 24)
    monkeypatch.setattr(loss, "MOST_LOGITS", 320 * 24)
    parts = fine_tune(encoded, 24)
    assert parts.nats_per_byte == pytest.approx(whole.nats_per_byte, rel=1e-3)
    assert parts.flops != whole.flops  # padded otherwise


def test_the_output_layer_is_not_copied_for_each_example(encoded):
    """Where weights stay torch would, unless what it reads is contiguous."""
    encoded.candidate = replace(encoded.candidate, method=Lora(lora_r=2))
    model, read = InTraining(encoded, 24), []
    head = model.model.get_output_embeddings()
    head.register_forward_pre_hook(lambda _, given: read.append(given[0].is_contiguous()))
    model.measure("test")
    assert read
    assert all(read)
