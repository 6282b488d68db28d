"""Ray passes the contract of executors, and gives the same records bit for bit, whatever dies on two nodes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import psutil
import pytest

ray = pytest.importorskip("ray")

from commands import refused, run  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

import lensllm  # noqa: E402
from lensllm.candidates import find_candidate  # noqa: E402
from lensllm.cli import main  # noqa: E402
from lensllm.errors import InputError  # noqa: E402
from lensllm.execution import InProcess  # noqa: E402
from lensllm.execution.ray import executor as ray_executor  # noqa: E402
from lensllm.execution.ray import survey as ray_survey  # noqa: E402
from lensllm.execution.ray.connection import Connection  # noqa: E402
from lensllm.execution.ray.executor import Ray  # noqa: E402
from lensllm.execution.ray.losses import lost  # noqa: E402
from lensllm.execution.ray.work import Lacking, work  # noqa: E402
from lensllm.jobs import Lost  # noqa: E402
from lensllm.probes.measure_job import Measure  # noqa: E402
from lensllm.search.base import Jobs  # noqa: E402
from lensllm.search.callbacks import Callback  # noqa: E402
from lensllm.search.driver import drive  # noqa: E402
from lensllm.selection import Selection  # noqa: E402
from lensllm.store import Store  # noqa: E402
from lensllm.tasks import read_task  # noqa: E402
from lensllm.testing import ExecutorContract, ToyJob  # noqa: E402
from lensllm.tuning.device import device_told  # noqa: E402
from lensllm.tuning.fine_tune import FineTune  # noqa: E402
from lensllm.tuning.run import Run  # noqa: E402
from lensllm.tuning.training_config import TrainingConfig  # noqa: E402

pytestmark = pytest.mark.xdist_group("ray")
HERE = "LENSLLM_TEST_RAY"
"""Variable that tells programs started by tests where the cluster is."""
ONE_CORE = {"num_cpus": 1, "object_store_memory": 80 << 20}
HEAD = {"include_dashboard": False, "_system_config": {"num_workers_soft_limit": 4, "worker_niceness": 0}}
"""Idle worker processes are kept, and none is put behind what else the machine does: quicker."""


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A head node and another one, of one core each. This process stays in it, so that worker processes do."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={**ONE_CORE, **HEAD})
    made.add_node(**ONE_CORE)
    os.environ[HERE] = made.address
    ray.init(address=made.address, log_to_driver=False, logging_level="error")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield made
    ray.shutdown()
    del os.environ[HERE]
    made.shutdown()


@pytest.fixture(autouse=True)
def ends_within_minutes():
    """A test that waits for Ray without end fails, and those after it run."""

    def late(*_):
        raise AssertionError("it has not ended within six minutes")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(360)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def joined(**options):
    return Ray(os.environ[HERE], **options)


class TestRay(ExecutorContract):
    def executor(self):
        return joined()


def busy(label, seconds=240):
    """The worker process that makes a job of this name, which no test beside this one may use."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline"]):
            if " ".join(process.info["cmdline"] or []).strip() == f"ray::{label}":
                return process
        time.sleep(0.1)
    raise AssertionError(f"{label} did not begin")


def test_a_cluster_of_the_program_itself_is_left_as_it_was(cluster):
    for _ in range(2):
        with joined() as executor:
            assert executor.said[0] == "this program's own Ray cluster runs the jobs and goes on afterwards"
            assert executor.said[1].startswith("at most 2 jobs at once, each with 1 core, on ")
            assert executor.device == device_told()
    assert ray.is_initialized()
    assert len(cluster.list_all_nodes()) == 2


