"""Each worker sees its own GPUs. There is none here: what torch says of them is put in its place."""

from __future__ import annotations

import psutil
import pytest
import torch

from lensllm import pipeline
from lensllm.config import SelectConfig
from lensllm.errors import InputError
from lensllm.execution import InProcess, Processes
from lensllm.execution.devices import shares
from lensllm.testing import ToyJob


@pytest.fixture
def four(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 4)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))


def seen(found):
    return [one["CUDA_VISIBLE_DEVICES"] for one in found]


def test_one_worker_a_gpu(four):
    assert seen(shares(0, 1)) == ["0", "1", "2", "3"]
    assert seen(shares(2, 1)) == ["0", "1"]


def test_more_workers_than_gpus_share_them_in_turn(four):
    assert seen(shares(6, 1)) == ["0", "1", "2", "3", "0", "1"]


def test_a_run_may_have_several(four):
    assert seen(shares(0, 2)) == ["0,1", "2,3"]
    assert seen(shares(0, 3)) == ["0,1,2"]
    with pytest.raises(InputError, match="--gpus-per-run 5 is asked for, and this process sees 4 GPUs"):
        shares(0, 5)


def test_a_single_worker_among_several_gpus_is_a_process_that_sees_one(four, monkeypatch):
    made = {}
    monkeypatch.setattr(pipeline, "Processes", lambda workers, environments: made.update(envs=environments))
    pipeline._executor(SelectConfig.of(task="austen", models=["a"], workers=1), 1)
    assert seen(made["envs"]) == ["0"]
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    assert isinstance(pipeline._executor(SelectConfig.of(task="austen", models=["a"], workers=1), 1), InProcess)


def test_those_that_the_program_may_see_are_shared_out(four, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7, GPU-a,5,3")
    assert seen(shares(0, 1)) == ["7", "GPU-a", "5", "3"]


def test_without_a_gpu_nothing_is_said(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert shares(3, 1) == []
    with pytest.raises(InputError, match="this process sees 0 GPUs"):
        shares(0, 2)


def test_workers_have_their_environments(tmp_path):
    marks = [tmp_path / name for name in "abc"]
    with Processes(3, threads=1, environments=[{"SEEN": "0"}, {"SEEN": "1"}]) as executor:
        for mark in marks:
            executor.submit(ToyJob(mark.name, "sleep", 2, mark=str(mark)))
        while not all(mark.exists() and mark.read_text() for mark in marks):
            pass
        told = sorted(psutil.Process(int(mark.read_text())).environ()["SEEN"] for mark in marks)
    assert told == ["0", "0", "1"]
