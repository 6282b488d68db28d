"""All probes of a candidate together, and what they cost."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from cases import batch, tiny

from lensllm.candidates import find_candidate
from lensllm.errors import InputError
from lensllm.probes.flops import FlopCount, singular_flops, spectrum_flops
from lensllm.probes.kernel import kernel
from lensllm.probes.measure import measure
from lensllm.probes.record import Probe
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.training_config import TrainingConfig

NOT_COUNTED = {"seconds"}


@pytest.fixture(scope="module")
def examples(model_folders, sums_file):
    def encoded(name, count=16):
        encoded = EncodedTask(find_candidate(str(model_folders[name])), read_task(sums_file), TrainingConfig())
        return encoded.candidate, encoded.train(count)

    return encoded


@pytest.mark.parametrize("name", ["gpt", "llama", "t5"])
def test_a_probe_says_everything_and_survives_json(examples, name):
    made = measure(*examples(name))
    probe = made.probe
    assert probe.status == "done"
    assert probe.sizes == [1, 2, 4, 8]
    assert np.isfinite([probe.zero_shot_probe_loss, *probe.losses, *probe.standard_errors]).all()
    assert probe.rows == len(made.kernel.gram)
    assert probe.squared_residual == pytest.approx(np.square(made.kernel.residual).sum(), rel=1e-6)
    assert sorted(probe.remaining, reverse=True) == probe.remaining
    assert probe.trace == pytest.approx(np.trace(made.kernel.gram) / probe.rows)
    assert math.isnan(probe.log_me), "completions of sums are not one of a few labels"
    assert Probe(**json.loads(json.dumps(dataclasses.asdict(probe)))).features().keys() == probe.features().keys()


def test_the_loss_before_training_is_the_models_own(examples):
    """All completions here have at most 8 tokens, so every one is a row."""
    candidate, encoded = examples("gpt")
    from lensllm.candidates.load import load_model
    from lensllm.tuning.loss import evaluate

    truth = evaluate(load_model(candidate), encoded)
    assert max(example.n_targets for example in encoded) <= 8
    assert measure(candidate, encoded).probe.zero_shot_probe_loss == pytest.approx(truth.nats_per_byte, rel=1e-5)


def test_the_same_probe_twice(examples):
    one, other = (dataclasses.asdict(measure(*examples("gpt")).probe) for _ in range(2))
    for name in one.keys() - NOT_COUNTED:
        np.testing.assert_array_equal(one[name], other[name])


def test_flops_are_those_of_the_shapes():
    a, b = torch.randn(3, 5, requires_grad=True), torch.randn(5, 7, requires_grad=True)
    with FlopCount() as count:
        (a @ b).sum().backward()
        torch.bmm(torch.randn(2, 3, 4), torch.randn(2, 4, 5))
        torch.baddbmm(torch.zeros(2, 3, 5), torch.randn(2, 3, 4), torch.randn(2, 4, 5))
        torch.relu(a)
    assert count.total == 3 * 2 * 3 * 5 * 7 + 2 * (2 * 2 * 3 * 4 * 5)
    assert singular_flops((10, 4)) == singular_flops((4, 10)) == 4 * 10 * 16
    assert spectrum_flops(10) == 9000


def test_flops_agree_with_torchs_own_counter():
    from torch.utils.flop_counter import FlopCounterMode

    model, data = tiny("t5"), batch("t5")
    model.set_attn_implementation("eager")
    with FlopCount() as ours:
        kernel(model, [data])
    with FlopCounterMode(display=False) as theirs:
        kernel(model, [data])
    assert ours.total == theirs.get_total_flops()


def test_labels_give_log_me(model_folders, tmp_path):
    rows = [{"prompt": f"{i} is", "completion": " even" if i % 2 == 0 else " odd"} for i in range(80)]
    path = tmp_path / "parity.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    encoded = EncodedTask(find_candidate(str(model_folders["gpt"])), read_task(path), TrainingConfig())
    assert np.isfinite(measure(encoded.candidate, encoded.train(16)).probe.log_me)


def test_bad_input_is_named(examples):
    candidate, encoded = examples("gpt")
    with pytest.raises(InputError, match="3 probe examples are too few: the kernel curve needs 8"):
        measure(candidate, encoded[:3])
    with pytest.raises(InputError, match="500 examples asked for, and sums has 136"):
        examples("gpt", 500)
