import os
import shutil
import signal
import time
from threading import Thread

import psutil
import pytest
from folders import edit

from lensllm.candidates import find_candidate
from lensllm.errors import InputError
from lensllm.search.workers import Job, ProbeJob, Setting, run_jobs, run_probes
from lensllm.store import Store
from lensllm.tasks import read_task
from lensllm.tuning.training_config import TrainingConfig


@pytest.fixture
def setting(sums_file, tmp_path):
    return Setting(read_task(sums_file), TrainingConfig(num_train_epochs=1, learning_rate_trials=(1.0,)), tmp_path)


def test_the_results_do_not_depend_on_the_number_of_workers(setting, model_folders, tmp_path):
    candidates = [find_candidate(str(model_folders[name])) for name in ("gpt", "llama")]
    jobs = [Job(candidate, size) for candidate in candidates for size in (0, 50)]
    results = []
    for workers in (1, 2):
        apart = Setting(setting.task, setting.training_config, tmp_path / str(workers))
        runs = [run for _, run in run_jobs(jobs, apart, workers, lambda job, run: [])]
        results.append({(run.candidate, run.examples): run.nats_per_byte for run in runs})
    assert results[0] == results[1]
    assert len(results[0]) == 4


def test_a_killed_worker_loses_its_run_and_no_other(setting, model_folders):
    candidates = [find_candidate(str(model_folders[name])) for name in ("gpt", "llama")]
    killed = []

    def kill_one():
        while not killed:
            running = Store(setting.folder).running()
            if ("gpt", 100) in running:
                [row] = (
                    Store(setting.folder)
                    ._connection.execute(
                        "SELECT owner_pid FROM runs WHERE status = 'running' AND examples = 100 AND candidate = 'gpt'"
                    )
                    .fetchall()
                )
                os.kill(row[0], signal.SIGKILL)
                killed.append(row[0])
            time.sleep(0.002)

    Store(setting.folder).close()
    Thread(target=kill_one, daemon=True).start()
    jobs = [Job(candidate, size) for size in (100, 50) for candidate in candidates]
    runs = {(run.candidate, run.examples): run for _, run in run_jobs(jobs, setting, 2, lambda job, run: [])}
    assert killed
    assert runs["gpt", 100].status == "failed"
    assert "killed by SIGKILL (out of memory?)" in runs["gpt", 100].error
    assert [runs[key].status for key in (("llama", 100), ("gpt", 50), ("llama", 50))] == ["done"] * 3
    again = {(run.candidate, run.examples): run for _, run in run_jobs(jobs, setting, 2, lambda job, run: [])}
    assert again["gpt", 100].status == "done"
    assert again["llama", 100] == runs["llama", 100]


def test_no_process_is_left_behind(setting, model_folders):
    list(run_jobs([Job(find_candidate(str(model_folders["gpt"])), 0)], setting, 2, lambda job, run: []))
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_an_error_in_a_run_is_its_record_and_the_others_go_on(setting, model_folders, tmp_path):
    broken = shutil.copytree(model_folders["gpt"], tmp_path / "broken")
    jobs = [Job(find_candidate(str(folder)), 0) for folder in (broken, model_folders["llama"])]
    (broken / "model.safetensors").write_bytes(b"torn")
    runs = {run.candidate: run for _, run in run_jobs(jobs, setting, 1, lambda job, run: [])}
    assert runs["broken"].status == "failed"
    assert "broken cannot be used: model.safetensors is not a safetensors file" in runs["broken"].error
    assert runs["llama"].status == "done"


def test_an_encoding_that_fails_is_the_record_of_its_candidate(setting, model_folders, tmp_path):
    """Whatever goes wrong while a candidate's examples are encoded, the others go on."""
    small = shutil.copytree(model_folders["gpt"], tmp_path / "small")
    edit(small / "tokenizer_config.json", model_max_length=4)
    beyond = shutil.copytree(model_folders["gpt"], tmp_path / "beyond")
    edit(beyond / "tokenizer.json", post_processor={"type": "nonsense"})
    folders = (small, beyond, model_folders["llama"])
    jobs = [Job(find_candidate(str(folder)), 0) for folder in folders]
    runs = {run.candidate: run for _, run in run_jobs(jobs, setting, 1, lambda job, run: [])}
    assert [runs[name].status for name in ("small", "beyond", "llama")] == ["failed", "failed", "done"]
    assert "small has room for" in runs["small"].error
    assert "beyond has no usable tokenizer" in runs["beyond"].error


def test_a_renamed_folder_takes_its_runs_along(setting, model_folders, tmp_path):
    folder = shutil.copytree(model_folders["gpt"], tmp_path / "first")
    [(_, before)] = run_jobs([Job(find_candidate(str(folder)), 0)], setting, 1, lambda job, run: [])
    renamed = folder.rename(tmp_path / "renamed")
    [(_, after)] = run_jobs([Job(find_candidate(str(renamed)), 0)], setting, 1, lambda job, run: [])
    assert (after.candidate, after.seconds) == ("renamed", before.seconds)


def test_probes_are_made_once_by_the_same_workers(setting, model_folders, tmp_path):
    broken = shutil.copytree(model_folders["gpt"], tmp_path / "broken")
    jobs = [ProbeJob(find_candidate(str(folder)), 16) for folder in (model_folders["gpt"], broken)]
    (broken / "model.safetensors").write_bytes(b"torn")
    first = {job.candidate.name: probe for job, probe in run_probes(jobs, setting, 2)}
    assert first["gpt"].status == "done"
    assert first["gpt"].flops > 0
    assert first["broken"].status == "failed"
    assert "broken cannot be used: model.safetensors is not a safetensors file" in first["broken"].error
    [(_, again)] = run_probes(jobs[:1], setting, 1)
    assert (again.seconds, again.losses) == (first["gpt"].seconds, first["gpt"].losses)
    assert Store(setting.folder).runs() == []
    with pytest.raises(InputError, match="999 probe examples asked for"):
        list(run_probes([ProbeJob(jobs[0].candidate, 999)], setting, 1))


def test_the_key_of_a_probe_follows_everything_that_changes_it(setting, model_folders, tmp_path):
    gpt, llama = (find_candidate(str(model_folders[name])) for name in ("gpt", "llama"))
    keys = [setting.key(job) for job in (ProbeJob(gpt, 16), ProbeJob(gpt, 32), ProbeJob(llama, 16), Job(gpt, 16))]
    for changed in (TrainingConfig(subset_seed=1), TrainingConfig(max_length=64)):
        keys.append(Setting(setting.task, changed, tmp_path).key(ProbeJob(gpt, 16)))
    assert len(set(keys)) == len(keys)
    other = Setting(setting.task, TrainingConfig(num_train_epochs=7), tmp_path)
    assert other.key(ProbeJob(gpt, 16)) == keys[0]


def test_the_key_follows_everything_that_changes_the_result(setting, model_folders, tmp_path):
    gpt, llama = (find_candidate(str(model_folders[name])) for name in ("gpt", "llama"))
    other = Setting(setting.task, TrainingConfig(num_train_epochs=2), tmp_path)
    keys = [setting.key(Job(gpt, 50)), setting.key(Job(gpt, 100)), setting.key(Job(gpt, 50, 1e-3))]
    keys += [
        setting.key(Job(gpt, 50, 1e-3, previous_validation_loss=1.0)),
        setting.key(Job(llama, 50)),
        other.key(Job(gpt, 50)),
    ]
    assert len(set(keys)) == len(keys)
