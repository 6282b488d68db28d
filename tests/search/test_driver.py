"""The one loop: every job once, every record in the store before the search hears of it, whatever dies."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import psutil
import pytest
from folders import edit

from lensllm.candidates import find_candidate
from lensllm.execution import InProcess, Processes
from lensllm.execution.attempt import attempt
from lensllm.probes.measure_job import Measure
from lensllm.probes.record import Probe
from lensllm.search.base import Jobs
from lensllm.search.callbacks import Callback
from lensllm.search.driver import drive
from lensllm.search.ladder import Ladder
from lensllm.store import Store
from lensllm.tasks import Example, Task, read_task
from lensllm.tuning.candidate_job import CandidateJob
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

TASK = Task("toy", (Example("a", "b"),), (Example("c", "d"),), (Example("e", "f"),))


@dataclass(frozen=True)
class Toy(CandidateJob):
    """Writes its process's number into a file, then does what it is told."""

    record_type = Run

    action: str = ""
    mark: str = ""

    def key_parts(self):
        return [self.candidate.name, self.examples, self.action]

    def record(self, context):
        begun = os.path.exists(self.mark)
        with open(self.mark, "a") as file:
            file.write(f"{os.getpid()}\n")
        if self.action == "die" or (self.action == "die once" and not begun):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action == "sleep":
            time.sleep(600)
        return Run(self.candidate.name, self.examples, "done", nats_per_byte=1.0 / self.examples)


@pytest.fixture
def toy(tmp_path):
    candidate = find_candidate("gpt2-0.2m-random")
    marks = tmp_path / "marks"
    marks.mkdir()

    def make(examples, action=""):
        return Toy(candidate, TASK, TrainingConfig(), examples, action=action, mark=str(marks / f"{examples}"))

    return make


def times(job):
    """How often it was begun."""
    return len(open(job.mark).read().split()) if os.path.exists(job.mark) else 0


class Log(Callback):
    def __init__(self, store):
        self.store, self.lines = store, []

    def on_run_begin(self, job, progress):
        self.lines.append(("begin", job.examples))

    def on_run_end(self, job, record, progress):
        assert self.store.find(job.key, job.record_type) is not None
        self.lines.append(("end", job.examples, record.status, progress.done, progress.expected))

    def on_end(self, progress):
        self.lines.append(("over", progress.done))


def test_every_job_is_made_once_and_watched(toy, tmp_path):
    store = Store(tmp_path)
    jobs, log = [toy(1), toy(2)], Log(store)
    told = drive(Jobs(list(jobs)), InProcess(), store, [log])
    assert [job for job, _ in told] == jobs
    assert log.lines == [
        ("begin", 1), ("end", 1, "done", 1, 2), ("begin", 2), ("end", 2, "done", 2, 2), ("over", 2)
    ]  # fmt: skip
    again = Log(store)
    assert repr(drive(Jobs(list(jobs)), InProcess(), store, [again])) == repr(told)
    assert [line[0] for line in again.lines] == ["end", "end", "over"]
    assert [times(job) for job in jobs] == [1, 1]


def test_a_job_whose_worker_died_is_tried_once_more_in_the_same_command(toy, tmp_path):
    jobs, store = [toy(1, "die once"), toy(2), toy(3, "die"), toy(4)], Store(tmp_path)
    with Processes(2, threads=1) as executor:
        told = {job.examples: record for job, record in drive(Jobs(list(jobs)), executor, store)}
    assert [told[n].status for n in (1, 2, 3, 4)] == ["done", "done", "failed", "done"]
    assert told[3].error == "the worker process was killed by SIGKILL (out of memory?), twice"
    assert [times(job) for job in jobs] == [2, 1, 2, 1]


class AllAtOnce(InProcess):
    """Three slots whose jobs have all ended by the time that the first is waited for."""

    def __init__(self):
        super().__init__()
        self.jobs = []

    @property
    def free_slots(self):
        return 3 - len(self.jobs)

    def submit(self, job):
        self.jobs.append(job)

    def wait(self, timeout=None):
        job = self.jobs.pop(0)
        return job, attempt(job, self._context)


class Asked(Jobs):
    """Notes how many records it was told before each question."""

    def __init__(self, jobs):
        super().__init__(jobs)
        self.told, self.asked = 0, []

    def ask(self, count):
        self.asked.append((self.told, count))
        return super().ask(count)

    def tell(self, job, record):
        self.told += 1


def test_whatever_has_ended_is_told_before_the_next_question(toy, tmp_path):
    search = Asked([toy(n) for n in range(1, 7)])
    drive(search, AllAtOnce(), Store(tmp_path))
    assert search.asked == [(0, 3), (3, 3), (6, 3)]


def test_what_failed_is_made_anew_by_the_next_command(toy, tmp_path):
    job, store = toy(1), Store(tmp_path)
    store.put(job.key, TASK.name, job.failed("out of paper"))
    [(_, record)] = drive(Jobs([job]), InProcess(), store)
    assert record.status == "done"


