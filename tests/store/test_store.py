import multiprocessing
import os
import signal
import sqlite3
import time

import pytest

from lensllm.errors import InputError
from lensllm.probes.record import Probe
from lensllm.store import Store
from lensllm.tuning.run import LearningRateTrial, Run

TRIALS = [LearningRateTrial(1e-3, 0.6), LearningRateTrial(3e-3, float("inf"))]
DONE = Run("gpt", 50, "done", 1.5, 0.5, 0.01, 0.6, 1e-3, TRIALS, flops=1e9, seconds=2.0)


def test_a_run_is_made_once_and_comes_back_whole(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return DONE

    for _ in range(3):
        store = Store(tmp_path)
        assert store.once("key", "sums", "gpt", 50, make) == DONE
        store.close()
    assert len(calls) == 1
    assert Store(tmp_path).runs() == [("sums", DONE)]


def test_done_and_diverged_runs_are_kept_and_failed_ones_made_anew(tmp_path):
    store = Store(tmp_path)
    for status, again in (("done", False), ("diverged", False), ("failed", True)):
        first, second = Run("a", 1, status), Run("a", 2, "done")
        store.once(status, "sums", "a", 1, lambda first=first: first)
        found = store.once(status, "sums", "a", 1, lambda second=second: second)
        assert (found == second) is again


def test_probes_are_kept_beside_runs_and_never_taken_for_them(tmp_path):
    probe = Probe("gpt", 16, "done", 2.0, [1, 2], [1.9, 1.8], [0.1, 0.1], times=[1.0], remaining=[0.5])
    failed = Probe("gpt", 16, "failed", error="torn")
    store = Store(tmp_path)
    assert store.once("probe", "sums", "gpt", 16, lambda: failed, "probes") == failed
    assert store.once("probe", "sums", "gpt", 16, lambda: probe, "probes") == probe
    assert store.once("probe", "sums", "gpt", 16, lambda: failed, "probes").losses == [1.9, 1.8]
    store.once("key", "sums", "gpt", 50, lambda: DONE)
    [(task, found)] = Store(tmp_path).probes()
    assert (task, found.losses, found.remaining) == ("sums", probe.losses, probe.remaining)
    assert store.runs() == [("sums", DONE)]
    assert store.find("probe") is None


def test_a_store_from_before_there_were_probes(tmp_path):
    Store(tmp_path).once("key", "sums", "gpt", 50, lambda: DONE)
    with sqlite3.connect(tmp_path / "runs.sqlite") as raw:
        raw.execute("DROP TABLE probes")
    store = Store(tmp_path)
    assert store.runs() == [("sums", DONE)]
    assert store.probes() == []


def test_a_damaged_record_names_its_run(tmp_path):
    store = Store(tmp_path)
    store.once("key", "sums", "gpt", 50, lambda: DONE)
    with sqlite3.connect(store.path) as raw:
        raw.execute("UPDATE runs SET record = '{' WHERE key = 'key'")
    with pytest.raises(InputError, match=r"runs.sqlite: the record of run key is damaged"):
        store.runs()


def test_a_file_that_is_no_store(tmp_path):
    (tmp_path / "runs.sqlite").write_text("these are not the runs you are looking for" * 100)
    with pytest.raises(InputError, match="cannot be used as a store"):
        Store(tmp_path)


def test_a_store_of_a_newer_version(tmp_path):
    Store(tmp_path)._connection.execute("PRAGMA user_version=99")
    with pytest.raises(InputError, match="written by a newer version"):
        Store(tmp_path)


def _make_slowly(folder, name, log):
    store = Store(folder)

    def make():
        with open(log, "a") as file:
            file.write(name + "\n")
        time.sleep(0.5)
        return DONE

    store.once("key", "sums", "gpt", 50, make)


def test_two_processes_never_make_one_run_twice(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    both = [spawn.Process(target=_make_slowly, args=(tmp_path, name, log)) for name in "ab"]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert len(log.read_text().split()) == 1
    assert Store(tmp_path).runs() == [("sums", DONE)]


def _hang(folder, started):
    def make():
        started.set()
        time.sleep(600)

    Store(folder).once("key", "sums", "gpt", 50, make)


def test_a_killed_process_loses_only_what_it_was_running(tmp_path):
    store = Store(tmp_path)
    store.once("before", "sums", "gpt", 0, lambda: DONE)
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Event()
    process = spawn.Process(target=_hang, args=(tmp_path, started))
    process.start()
    assert started.wait(60)
    assert store.running() == [("gpt", 50)]
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert store.running() == []
    assert store.runs() == [("sums", DONE)]
    assert store.once("key", "sums", "gpt", 50, lambda: DONE) == DONE