def test_jobs_have_their_threads_and_the_hubs_variables_and_no_token(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", "/models")
    monkeypatch.setenv("HF_TOKEN", "secret")
    mark = tmp_path / "pid"
    with joined(workers=1) as executor:
        executor.submit(ToyJob("with variables", "sleep", 3600, str(mark)))
        assert executor.free_slots == 0
        told = busy("with variables").environ()
    assert (told["OMP_NUM_THREADS"], told["MKL_NUM_THREADS"], told["HF_HOME"]) == ("1", "1", "/models")
    assert "HF_TOKEN" not in told


def test_a_request_that_no_node_can_satisfy_names_the_largest():
    with pytest.raises(InputError, match=r"--gpus-per-run 2 .* no node .* so many: the largest is .* \(1 core, "):
        joined(gpus_per_run=2)


def test_a_cluster_full_of_others_jobs_is_one_sentence(monkeypatch):
    monkeypatch.setattr(ray_executor, "ANSWER_WITHIN", 1.0)
    begun = ray.remote(num_cpus=1)(lambda seconds: time.sleep(seconds))
    others = [begun.options(scheduling_strategy="SPREAD").remote(60) for _ in range(2)]
    with joined() as executor, pytest.raises(InputError, match="has not begun what it was asked: wait for those whose"):
        print(executor.machine)
    for one in others:
        ray.cancel(one, force=True)


def test_the_end_of_a_task_is_told_in_words(cluster):
    with joined() as executor:
        node = replace(executor._nodes.largest, name="n")
        for error, told in (
            (ray.exceptions.OutOfMemoryError("x"), "node n ran out of memory, so Ray ended the worker process"),
            (ray.exceptions.WorkerCrashedError(), "the worker process on node n died"),
            (ray.exceptions.NodeDiedError("x"), "node n died or left the cluster"),
            (ray.exceptions.RaySystemError("odd"), "node n cannot run the job (RaySystemError: System error: odd)"),
        ):
            assert lost(ray, error, node) == Lost(told)
        node = executor._nodes.largest
        executor.submit(ToyJob("a", "kill"))
        assert executor.wait()[1] == Lost(f"the worker process on node {node.name} died")


def test_ray_tries_nothing_again_by_itself(tmp_path):
    with joined() as executor:
        executor.submit(ToyJob("a", "kill once", mark=str(tmp_path / "mark")))
        job, lost_once = executor.wait()
        assert isinstance(lost_once, Lost)
        executor.submit(job)
        assert executor.wait()[1].status == "done"


def test_a_job_that_a_node_does_not_begin_is_said_and_goes_to_another(cluster, caplog, monkeypatch):
    monkeypatch.setattr(ray_executor, "BEGIN_WITHIN", 20.0)
    monkeypatch.setattr(ray_executor, "LOOK_EVERY", 0.5)
    with joined() as executor:
        full = max(executor._nodes.all)
        there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(full, soft=False)
        theirs = ray.remote(num_cpus=1)(lambda: time.sleep(3600)).options(name="theirs", scheduling_strategy=there)
        stays = theirs.remote()
        busy("theirs")
        executor.submit(ToyJob("a"))
        assert [begun.node.id for begun in executor._running.values()] == [full]
        job, record = executor.wait()
        assert (job.label, record.status, executor.free_slots) == ("a", "done", 2)
        executor.submit(ToyJob("b"))
        assert [begun.node.id for begun in executor._running.values()] != [full]
        assert executor.wait()[1].status == "done"
        ray.cancel(stays, force=True)
    name = executor._nodes.all[full].name
    said = [line for line in caplog.messages if line.startswith(f"ray: node {name} has not begun a within 20 seconds")]
    assert len(said) == 1


def test_a_job_whose_node_is_gone_is_lost_though_ray_does_not_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_executor, "TOLD_WITHIN", 1.0)
    monkeypatch.setattr(ray_executor, "LOOK_EVERY", 0.2)
    mark = tmp_path / "pid"
    with joined() as executor:
        executor.submit(ToyJob("a", "sleep", 3600, str(mark)))
        [asked] = executor._running.values()
        others = set(executor._nodes.all) - {asked.node.id}
        while not (mark.exists() and mark.read_text()):
            time.sleep(0.05)
        monkeypatch.setattr(executor._survey, "look", lambda: others)
        assert executor.wait() == (asked.job, Lost(f"node {asked.node.name} died or left the cluster"))
        assert executor.free_slots == 1
    assert gone(psutil.Process(int(mark.read_text())))


def test_a_node_that_never_says_what_it_is_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(ray_executor, "LOOK_EVERY", 0.2)
    with joined(workers=1) as executor:
        only = next(iter(executor._nodes.all.values()))
        silent = next(node for node in ray.nodes() if node["NodeID"] != only.id and node["Alive"])
        executor._survey.asked[ray.remote(num_cpus=5)(lambda: None).remote()] = silent
        executor._nodes.drop(only.id)
        executor._nodes.drop(silent["NodeID"])
        executor.submit(ToyJob("a"))
        monkeypatch.setattr(ray_survey, "ANSWER_WITHIN", 0.5)
        with pytest.raises(InputError, match=r"can run what is left \(the last one is gone\)"):
            executor.wait()


