import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lensllm.candidates import Full, Lora, find_candidate
from lensllm.candidates.load import load_model
from lensllm.errors import InputError
from lensllm.probes.measure import measure
from lensllm.probes.record import Probe
from lensllm.search.cost import Budget, everything_flops, probe_flops, run_costs, run_flops
from lensllm.search.ledger import Ledger
from lensllm.search.speed import Speed
from lensllm.tasks import read_task
from lensllm.tuning.encoded_task import EncodedTask
from lensllm.tuning.fine_tune import fine_tune
from lensllm.tuning.flops import FlopMeter
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

PROTOCOL = TrainingConfig()
ZERO_SHOTS = [
    Run(name, 0, "done", 2.0, 1.0, flops=f, test_flops=f, seconds=f / speed)
    for name, f, speed in (("a", 3e9, 1e9), ("b", 3e10, 2e9))
]
RUNGS = [50, 100, 200, 400]


@pytest.fixture(scope="module")
def define():
    return read_task("define")


@pytest.fixture
def flops(define):
    return run_costs(ZERO_SHOTS, RUNGS, define, PROTOCOL)


def opened(flops, budget, probe_flops=()):
    """A ledger after the models were measured as they came."""
    ledger = Ledger(["a", "b"], RUNGS, flops, budget, probe_flops)
    ledger.add(ZERO_SHOTS)
    return ledger


@pytest.mark.parametrize("model", ["gpt2-0.2m-random", "t5-0.2m-glosses-1.5m"])
def test_the_cost_is_known_before_it_is_spent(define, model):
    """What a real run is charged is forecast from the model's first evaluation to within 10 %."""
    training_config = TrainingConfig(num_train_epochs=1)
    encoded = EncodedTask(find_candidate(model), define, training_config)
    zero_shot = fine_tune(encoded, 0)
    rungs = [(fine_tune(encoded, 50), True), (fine_tune(encoded, 400, 1e-3), False)]
    for run, first in rungs:
        forecast = run_flops(zero_shot, run.examples, define, training_config, first=first)
        assert forecast == pytest.approx(run.flops, rel=0.1)


@pytest.mark.parametrize("method", [Full(), Lora()], ids=str)
def test_the_cost_of_a_probe_is_known_roughly(define, method):
    """Within a factor of two; `python -m evidence probe-cost` has all models."""
    candidate = replace(find_candidate("llama-0.2m-jargon-1.5m"), method=method)
    encoded = EncodedTask(candidate, define, PROTOCOL)
    forecast = probe_flops(fine_tune(encoded, 0), candidate.vocabulary, define, PROTOCOL, method)
    assert 0.5 < measure(candidate, encoded.train(64)).probe.flops / forecast < 2


def test_a_probe_of_dora_takes_two_more_passes_a_row(define):
    """Its lengths have their gradients formed row by row."""
    zero_shot, rows = ZERO_SHOTS[0], 64 * 8
    plain, dora = (
        probe_flops(replace(zero_shot, nats_per_token=0.1), 100, define, PROTOCOL, Lora(use_dora=on))
        for on in (False, True)
    )
    assert dora - plain == pytest.approx(2 * zero_shot.test_flops / PROTOCOL.max_test_examples * rows)


@pytest.mark.parametrize("name", ["gpt2-0.9m-glosses-1.5m", "llama-0.9m-mix-5m"])
def test_training_costs_six_flops_a_parameter_a_token(name):
    """6 N D (Kaplan et al. 2020), N the weights of matrix products; attention over 16 tokens adds a little."""
    model = load_model(find_candidate(name))
    weights = {id(p): p.numel() for n, p in model.named_parameters() if p.ndim == 2 and "wpe" not in n}
    meter = FlopMeter(model)
    ids = torch.ones((4, 16), dtype=torch.long)
    meter.charge({"input_ids": ids, "labels": ids, "attention_mask": ids}, training=True)
    assert meter.total == pytest.approx(6 * sum(weights.values()) * ids.numel(), rel=0.08)


