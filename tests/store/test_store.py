"""One file that every record is in once, whatever happens to the processes that share it."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from lensllm.errors import DamagedRecord, StoreError
from lensllm.probes.record import Probe
from lensllm.store import Store, locks
from lensllm.tuning.run import LearningRateTrial, Run

TRIALS = [LearningRateTrial(1e-3, 0.6), LearningRateTrial(3e-3, float("inf"))]
DONE = Run("gpt", 50, "done", 1.5, 0.5, 0.01, 0.6, 1e-3, TRIALS, flops=1e9, seconds=2.0)
ASSETS = Path(__file__).parents[1] / "assets"


def test_a_record_comes_back_whole(tmp_path):
    store = Store(tmp_path)
    store.put("key", "sums", DONE)
    store.close()
    assert Store(tmp_path).find("key", Run) == DONE
    assert Store(tmp_path).records(Run) == [("sums", DONE)]
    assert Store(tmp_path).find("another key", Run) is None


@pytest.mark.parametrize("final", ["done", "diverged"])
def test_what_is_final_is_never_replaced(final, tmp_path):
    store = Store(tmp_path)
    store.put("key", "sums", Run("a", 1, "failed", error="killed"))
    store.put("key", "sums", Run("a", 1, final, 0.5))
    store.put("key", "sums", Run("a", 1, "failed", error="too late"))
    store.put("key", "sums", Run("a", 1, "done", 9.0))
    assert (store.find("key", Run).status, store.find("key", Run).nats_per_token) == (final, 0.5)


def test_probes_are_kept_beside_runs_and_never_taken_for_them(tmp_path):
    probe = Probe("gpt", 16, "done", 2.0, [1, 2], [1.9, 1.8], [0.1, 0.1], times=[1.0], remaining=[0.5])
    store = Store(tmp_path)
    store.put("probe", "sums", probe)
    store.put("run", "sums", DONE)
    [(task, found)] = store.records(Probe)
    assert (task, found.losses, found.remaining) == ("sums", probe.losses, probe.remaining)
    assert store.records(Run) == [("sums", DONE)]
    assert store.find("probe", Run) is None


@pytest.mark.parametrize("name", ["v0.1.0-kernel", "v0.1.0-one"])
def test_a_store_of_version_1_opens(name, tmp_path):
    """And is taken over once, with nothing lost; a reader leaves it as it is."""
    shutil.copy(ASSETS / name / "runs.sqlite", tmp_path)
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as raw:
        runs, probes = (raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("runs", "probes"))
    before, opened = (tmp_path / "runs.sqlite").read_bytes(), time.time()
    assert len(Store(tmp_path, readonly=True).records(Run)) == runs > 3
    assert (tmp_path / "runs.sqlite").read_bytes() == before
    for _ in range(2):
        store = Store(tmp_path)
        assert len(store.records(Run)) == runs
        listed = store.listed(Run)
        assert [(one.task, one.record) for one in listed] == store.records(Run)
        assert all(0 < one.recorded < opened for one in listed)
        assert len(store.records(Probe)) == probes
        store.close()
    assert all(probe.zero_shot_probe_loss > 1 for _, probe in Store(tmp_path).records(Probe))


DIES_WRITING = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE records SET record = record || ?", ("x" * 100_000,))
os._exit(1)
"""


def test_a_reader_sees_nothing_of_what_a_writer_died_over(tmp_path):
    """The file holds half of a transaction then, and beside it what undoes it."""
    store = Store(tmp_path)
    for number in range(20):
        store.put(str(number), "sums", DONE)
    store.close()
    subprocess.run([sys.executable, "-c", DIES_WRITING, tmp_path / "runs.sqlite"], check=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "runs.sqlite-journal" in before
    assert Store(tmp_path, readonly=True).records(Run) == [("sums", DONE)] * 20
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert Store(tmp_path).records(Run) == [("sums", DONE)] * 20


def test_what_another_has_made_meanwhile_cannot_be_claimed(tmp_path):
    store, other = Store(tmp_path), Store(tmp_path)
    assert store.find("key", Run) is None
    assert other.claim("key", "sums", "gpt", 50)
    other.put("key", "sums", DONE)
    assert not store.claim("key", "sums", "gpt", 50)
    other.put("failed", "sums", Run("a", 1, "failed", error="killed"))
    assert store.claim("failed", "sums", "a", 1)


def test_a_disk_that_cannot_be_written_can_be_read(tmp_path):
    store = Store(tmp_path)
    store.put("key", "sums", DONE)
    store.close()
    (tmp_path / "runs.sqlite").chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        before = sorted(path.name for path in tmp_path.iterdir())
        assert Store(tmp_path, readonly=True).records(Run) == [("sums", DONE)]
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE records SET record = '{' WHERE key = 'key'",
        "UPDATE records SET record = replace(record, '0.5', '0.4') WHERE key = 'key'",
        "UPDATE records SET candidate = 'llama' WHERE key = 'key'",
        "UPDATE records SET status = 'weird' WHERE key = 'key'",
        "UPDATE records SET examples = 51 WHERE key = 'key'",
    ],
)
def test_a_damaged_record_names_its_run(damage, tmp_path):
    store = Store(tmp_path)
    store.put("key", "sums", DONE)
    with sqlite3.connect(store.path) as raw:
        raw.execute(damage)
    with pytest.raises(DamagedRecord, match=r"runs.sqlite: the record of run key is damaged") as caught:
        store.records(Run)
    assert caught.value.key == "key"