def only_elsewhere(job, sent, task):
    """As `work`, on a node that the job's mark does not name."""
    if job.mark in ("all", ray.get_runtime_context().get_node_id()):
        return Lacking("node x cannot run it: there is no folder")
    return work(replace(job, mark=""), sent, task)


def test_a_job_goes_to_another_node_where_one_lacks_its_model(monkeypatch):
    monkeypatch.setattr(ray_executor, "work", only_elsewhere)
    with joined() as executor:
        jobs = [ToyJob("a", mark=node) for node in (*executor._nodes.all, "all")]
        found = {}
        for job in jobs:
            executor._lacking.clear()
            executor.submit(job)
            _, found[job.mark] = executor.wait()
            assert executor.free_slots == 2
    assert [found[job.mark].status for job in jobs] == ["done", "done", "failed"]
    assert found["all"].error == "node x cannot run it: there is no folder"


def test_a_model_that_no_node_has_is_a_failure_by_name(model_folders, sums_file, tmp_path):
    task, config = read_task(sums_file), TrainingConfig(num_train_epochs=1)
    gone, there = (tmp_path / name for name in ("gone", "there"))
    for folder in (gone, there):
        folder.mkdir()
        for file in model_folders["gpt"].iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    jobs = [FineTune(find_candidate(str(folder)), task, config, 0) for folder in (gone, there)]
    assert all(job.key for job in jobs)
    gone.rename(tmp_path / "elsewhere")
    with joined() as executor:
        for job in jobs:
            executor.submit(job)
        found = {job.candidate.name: record for job, record in (executor.wait(), executor.wait())}
    assert found["there"].status == "done"
    assert found["gone"].status == "failed"
    assert "cannot run gone: there is no folder" in found["gone"].error


class Remove(Callback):
    """Takes a node away, as a crash does, while a job runs on it; then brings another."""

    def __init__(self, cluster, executor):
        self.cluster, self.executor, self.removed = cluster, executor, ""

    def on_run_end(self, job, record, progress):
        [node] = [node for node in self.cluster.worker_nodes]
        lost = [begun for begun in self.executor._running.values() if begun.node.id == node.node_id]
        if lost and not self.removed:
            self.removed = lost[0].job.label
            self.cluster.remove_node(node, allow_graceful=False)
            self.cluster.add_node(**ONE_CORE)


def test_records_are_equal_bit_for_bit_though_a_node_dies(cluster, model_folders, sums_file, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_executor, "LOOK_EVERY", 0.5)
    task, config = read_task(sums_file), TrainingConfig(num_train_epochs=1, learning_rate_trials=(1.0,))
    candidates = [find_candidate(str(model_folders[name])) for name in ("gpt", "llama", "t5")]
    jobs = [FineTune(candidate, task, config, size) for size in (50, 0) for candidate in candidates]
    jobs.append(Measure(candidates[0], task, config, 16))
    store = Store(tmp_path)
    with joined() as executor:
        first = set(executor._nodes.all)
        remove = Remove(cluster, executor)
        told = drive(Jobs(list(jobs)), executor, store, [remove])
        while executor.free_slots < 2 or first <= set(executor._nodes.all):
            executor._look()
            executor.submit(ToyJob("a"))
            while executor.wait() is None:
                pass
        assert len(first & set(executor._nodes.all)) == 1
    assert remove.removed
    expected = {job.key: repr(job.run(InProcess()._context).untimed) for job in jobs}
    assert {job.key: repr(record.untimed) for job, record in told} == expected
    kept = [record for kind in (Run, type(told[0][1])) for _, record in store.records(kind)]
    assert len(told) == len(jobs)
    assert len({job.key for job in jobs if store.find(job.key, job.record_type)}) == len(jobs)
    assert kept


