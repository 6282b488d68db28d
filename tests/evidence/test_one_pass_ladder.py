import dataclasses
import math

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from evidence.planning.one_pass_ladder import OnePass, Trunk, one_pass
from lensllm.candidates import find_candidate
from lensllm.candidates.load import load_model
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.in_training import measure
from lensllm.tuning.trainer import CompletionTrainer
from lensllm.tuning.training_config import TrainingConfig

KEPT_RATE = TrainingConfig(learning_rate_backoff=1.0)
RATE = 3e-3


@pytest.fixture(scope="module")
def task(sums_file):
    return read_task(sums_file)


@pytest.fixture
def encoded(model_folders, task):
    return lambda name="gpt", training_config=KEPT_RATE: EncodedTask(
        find_candidate(str(model_folders[name])), task, training_config
    )


def constant(step):
    return 1.0


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", ["gpt", "t5"])
def test_a_trunk_alone_is_a_run_at_a_constant_rate(encoded, name):
    """No cool-down and one rung against CompletionTrainer's own loop with a constant schedule after warm-up."""
    b = encoded(name)
    [run] = one_pass(b, [64], RATE, OnePass(trunk_epochs=3, cool_down=0, rate=1))
    model = load_model(b.candidate)
    meter = b.meter(model)
    trainer = CompletionTrainer(model, b.split("train")[:64], b.training_config, RATE, meter, 8)
    trainer.args.max_steps = 24
    trainer.create_optimizer()
    trainer.lr_scheduler = LambdaLR(trainer.optimizer, lambda step: min(1.0, (step + 1) / 4))
    trainer.train()
    assert run.nats_per_byte == measure(model, b, "test", meter).nats_per_byte
    assert run.tokens == meter.tokens


def test_a_checkpoint_brings_back_weights_and_optimizer_bit_for_bit(encoded):
    b = encoded()
    trunk = Trunk(b)
    examples = b.split("train")[:32]
    trunk.train(examples, 4, RATE, constant, seed=0)
    here = trunk.checkpoint()
    before = weights(trunk.model).clone()
    trunk.train(examples, 4, RATE, constant, seed=1)
    after = weights(trunk.model).clone()
    assert not torch.equal(before, after)
    trunk.train(b.split("train")[32:64], 4, 10 * RATE, constant, seed=2)
    trunk.go_back(here)
    assert torch.equal(weights(trunk.model), before)
    trunk.train(examples, 4, RATE, constant, seed=1)
    assert torch.equal(weights(trunk.model), after)


def test_branches_leave_the_trunk_as_it_was(encoded):
    """The last rung of a ladder is a trunk that never branched before, cooled down once."""
    b = encoded()
    run = one_pass(b, [32, 64], RATE)[-1]
    trunk, train = Trunk(b), b.split("train")
    trunk.train(train[:32], 8, 0.6 * RATE, lambda step: min(1.0, (step + 1) / 2), seed=0)
    trunk.train(train[32:64], 8, 0.6 * RATE, constant, seed=0)
    trunk.train(train[:64], 6, 0.6 * RATE, lambda step: 1 - step / 6, seed=1)
    assert run.nats_per_byte == measure(trunk.model, b, "test", trunk.meter).nats_per_byte


@pytest.mark.parametrize("name", ["gpt", "llama", "t5"])
def test_a_ladder_learns(encoded, name):
    runs = one_pass(encoded(name), [16, 128], RATE)
    assert [(run.examples, run.status) for run in runs] == [(16, "done"), (128, "done")]
    assert runs[-1].nats_per_byte < runs[0].nats_per_byte


def test_a_ladder_repeats_bit_for_bit(encoded):
    first, again = (one_pass(encoded("t5"), [16, 32], RATE) for _ in range(2))
    assert [run.nats_per_byte for run in again] == [run.nats_per_byte for run in first]


def test_everything_is_charged(encoded):
    """2 epochs of the trunk and branches of 0.25 x 3 epochs over 32 + 128 examples, against one epoch."""
    b = encoded()
    runs = one_pass(b, [32, 128], RATE)
    model = load_model(b.candidate)
    meter = b.meter(model)
    trainer = CompletionTrainer(
        model, b.split("train")[:128], dataclasses.replace(KEPT_RATE, num_train_epochs=1), RATE, meter, 8
    )
    trainer.train()
    epoch, tokens = meter.total, meter.tokens
    measure(model, b, "validation", meter)
    validation = meter.total - epoch
    spent = sum(run.flops - run.test_flops for run in runs) - 2 * validation
    assert spent / epoch == pytest.approx(2 + 0.75 * (32 + 128) / 128, rel=0.05)
    assert sum(run.tokens for run in runs) / tokens == pytest.approx(2 + 0.75 * 160 / 128, rel=0.05)
    test = meter.total
    measure(model, b, "test", meter)
    assert all(run.test_flops == pytest.approx(meter.total - test) for run in runs)


def test_a_rung_that_does_not_help_is_trained_again_at_a_lower_rate(encoded):
    """Which of these rates stops helping depends on the last digits, and so on the machine."""
    lowering = encoded(training_config=TrainingConfig(learning_rate_backoff=0.3))
    tried = {rate: one_pass(lowering, [64, 80], rate) for rate in (1.0, 1.5, 2.0, 3.0, 4.0)}
    rate, (_, run) = next((rate, runs) for rate, runs in tried.items() if len(runs[1].trials) == 2)
    kept = min(run.trials, key=lambda trial: trial.validation)
    assert (run.learning_rate, run.validation) == (kept.learning_rate, kept.validation)
    assert run.flops > 1.8 * one_pass(encoded(), [64, 80], rate)[1].flops - run.test_flops


def test_divergence_ends_the_ladder(encoded):
    runs = one_pass(encoded(), [16, 32], 1e30)
    assert [run.status for run in runs] == ["diverged"]
    assert math.isnan(runs[0].nats_per_byte)
    assert runs[0].error


def test_out_of_memory_halves_the_batch_and_keeps_the_steps(encoded, monkeypatch):
    from lensllm.tuning import trainer
    from lensllm.tuning.loss import token_nats

    whole = one_pass(encoded(), [16, 32], RATE)

    def small(model, batch, **options):
        if model.training and len(batch["labels"]) > 2:
            raise torch.OutOfMemoryError("no room for more than two examples")
        return token_nats(model, batch, **options)

    monkeypatch.setattr(trainer, "token_nats", small)
    runs = one_pass(encoded(), [16, 32], RATE)
    assert [run.nats_per_byte for run in runs] == pytest.approx([run.nats_per_byte for run in whole], rel=1e-3)