def test_a_run_is_three_forward_passes_an_example_and_epoch_and_its_evaluation(define):
    forward = ZERO_SHOTS[0].test_flops / PROTOCOL.max_test_examples
    larger, smaller = (run_flops(ZERO_SHOTS[0], size, define, PROTOCOL, first=False) for size in (200, 100))
    assert larger - smaller == pytest.approx(3 * 1.07 * forward * 100 * PROTOCOL.num_train_epochs)
    assert everything_flops(ZERO_SHOTS, define, PROTOCOL) > 6400 * 9 * forward


def test_hours_are_charged_at_each_candidates_own_speed(flops):
    assert [Speed.of([run]).flops_a_second for run in ZERO_SHOTS] == pytest.approx([1e9, 2e9])
    assert math.isnan(Speed.of([Run("a", 50, "failed", flops=1.0, seconds=1.0)]).flops_a_second)
    ledger = opened(flops, Budget(hours=1.0))
    np.testing.assert_allclose(ledger.costs, flops / [[1e9], [2e9]])
    assert ledger.spent == pytest.approx(3 + 15)
    assert ledger.state().budget == 3600


def test_every_run_is_charged_also_the_failed(flops):
    ledger = opened(flops, Budget(part=0.5))
    before = ledger.spent
    ledger.records += [Run("a", 50, "diverged", flops=7.0), Run("b", 100, "failed", error="killed")]
    assert ledger.spent - before == pytest.approx(7 + flops[1, 1])
    assert ledger.state().closed.tolist() == [True, True]
    assert ledger.state().budget == pytest.approx(0.5 * flops[:, -1].sum())


def test_probes_are_charged_in_the_unit_of_the_budget(flops):
    probes = [Probe("a", 64, "done", flops=5e9, seconds=7.0), Probe("b", 64, "failed", error="killed")]
    for budget, charged in ((Budget(part=0.5), 5e9 + 8e9), (Budget(hours=1.0), 7 + 8e9 / 2e9)):
        ledger = opened(flops, budget, [6e9, 8e9])
        before = ledger.spent
        ledger.add(probes)
        assert ledger.spent - before == pytest.approx(charged)


@given(st.floats(0.02, 1.0))
def test_a_budget_has_to_pay_the_probes_too(define, part):
    """What is missing at first is foreseen, what was made is charged."""
    flops = run_costs(ZERO_SHOTS, RUNGS, define, PROTOCOL)
    foreseen, took = [6e10, 8e10], [Probe("a", 64, "done", flops=9e10), Probe("b", 64, "done", flops=1e10)]
    ledger = opened(flops, Budget(part=part), foreseen)
    for probes, cost in (([], 14e10), (took, 10e10)):
        ledger.add(probes)
        zero_shots = sum(run.flops for run in ZERO_SHOTS)
        if part * ledger.everything >= zero_shots + cost + flops[:, :2].sum():
            ledger.check_budget()
        else:
            with pytest.raises(InputError, match="buys the probe and the sizes 50 and 100 of 2 candidates"):
                ledger.check_budget()


@given(st.floats(0.001, 1.0))
def test_a_budget_too_small_names_the_smallest_that_works(define, part):
    flops = run_costs(ZERO_SHOTS, RUNGS, define, PROTOCOL)
    ledger = opened(flops, Budget(part=part))
    least = (ledger.spent + flops[:, :2].sum()) / ledger.everything
    if part >= least:
        ledger.check_budget()
        return
    with pytest.raises(InputError, match=r"the smallest that does is (\d+\.\d+).* buys the sizes 50 and 100") as caught:
        ledger.check_budget()
    named = float(str(caught.value).split("does is ")[1].split()[0])
    opened(flops, Budget(part=named + 5e-4)).check_budget()


def test_a_budget_has_one_unit():
    assert Budget().part == 0.1
    assert Budget(flops=5.0).amount(100.0) == 5.0
    with pytest.raises(InputError, match=r"the budget is 0\.1 of fine-tuning everything and 2 hours: give one of"):
        Budget(part=0.1, hours=2.0)