def test_the_same_command_goes_on_after_its_death(model_folders, sums_file, tmp_path):
    """Killed in the middle; in the second go a worker is; what comes out is what one process makes."""
    models = [str(model_folders[name]) for name in ("gpt", "llama")]
    few = ["--sizes", "50", "--num-train-epochs", "6", "--max-test-examples", "10", "--models", *models]
    folder = tmp_path / "ray"
    command = [sys.executable, "-m", "lensllm", "select", sums_file, *few, "--executor", "ray", "--json"]
    command += ["--ray-address", os.environ[HERE], "--output-dir", folder]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not ((folder / "runs.sqlite").is_file() and Store(folder, readonly=True).records(Run)):
        time.sleep(0.1)  # a worker of an earlier test may still bear the name
    worker = busy("gpt on 50 examples")
    killed.kill()
    killed.wait()
    assert gone(worker)
    kept = {(run.candidate, run.examples): run.seconds for _, run in Store(folder, readonly=True).records(Run)}
    again = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    busy("gpt on 50 examples").kill()
    told, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert "ray: joined the Ray cluster" in errors
    runs = {(run.candidate, run.examples): run.seconds for _, run in Store(folder, readonly=True).records(Run)}
    assert sorted(runs) == [(name, size) for name in ("gpt", "llama") for size in (0, 50)]
    assert len(Store(folder, readonly=True).records(Run)) == len(runs)
    assert runs.items() >= kept.items()
    here = tmp_path / "here"
    settings = {"sizes": [50], "num_train_epochs": 6, "max_test_examples": 10, "workers": 1}
    plain = lensllm.select(sums_file, models, output_dir=str(here), **settings).to_dict()
    assert answer(json.loads(told)) == answer(json.loads(json.dumps(plain)))
    tables = [(one / "curves.csv").read_text() for one in (folder, here)]
    assert tables[0] == tables[1]


def answer(told):
    """What a selection says, without when, where and in what time it was made."""
    kept = {name: value for name, value in told.items() if name not in ("seconds", "provenance", "next")}
    return {**kept, "next": [step["what"] for step in told["next"]]}


def gone(process, seconds=5.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_a_cluster_of_its_own_listens_to_this_machine_only_and_dies_with_its_program(tmp_path):
    program = (
        "import signal\n"
        "from lensllm.execution.ray.executor import Ray\n"
        "from lensllm.testing import ToyJob\n"
        "before = signal.getsignal(signal.SIGTERM)\n"
        "executor = Ray('local')\n"
        "assert signal.getsignal(signal.SIGTERM) is before\n"
        "print(executor.said[0], flush=True)\n"
        "executor.submit(ToyJob('own cluster', 'sleep', 3600))\n"
        "executor.wait()\n"
    )
    started = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert started.stdout.readline() == "started a Ray cluster of this machine alone, which ends with this command\n"
    busy("own cluster")
    family = psutil.Process(started.pid).children(recursive=True)
    agents = [one for one in family if one.name().endswith("Agent")]
    heard = {at.laddr.ip for one in family for at in one.net_connections("inet") if at.status == psutil.CONN_LISTEN}
    started.kill()
    started.wait()
    assert len(family) > 3
    assert all(gone(process, 15) for process in family if process not in agents)  # those take a minute more
    assert heard
    assert all(ip.removeprefix("::ffff:") == "127.0.0.1" for ip in heard)


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "127.0.0.1", "head:port"])
def test_an_address_that_is_none_is_one_sentence(address):
    with pytest.raises(InputError, match=r"expected auto, local, or host:port"):
        Connection(address)


def test_another_cluster_than_that_of_the_program_is_refused(model_folders, sums_file, capsys):
    given = ["--models", model_folders["gpt"], "--executor", "ray", "--ray-address", "127.0.0.1:1"]
    said = refused(capsys, "select", sums_file, *given)
    assert said.endswith(f"and this program is in the cluster {os.environ[HERE]} already\n")


