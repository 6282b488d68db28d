"""A step gone through without numbers holds what a real one holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lensllm.candidates import Full, Lora, find_candidate
from lensllm.candidates.four_bits import packed_bytes
from lensllm.candidates.load import load_model
from lensllm.tasks import read_task
from lensllm.tasks.encoded import Encoded, collate
from lensllm.tuning.batch_shapes import BatchShapes, Shape
from lensllm.tuning.live_bytes import LiveBytes
from lensllm.tuning.loss import token_nats
from lensllm.tuning.memory_plan import DOUBT, plan_memory
from lensllm.tuning.rehearsal import Rehearsal
from lensllm.tuning.rehearsed_four_bits import FourBits, quantise
from lensllm.tuning.training_config import TrainingConfig

ROWS, LENGTH, LEARNED = 4, 32, 9
METHODS = [Full(), Lora(lora_r=4)]


@pytest.fixture(params=["gpt", "llama", "t5"])
def candidate(request, model_folders):
    return find_candidate(str(model_folders[request.param]))


def real_step(candidate, config, checkpointing=False):
    """The most that the tensors of a real step hold, with as much beside them as the optimizer and what began."""
    model = candidate.method.prepare(load_model(candidate, dtype=candidate.method.weights_dtype(config.dtype))).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    labels = [-100] * (LENGTH - LEARNED) + list(range(1, LEARNED + 1))
    written = labels[-LEARNED:] if candidate.encoder_decoder else labels
    batch = collate([Encoded([5] * (LENGTH - i % 2), written[i % 2 :], 9) for i in range(ROWS)], training=True)
    trained = [one for one in model.parameters() if one.requires_grad]
    live = LiveBytes()
    live.hold([*model.parameters(), *model.buffers()])
    with live:
        token_nats(model, batch, autocast=config.dtype == "bfloat16").sum().backward()
    adapters = 4 if candidate.method.name == "lora" else 0
    return live.peak + sum(one.numel() for one in trained) * (8 + adapters)


def shape(candidate):
    return Shape(ROWS, LENGTH, LEARNED if candidate.encoder_decoder else LEARNED + 1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", METHODS, ids=str)
class TestPeak:
    def test_is_that_of_a_real_step(self, candidate, method, dtype):
        config = TrainingConfig(per_device_train_batch_size=ROWS, dtype=dtype)
        one = replace(candidate, method=method)
        told = Rehearsal(one, config).step(shape(one)).peak
        assert told == pytest.approx(real_step(one, config), rel=0.05)

    def test_and_with_checkpointing(self, candidate, method, dtype):
        config = TrainingConfig(per_device_train_batch_size=ROWS, dtype=dtype)
        one = replace(candidate, method=method)
        rehearsal = Rehearsal(one, config)
        plain, less = rehearsal.step(shape(one)), rehearsal.step(shape(one), checkpointing=True)
        assert 0 < less.activations < plain.activations / 2
        assert less.peak == pytest.approx(real_step(one, config, checkpointing=True), rel=0.1)


def test_weights_are_counted_once_and_in_their_type(candidate):
    full = Rehearsal(candidate, TrainingConfig(dtype="bfloat16"))
    parameters = sum(one.numel() for one in load_model(candidate).parameters())
    assert full.parameters == full.trained == parameters
    assert full.weights == pytest.approx(4 * parameters, rel=0.05)
    lora = Rehearsal(replace(candidate, method=Lora(lora_r=2)), TrainingConfig(dtype="bfloat16"))
    assert lora.weights == pytest.approx(2 * parameters + 8 * lora.trained, rel=0.05)
    assert (lora.optimizer, full.optimizer) == (8 * lora.trained, 8 * parameters)
    assert Rehearsal(candidate, TrainingConfig(optim="adamw_8bit")).optimizer == 2 * parameters


def test_four_bits_are_half_a_byte_and_keep_no_weight(model_folders):
    model = load_model(find_candidate(str(model_folders["llama"])))
    output = model.get_output_embeddings()
    quantise(model)
    layers = [one for one in model.modules() if isinstance(one, FourBits)]
    assert len(layers) == 14
    assert model.get_output_embeddings() is output
    assert layers[0].packed.numel() == packed_bytes(16 * 16)
    assert layers[0](torch.ones(3, 16)).shape == (3, 16)


def test_less_at_once_where_there_is_less_room(candidate, sums_file):
    task, config = read_task(sums_file), TrainingConfig()
    rehearsal, shapes = Rehearsal(candidate, config), BatchShapes(candidate, task, config)
    whole = plan_memory(rehearsal, shapes, float("inf"))
    assert (whole.micro_batch, whole.gradient_checkpointing, whole.fits) == (8, False, True)
    rehearsal.evaluation = lambda shape: 0
    half = plan_memory(rehearsal, shapes, DOUBT * whole.training - 1)
    assert half.micro_batch < 8
    assert half.fits
    least = plan_memory(rehearsal, shapes, 0)
    assert (least.micro_batch, least.gradient_checkpointing, least.fits) == (1, True, False)
    assert least.training < half.training < whole.training


def test_what_cannot_be_rehearsed_is_a_rule_of_thumb_and_said(candidate, sums_file, monkeypatch):
    def odd(*_, **__):
        raise RuntimeError("cannot be foretold")

    config = TrainingConfig()
    rehearsal, shapes = Rehearsal(candidate, config), BatchShapes(candidate, read_task(sums_file), config)
    known = plan_memory(rehearsal, shapes, float("inf"))
    monkeypatch.setattr(rehearsal.model, "forward", odd)
    guessed = plan_memory(rehearsal, shapes, float("inf"))
    assert guessed.estimated == "RuntimeError: cannot be foretold"
    assert guessed.weights == known.weights
    assert known.training / 4 < guessed.training < 4 * known.training


class TestLoading:
    def test_a_file_held_as_it_is_is_there_once(self, candidate):
        made = Rehearsal(replace(candidate, method=Full()), TrainingConfig())
        assert made.loading == made.weights

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_numbers_made_into_another_type_are_there_twice(self, candidate, dtype):
        made = Rehearsal(replace(candidate, method=Lora()), TrainingConfig(dtype=dtype))
        file = sum(4 * one.size for one in candidate.tensors.values())
        assert made.loading == made.weights + file * (dtype == "bfloat16")

    def test_on_a_device_of_its_own_memory_no_file_is_mapped(self, candidate):
        made = Rehearsal(replace(candidate, method=Lora()), TrainingConfig(dtype="bfloat16"), "meta")
        assert made.loading == made.weights