def test_a_record_of_another_make_is_damaged(tmp_path):
    """A checksum holds for what was written, not for what it means."""
    store = Store(tmp_path)
    store.put("key", "sums", Run("gpt", 50, "done", nats_per_byte="much"))
    with pytest.raises(DamagedRecord, match=r"the record of run key is damaged \(nats_per_byte: input should be"):
        store.find("key", Run)


def test_a_file_that_is_no_store(tmp_path):
    (tmp_path / "runs.sqlite").write_text("these are not the runs you are looking for" * 100)
    with pytest.raises(StoreError, match="cannot be used as a store"):
        Store(tmp_path)


def test_a_store_of_a_newer_version(tmp_path):
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "runs.sqlite") as raw:
        raw.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match="written by a newer version"):
        Store(tmp_path)


def claimed(folder, *how):
    """A process that claims a run and sleeps, once it has; `how` goes before python on the command line."""
    program = (
        "import sys, time; from lensllm.store import Store\n"
        f"store = Store({str(folder)!r}); print(store.claim('key', 'sums', 'gpt', 50), flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([*how, sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "True"
    return process


def test_a_claim_holds_as_long_as_its_process_lives(tmp_path):
    process = claimed(tmp_path)
    store = Store(tmp_path)
    store.put("before", "sums", DONE)
    assert store.running() == [("gpt", 50)]
    assert not store.claim("key", "sums", "gpt", 50)
    assert store.claim("other", "sums", "gpt", 100)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert store.running() == [("gpt", 100)]
    assert store.claim("key", "sums", "gpt", 50)
    assert store.records(Run) == [("sums", DONE)]


def test_what_is_recorded_is_claimed_no_more(tmp_path):
    one, other = Store(tmp_path), Store(tmp_path)
    assert one.claim("key", "sums", "gpt", 50)
    assert not other.claim("key", "sums", "gpt", 50)
    one.put("key", "sums", Run("gpt", 50, "failed", error="out of paper"))
    assert other.claim("key", "sums", "gpt", 50)
    other.close()
    assert one.claim("key", "sums", "gpt", 50)
    one.close()
    assert [path.name for path in tmp_path.iterdir()] == ["runs.sqlite"]


def test_a_claim_does_not_depend_on_the_clock(tmp_path, monkeypatch):
    """A step of the clock moves the start time that psutil tells of every process."""
    process = claimed(tmp_path)
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) + 3600)
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 3600)
    try:
        assert not Store(tmp_path).claim("key", "sums", "gpt", 50)
    finally:
        process.kill()
        process.wait()


def namespaces():
    """Whether a process in a namespace of its own can be made here."""
    return subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not shutil.which("unshare") or not namespaces(), reason="no right to make a pid namespace")
def test_a_claim_of_another_pid_namespace_holds(tmp_path):
    """As of another container on the same folder, whose process numbers mean nothing here."""
    process = claimed(tmp_path, "unshare", "--pid", "--fork", "--kill-child")
    store = Store(tmp_path)
    assert not store.claim("key", "sums", "gpt", 50)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while not store.claim("key", "sums", "gpt", 50):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_network_file_system_is_told_and_not_shared(tmp_path, monkeypatch):
    monkeypatch.setattr(locks.psutil, "disk_partitions", lambda all: [Disk("/", "ext4"), Disk(str(tmp_path), "nfs4")])
    with pytest.warns(UserWarning, match="lies on nfs4: no other machine may use this output folder"):
        store = Store(tmp_path)
    with pytest.raises(StoreError, match="lies on nfs4, where several processes cannot share a store"):
        Store(tmp_path)
    store.close()
    with pytest.warns(UserWarning, match="nfs4"):
        Store(tmp_path).close()


class Disk:
    def __init__(self, mountpoint, fstype):
        self.mountpoint, self.fstype = mountpoint, fstype


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path):
    store = Store(tmp_path)
    store.put("before", "sums", DONE)
    store._connection.execute("PRAGMA max_page_count = 6")
    with pytest.raises(StoreError, match=r"cannot be written \(database or disk is full\): free some space"):
        store.put("large", "sums", Run("gpt", 100, "failed", error="x" * 100_000))
    assert ("sums", DONE) in store.records(Run)