def test_a_cluster_that_is_not_there_is_one_sentence_within_seconds(model_folders, sums_file):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "lensllm", "select", sums_file, "--models", model_folders["gpt"]]
    command += ["--executor", "ray", "--ray-address", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lensllm: no Ray cluster can be reached at {address}: ")


def test_a_missing_package_is_one_sentence(model_folders, sums_file, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    said = refused(capsys, "select", sums_file, "--models", model_folders["gpt"], "--executor", "ray")
    assert said == 'lensllm: --executor ray needs Ray, which is missing: pip install "lensllm[ray]"\n'


@pytest.fixture(scope="module")
def selected(model_folders, sums_file, tmp_path_factory):
    """GPT by LoRA with dropout, selected in this process."""
    folder = tmp_path_factory.mktemp("selected")
    options = {"methods": ["lora"], "lora_dropout": 0.1, "sizes": [25], "num_train_epochs": 6, "workers": 1}
    lensllm.select(
        sums_file, [str(model_folders["gpt"])], output_dir=str(folder / "chosen"), max_test_examples=20, **options
    )
    Selection.load(folder / "chosen").train(output_dir=folder / "here")
    return folder


@pytest.fixture
def chosen(selected, tmp_path):
    """The same in a folder of its own, as if it had gone through Ray, and the weights that this process trains."""
    shutil.copytree(selected / "chosen", tmp_path / "chosen")
    answer = json.loads((tmp_path / "chosen" / "selection.json").read_text())
    answer["provenance"]["settings"] |= {"executor": "ray", "ray_address": os.environ[HERE]}
    (tmp_path / "chosen" / "selection.json").write_text(json.dumps(answer))
    return tmp_path / "chosen", selected / "here"


def weights(folder):
    return (folder / "adapter_model.safetensors").read_bytes()


class KillOnce(threading.Thread):
    """Kills the worker of a training after a checkpoint, and remembers which checkpoints came then."""

    def __init__(self, target, label):
        super().__init__(daemon=True)
        self.target, self.label, self.after = target, label, set()

    def run(self):
        worker = busy(self.label)
        while not list(self.target.glob("checkpoints/*/checkpoint-25/spent.json")):
            time.sleep(0.001)
        worker.kill()
        worker.wait()
        while (self.target / "checkpoints").exists():
            self.after |= {int(path.name.rpartition("-")[2]) for path in self.target.glob("checkpoints/*/checkpoint-*")}
            time.sleep(0.01)


def test_a_training_goes_on_to_the_same_weights_on_another_worker(chosen, capsys):
    folder, here = chosen
    kill = KillOnce(folder / "there", "gpt on 136 examples")
    kill.start()
    trained = Selection.load(folder).train(output_dir=folder / "there", save_steps=5, progress=True)
    kill.join(10)
    assert weights(folder / "there") == weights(here)
    assert not (folder / "there" / "checkpoints").exists()
    assert min(kill.after) >= 20
    assert max(kill.after) == trained.steps == 102
    assert "step 102 of 102" in capsys.readouterr().err


def test_a_node_that_has_not_the_folder_is_passed_over(cluster, chosen, tmp_path, capsys, caplog, monkeypatch):
    folder, here = chosen
    target, own_disk = folder / "trained" / "gpt", tmp_path / "own"
    (own_disk / "checkpoints").mkdir(parents=True)
    without = {node.node_id for node in cluster.list_all_nodes()}

    def on_disks_of_their_own(job, sent, task):
        """As `work`; the same path leads to another folder on some nodes."""
        other = ray.get_runtime_context().get_node_id() in without
        return work(replace(job, folder=str(own_disk)) if other else job, sent, task)

    monkeypatch.setattr(ray_executor, "work", on_disks_of_their_own)
    with pytest.raises(SystemExit) as end:
        main(["train", str(folder)])
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.startswith("lensllm: gpt on 136 examples failed: node ")
    assert f"{own_disk} is not the folder there that it is where the command runs: name one on a disk" in said
    assert said.count("\n") == 1
    assert "ray: the selection's runs went there, and so does this training: --executor processes" in caplog.text
    assert not list(own_disk.glob("checkpoints/*"))
    without.remove(min(without))
    answer = json.loads(run(capsys, "train", folder, "--executor", "ray", "--merge", "--json"))
    assert weights(target) == weights(here)
    assert answer["merged_loss"] == pytest.approx(answer["outcomes"][0]["reached"], rel=1e-4)


def test_a_training_whose_cluster_is_not_there_says_what_else_can_be_done(chosen, capsys, monkeypatch):
    folder, _ = chosen
    hint = "; the selection's runs went there, and so does this training: --executor processes trains on this machine\n"
    assert refused(capsys, "train", folder, "--ray-address", "127.0.0.1:1").endswith(f" already{hint}")
    asked = refused(capsys, "train", folder, "--ray-address", "127.0.0.1:1", "--executor", "ray")
    assert asked.endswith(" already\n")
    monkeypatch.setitem(sys.modules, "ray", None)
    missing = 'lensllm: --executor ray needs Ray, which is missing: pip install "lensllm[ray]"'
    assert refused(capsys, "train", folder) == f"{missing}{hint}"
