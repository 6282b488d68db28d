import numpy as np
import pytest
import torch
from cases import batch, logits_of, tiny

from lensllm.errors import InputError
from lensllm.probes.kernel import Kernel, kernel
from lensllm.probes.kernel_curve import descend, kernel_curve

STEPS = 8


def test_descent_equals_training_the_linearised_model():
    """With the head alone trainable the model is linear and its kernel is K (x) I: both must agree to rounding."""
    model, data = tiny("gpt2", tied=False), batch("gpt2", examples=8)
    for parameter in model.parameters():
        parameter.requires_grad = parameter is model.lm_head.weight
    measured = kernel(model, [data], "pseudo")
    trained = measured.index[:, 0] < 5
    weights = np.ones(len(trained))
    path = descend(measured, trained, weights, {"train": trained, "test": ~trained}, most=STEPS, step=0.05)

    examples = [{name: tensor[i] for name, tensor in data.items()} for i in range(8)]
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    for step in range(STEPS + 1):
        parts = [logits_of(model, e["input_ids"], e["attention_mask"], e["labels"]) for e in examples]
        losses = [torch.nn.functional.cross_entropy(logits, targets, reduction="none") for logits, targets in parts]
        train, test = torch.cat(losses[:5]).mean(), torch.cat(losses[5:]).mean()
        assert path["train"][step] == pytest.approx(train.item(), rel=1e-4)
        assert path["test"][step] == pytest.approx(test.item(), rel=1e-4)
        optimiser.zero_grad()
        train.backward()
        optimiser.step()
    assert path["train"][STEPS] < path["train"][0] - 0.1


def clusters(examples=24, kinds=4, tokens=3, vocabulary=12, seed=0):
    """Examples of a few kinds: rows of one kind move together and share their target."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, kinds, examples * tokens)
    gram = (kind[:, None] == kind) + 0.05 * np.eye(len(kind))
    index = np.stack([np.arange(len(kind)) // tokens, np.arange(len(kind)) % tokens, kind], axis=1)
    log_probs = np.full((len(kind), vocabulary), -np.log(vocabulary), dtype=np.float32)
    return Kernel(gram, log_probs, index, np.full(examples, tokens), 0.0)


def test_more_examples_teach_more():
    curve = kernel_curve(clusters(), subsets=6)
    assert curve.sizes.tolist() == [0, 1, 2, 4, 8]
    assert curve.losses[0] == pytest.approx(np.log(12), rel=1e-5)
    assert np.all(np.diff(curve.losses) < 0)
    assert curve.losses[-1] < 0.2


def test_a_kernel_that_does_not_generalise_teaches_nothing():
    shuffled = clusters()
    index = shuffled.index.copy()
    index[:, 2] = np.random.default_rng(1).permutation(index[:, 2])
    curve = kernel_curve(Kernel(shuffled.gram, shuffled.log_probs, index, shuffled.n_targets, 0.0), [8], subsets=8)
    informed = kernel_curve(clusters(), [8], subsets=8)
    assert curve.losses[1] > informed.losses[1] + 0.5
    assert curve.losses[1] < curve.losses[0] + 0.2


def test_scored_examples_do_not_choose_the_stopping_time():
    """Other targets of the scored examples change their loss but not the step at which it is read."""
    measured = clusters()
    order = np.random.default_rng(0).permutation(24)
    changed = measured.index.copy()
    changed[np.isin(changed[:, 0], order[8:18]), 2] = 11
    other = Kernel(measured.gram, measured.log_probs, changed, measured.n_targets, 0.0)
    one = kernel_curve(measured, [8], held_out=6, scored=10, subsets=1)
    two = kernel_curve(other, [8], held_out=6, scored=10, subsets=1)
    assert one.steps[1] == two.steps[1]
    assert two.losses[1] > one.losses[1] + 1


def test_scale_of_the_kernel_does_not_matter():
    measured = clusters()
    scaled = Kernel(1e4 * measured.gram, measured.log_probs, measured.index, measured.n_targets, 0.0)
    assert np.allclose(kernel_curve(measured).losses, kernel_curve(scaled).losses, rtol=1e-3)


def test_loss_per_byte_counts_every_completion_token():
    measured = clusters()
    curve = kernel_curve(measured, [4], n_bytes=np.full(24, 6))
    assert np.allclose(curve.losses_per_byte, curve.losses * 3 / 6)
    half = Kernel(measured.gram, measured.log_probs, measured.index, measured.n_targets * 2, 0.0)
    assert np.allclose(kernel_curve(half, [4], n_bytes=np.full(24, 12)).losses_per_byte, curve.losses_per_byte)
    assert list(curve.table().columns) == ["examples", "loss", "standard_error", "loss_per_byte", "steps"]


def test_bad_input():
    with pytest.raises(InputError, match="24 probe examples cannot give 20 to train on"):
        kernel_curve(clusters(), [20])
    with pytest.raises(InputError, match="n_bytes must be 24 positive numbers"):
        kernel_curve(clusters(), [4], n_bytes=[1, 2])
    scalar = kernel(tiny("gpt2"), [batch("gpt2")], "scalar")
    with pytest.raises(InputError, match="output='token'"):
        kernel_curve(scalar)