def test_a_record_is_called_by_the_name_its_candidate_has_now(toy, tmp_path):
    job, store = toy(1), Store(tmp_path)
    store.put(job.key, TASK.name, Run("its old name", 1, "done", nats_per_byte=0.5))
    [(_, record)] = drive(Jobs([job]), InProcess(), store)
    assert (record.candidate, record.nats_per_byte) == ("gpt2-0.2m-random", 0.5)


def _drive(folder, jobs):
    drive(Jobs(jobs), InProcess(), Store(folder))


def test_two_programs_on_one_folder_make_nothing_twice(toy, tmp_path):
    jobs = [toy(n) for n in range(1, 40)]
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_drive, args=(tmp_path, order)) for order in (jobs, jobs[::-1])]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [times(job) for job in jobs] == [1] * 39
    assert len(Store(tmp_path).records(Run)) == 39


def test_a_program_that_died_leaves_its_claims_to_others(toy, tmp_path):
    sleeper = toy(1, "sleep")
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_drive, args=(tmp_path, [sleeper]))
    process.start()
    while not times(sleeper):
        time.sleep(0.05)
    store = Store(tmp_path)
    assert not store.claim(sleeper.key, "toy", "gpt", 1)
    process.kill()
    process.join()
    awake = replace(sleeper, action="")
    assert store.claim(sleeper.key, "toy", "gpt", 1)
    assert [record.status for _, record in drive(Jobs([awake]), InProcess(), store)] == ["done"]


def test_the_death_of_the_driver_ends_its_workers(model_folders, sums_file, tmp_path):
    """Killed by a signal that it cannot see, in the middle of a run that would go on for minutes."""
    program = [sys.executable, "-m", "lensllm", "select", sums_file, "--sizes", "100", "--num-train-epochs", "1000"]
    models = [str(model_folders[name]) for name in ("gpt", "llama")]
    process = subprocess.Popen([*program, "--workers", "2", "--output-dir", tmp_path, "--models", *models])
    while len(workers := psutil.Process(process.pid).children()) < 2 or not training(tmp_path):
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    time.sleep(2)
    assert not [w for w in workers if w.is_running() and w.status() != psutil.STATUS_ZOMBIE]


def training(folder):
    return (folder / "runs.sqlite").exists() and any(size for _, size in Store(folder, readonly=True).running())


def test_an_encoding_that_fails_is_the_record_of_its_candidate(model_folders, sums_file, tmp_path):
    """Whatever goes wrong while a candidate's examples are encoded, the others go on."""
    small = shutil.copytree(model_folders["gpt"], tmp_path / "small")
    edit(small / "tokenizer_config.json", model_max_length=4)
    beyond = shutil.copytree(model_folders["gpt"], tmp_path / "beyond")
    edit(beyond / "tokenizer.json", post_processor={"type": "nonsense"})
    task, config = read_task(sums_file), TrainingConfig(num_train_epochs=1)
    folders = (small, beyond, model_folders["llama"])
    jobs = [FineTune(find_candidate(str(folder)), task, config, 0) for folder in folders]
    runs = {job.candidate.name: run for job, run in drive(Jobs(list(jobs)), InProcess(), Store(tmp_path / "store"))}
    assert [runs[name].status for name in ("small", "beyond", "llama")] == ["failed", "failed", "done"]
    assert "small has room for" in runs["small"].error
    assert "beyond has no usable tokenizer" in runs["beyond"].error


def test_runs_and_probes_go_through_the_same_loop(model_folders, sums_file, tmp_path):
    task, config = read_task(sums_file), TrainingConfig(num_train_epochs=1, learning_rate_trials=(1.0,))
    candidates = [find_candidate(str(model_folders[name])) for name in ("gpt", "llama")]
    store = Store(tmp_path)
    with Processes(2, threads=1) as executor:
        drive(Jobs([Measure(candidate, task, config, 16) for candidate in candidates]), executor, store)
        drive(Ladder([FineTune(candidate, task, config, 0) for candidate in candidates], [50]), executor, store)
    runs = [run for _, run in store.records(Run)]
    assert {(run.candidate, run.examples) for run in runs} == {(n, s) for n in ("gpt", "llama") for s in (0, 50)}
    assert all(probe.status == "done" and probe.flops > 0 for _, probe in store.records(Probe))
    assert len(store.records(Probe)) == 2


def test_the_key_follows_everything_that_changes_the_result(model_folders, sums_file):
    gpt, llama = (find_candidate(str(model_folders[name])) for name in ("gpt", "llama"))
    task, config = read_task(sums_file), TrainingConfig()
    run = FineTune(gpt, task, config, 50)
    changed = [
        run,
        replace(run, candidate=llama),
        replace(run, examples=100),
        replace(run, learning_rate=1e-3),
        replace(run, learning_rate=1e-3, previous_validation_loss=1.0),
        replace(run, training_config=replace(config, num_train_epochs=2)),
        Measure(gpt, task, config, 50),
        Measure(gpt, task, config, 16),
        Measure(llama, task, config, 16),
        Measure(gpt, task, replace(config, subset_seed=1), 16),
        Measure(gpt, task, replace(config, max_length=64), 16),
    ]
    assert len({job.key for job in changed}) == len(changed)
    assert Measure(gpt, task, replace(config, num_train_epochs=7), 16).key == Measure(gpt, task, config, 16).key
