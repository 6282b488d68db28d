from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lensllm.planning import Cost
from lensllm.planning.pareto import COSTS, known_costs, offers


def test_the_front_is_what_nothing_beats():
    costs = {
        "dear and good": Cost(10.0, 100, 1.0, 1.0),
        "cheap and bad": Cost(1.0, 10, 1.0, 1.0),
        "beaten": Cost(11.0, 50, 1.0, 2.0),
        "same": Cost(10.0, 100, 1.0, 1.0),
    }
    losses = {"dear and good": 1.0, "cheap and bad": 2.0, "beaten": 1.5, "same": 1.0, "no cost": 0.1}
    made = {offer.candidate: offer for offer in offers(losses, costs)}
    assert list(made) == ["dear and good", "same", "beaten", "cheap and bad"]
    assert made["dear and good"].front == made["same"].front == ("training_flops", "parameters", "flops_per_byte")
    assert made["beaten"].front == ("parameters",)
    assert made["cheap and bad"].front == ("training_flops", "parameters")


def test_a_candidate_without_a_forecast_makes_no_offer():
    assert offers({"a": float("nan")}, {"a": Cost(1.0, 1, 1.0, 1.0)}) == ()


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=12))
def test_front_against_its_definition(points):
    costs = {str(i): Cost(float(cost), 1, 1.0, 1.0) for i, (cost, _) in enumerate(points)}
    losses = {str(i): float(loss) for i, (_, loss) in enumerate(points)}
    for offer in offers(losses, costs):
        cost, loss = points[int(offer.candidate)]
        beaten = any(c <= cost and x <= loss and (c, x) != (cost, loss) for c, x in points)
        assert ("training_flops" in offer.front) is not beaten
    assert np.all(np.diff([offer.loss for offer in offers(losses, costs)]) >= 0)


def test_memory_has_fronts_where_it_is_known_of_all():
    """Full tuning and LoRA of one model are alike in serving and far apart in training."""
    full = Cost(10.0, 100, 1.0, 1.0, 100, 100, 1600.0, 400.0)
    lora = replace(full, training_flops=8.0, trained_parameters=5, training_memory=480.0)
    qlora = replace(lora, served_parameters=105, training_memory=140.0, serving_memory=80.0)
    losses = {"full": 1.0, "lora": 1.1, "qlora": 1.2}
    made = {one.candidate: one for one in offers(losses, {"full": full, "lora": lora, "qlora": qlora})}
    assert made["full"].front == COSTS
    assert made["lora"].front == ("training_flops", "training_memory")
    assert made["qlora"].front == ("training_memory", "serving_memory")
    unknown = replace(lora, training_memory=None, serving_memory=None)
    assert known_costs([full, unknown]) == ("training_flops", "parameters", "flops_per_byte")
    assert known_costs([full]) == COSTS


def test_a_model_as_it_came_has_nothing_beside_it():
    qlora = Cost(8.0, 100, 1.0, 1.0, 5, 105, 140.0, 80.0)
    assert qlora.untrained == Cost(0.0, 100, 1.0, 1.0, 0, 100, 0.0, 60.0)
    assert Cost(8.0, 100, 1.0, 1.0).untrained == Cost(0.0, 100, 1.0, 1.0, served_parameters=100)
