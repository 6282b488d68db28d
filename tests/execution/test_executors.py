"""The executors pass the contract, and give the same records of real runs bit for bit."""

import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from lensllm.candidates import find_candidate
from lensllm.execution import InProcess, Processes
from lensllm.jobs import Lost
from lensllm.probes.measure_job import Measure
from lensllm.tasks import read_task
from lensllm.testing import ExecutorContract, ToyJob
from lensllm.tuning.fine_tune import FineTune
from lensllm.tuning.training_config import TrainingConfig


class TestInProcess(ExecutorContract):
    workers = False

    def executor(self):
        return InProcess()


class TestProcesses(ExecutorContract):
    def executor(self):
        return Processes(2, threads=1)

    def test_the_cause_of_a_death_is_told(self):
        found = self.records([ToyJob("a", "kill")])
        assert found["a"] == Lost("the worker process was killed by SIGKILL (out of memory?)")

    def test_a_worker_that_died_idle_is_replaced(self, tmp_path):
        with self.executor() as executor:
            for name in "abc":
                mark = tmp_path / name
                executor.submit(ToyJob(name, mark=str(mark)))
                job, record = executor.wait()
                assert repr(record) == repr(replace(job, mark="").run(None))
                worker = psutil.Process(int(mark.read_text()))
                worker.kill()
                while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
                    time.sleep(0.01)
                time.sleep(0.5)  # its other threads end after the one that it is known by


@pytest.fixture
def jobs(model_folders, sums_file):
    task, config = read_task(sums_file), TrainingConfig(num_train_epochs=1, learning_rate_trials=(1.0,))
    candidates = [find_candidate(str(model_folders[name])) for name in ("gpt", "llama", "t5")]
    runs = [FineTune(candidate, task, config, size) for candidate in candidates for size in (0, 50)]
    return [*runs, Measure(candidates[0], task, config, 16)]


def test_records_are_equal_bit_for_bit_whatever_the_executor(jobs):
    """One of them, however long it is kept waiting behind others, and whatever its worker made before."""
    told = []
    for executor, order in ((InProcess(), jobs), (Processes(2, threads=1), jobs[::-1])):
        with executor:
            waiting, records, running = list(order), {}, 0
            while waiting or running:
                while waiting and executor.free_slots:
                    executor.submit(waiting.pop())
                    running += 1
                job, record = executor.wait()
                running -= 1
                records[job.key] = record.untimed
        told.append({key: repr(record) for key, record in records.items()})
        assert all(record.status == "done" for record in records.values())
    assert told[0] == told[1]
    assert len(told[0]) == len(jobs)


def test_a_plain_script_without_a_guard_works(model_folders, sums_file, tmp_path):
    """A few lines of Python as a file, whose workers must not run it again."""
    script = tmp_path / "script.py"
    script.write_text(
        "import lensllm\n"
        f"models = [{str(model_folders['gpt'])!r}, {str(model_folders['llama'])!r}]\n"
        f"selection = lensllm.select({str(sums_file)!r}, models, sizes=[50], workers=2, "
        f"num_train_epochs=1, max_test_examples=10, output_dir={str(tmp_path / 'out')!r})\n"
        "print(selection.best)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().split()[-1]
    assert "Traceback" not in done.stderr
