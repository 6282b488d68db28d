"""Which node takes which job, without a cluster."""

import pytest

from lensllm.errors import InputError
from lensllm.execution.ray.nodes import Needs, Node, Nodes, share

GIB = 1 << 30


def node(name, cpus=8, gpus=0, memory=16, free=16):
    return Node(name, name, cpus, gpus, memory * GIB, "cuda" if gpus else "cpu", free * GIB, "float32")


def test_a_slot_is_room_for_all_of_a_jobs_needs_on_one_node():
    nodes = Nodes.of([node("a", memory=7), node("b", cpus=3)])
    assert nodes.slots(Needs(cpus=2)) == 5
    assert nodes.slots(Needs(cpus=2, memory=3 * GIB)) == 3
    assert nodes.slots(Needs(cpus=4, memory=8 * GIB)) == 0
    assert nodes.slots(Needs(cpus=1, gpus=1)) == 0


def test_jobs_of_other_sizes_leave_room_for_as_many_large_ones_as_fit():
    nodes = Nodes.of([node("a")])
    large, small = Needs(memory=7 * GIB), Needs(memory=GIB)
    assert nodes.slots(large) == 2
    for job in range(4):
        assert nodes.place(job, small) == nodes.all["a"]
    assert nodes.slots(large) == 1
    assert nodes.slots(Needs()) == 4
    assert nodes.free(0) == nodes.all["a"]
    assert nodes.slots(Needs()) == 5
    assert [nodes.place(job, large) is not None for job in (4, 5)] == [True, False]


def test_the_node_with_most_room_is_taken_first_and_some_are_passed_over():
    nodes = Nodes.of([node("a", cpus=2), node("b", cpus=3)])
    assert [nodes.place(job, Needs()).name for job in range(2)] == ["b", "b"]
    assert [nodes.place(job, Needs(), without=["a"]) for job in (2, 3)] == [nodes.all["b"], None]
    assert [nodes.place(job, Needs()).name for job in (4, 5)] == ["a", "a"]
    assert nodes.place(6, Needs()) is None


def test_a_node_that_began_nothing_when_asked_is_taken_last():
    nodes = Nodes.of([node("a", cpus=3), node("b", cpus=1)])
    assert [nodes.place(job, Needs(), last=["a"]).name for job in range(3)] == ["b", "a", "a"]


def test_a_node_that_is_gone_has_no_slots_and_its_jobs_are_forgotten():
    nodes = Nodes.of([node("a"), node("b")])
    taken = nodes.place(0, Needs())
    nodes.drop(taken.id)
    assert nodes.slots(Needs()) == 8
    assert nodes.free(0) is None
    assert nodes.slots(Needs()) == 8


def test_a_gpu_too_small_for_the_candidate_is_no_slot():
    nodes = Nodes.of([node("small", gpus=4, free=24), node("large", gpus=2, free=80)])
    assert nodes.slots(Needs(gpus=1, gpu_memory=40 * GIB)) == 2
    assert nodes.largest.name == "large"


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "expected"),
    [
        ([node("a"), node("b", cpus=4)], 0, 1, Needs(1)),
        ([node("a"), node("b", cpus=4)], 3, 1, Needs(4)),
        ([node("a"), node("b", cpus=4)], 1, 1, Needs(8)),
        ([node("a"), node("b", cpus=4)], 99, 1, Needs(1)),
        ([node("a", cpus=32, gpus=8)], 0, 1, Needs(4, 1)),
        ([node("a", cpus=32, gpus=8)], 0, 2, Needs(8, 2)),
        ([node("a", cpus=32, gpus=8)], 2, 1, Needs(16, 1)),
        ([node("a", cpus=32, gpus=8), node("b", cpus=8, gpus=8)], 0, 1, Needs(1, 1)),
    ],
)
def test_cores_are_shared_out_over_as_many_runs_as_go_on_at_once(nodes, workers, gpus, expected):
    assert share(nodes, workers, gpus) == expected


def test_more_gpus_than_any_node_has_is_one_sentence():
    largest = r"no node .* so many: the largest is b \(4 GPUs of 80.0 GiB, 8 cores, 16.0 GiB\)"
    with pytest.raises(InputError, match=largest):
        share([node("a", gpus=2), node("b", gpus=4, free=80)], 0, 8)
