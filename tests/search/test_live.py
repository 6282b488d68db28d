"""The live search without training: runs are made up, decisions and their record are real."""

import json
from itertools import permutations

import numpy as np
import pytest

from lensllm.candidates import find_candidate
from lensllm.cli import main
from lensllm.errors import InputError
from lensllm.probes.record import Probe
from lensllm.search.cost import Budget
from lensllm.search.live import FILE_NAME, Record, Search, replay_folder
from lensllm.search.policy import Decision
from lensllm.search.workers import ProbeJob, Setting
from lensllm.selectors import GrowingSlopesKernel
from lensllm.store import Store
from lensllm.tasks import read_task
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig

NAMES = ("gpt2-0.2m-random", "gpt2-0.2m-brown-0.3m", "llama-0.2m-austen-1.5m", "t5-0.2m-glosses-1.5m")


@pytest.fixture(scope="module")
def task():
    return read_task("define")


@pytest.fixture(scope="module")
def candidates():
    return [find_candidate(name) for name in NAMES]


def made_up(job, failing=()):
    k = NAMES.index(job.candidate.name)
    if isinstance(job, ProbeJob):
        if (job.candidate.name, "probe") in failing:
            return Probe(job.candidate.name, job.examples, "failed", error="out of ink")
        losses = [2.4 - 0.1 * k, 2.3 - 0.2 * k, 2.2 - 0.3 * k]
        return Probe(
            job.candidate.name, job.examples, "done", 2.5, [8, 16, 32], losses, [0.0] * 3, flops=2e9, seconds=3.0
        )
    if (job.candidate.name, job.examples) in failing:
        return Run(job.candidate.name, job.examples, "failed", error="out of paper")
    loss = 1.0 + 0.004 * k + (2.0 + 0.2 * k) / (3 + job.examples ** (0.3 + 0.02 * k))
    flops = 1e9 if job.examples == 0 else 3e7 * job.examples
    return Run(
        job.candidate.name, job.examples, "done", loss, loss, learning_rate=1e-3, validation=loss, flops=flops,
        test_flops=1e9, seconds=flops / 1e9, parameters=1,
    )  # fmt: skip


def search_in(folder, task, candidates, *, order=lambda jobs: jobs, failing=(), count=3, budget=0.5, kernel=False):
    """Carry a search through, each round's runs ending in this order."""
    setting = Setting(task, TrainingConfig(), folder)
    store = Store(folder)
    search = Search(candidates, setting, Budget(part=budget), 0.95, 0.0005, count, kernel)
    jobs, asked = search.start(), []
    while jobs:
        asked.append(jobs)
        following = []
        for job in order(list(jobs)):
            run = made_up(job, failing)
            store.put(setting.key(job), task.name, run)
            following = search.after(job, run)
            if job is not order(list(jobs))[-1]:
                assert following == []
        jobs = following
    store.close()
    return search, asked


def test_decisions_do_not_depend_on_which_run_ends_first(task, candidates, tmp_path):
    told = []
    for number, order in enumerate(list(permutations(range(4)))[::6]):
        turned = lambda jobs, order=order: [jobs[i] for i in order if i < len(jobs)]  # noqa: E731
        search, asked = search_in(tmp_path / str(number), task, candidates, order=turned)
        told.append((asked, search.decision, (tmp_path / str(number) / FILE_NAME).read_text()))
    assert all(each == told[0] for each in told)
    assert told[0][1].stopped


def test_rungs_are_climbed_one_by_one_with_what_the_last_one_left(task, candidates, tmp_path):
    search, asked = search_in(tmp_path, task, candidates)
    climbed = {name: [] for name in NAMES}
    for jobs in asked:
        assert len(jobs) <= max(3, len(candidates))
        for job in jobs:
            climbed[job.candidate.name].append(job)
    for jobs in climbed.values():
        sizes = [job.examples for job in jobs]
        assert sizes == [0, 50, 100, 200, 400, 800, 1600, 3200, 6400][: len(sizes)]
        assert len(sizes) >= 4
        assert [job.learning_rate for job in jobs[:3]] == [None, None, 1e-3]
        assert jobs[2].previous_validation_loss == made_up(jobs[1]).validation
    assert search.expected == sum(map(len, asked))


def test_a_failed_run_ends_its_candidate_and_no_other(task, candidates, tmp_path):
    _, asked = search_in(tmp_path, task, candidates, failing={(NAMES[0], 100), (NAMES[3], 0)})
    sizes = {name: [job.examples for jobs in asked for job in jobs if job.candidate.name == name] for name in NAMES}
    assert sizes[NAMES[0]] == [0, 50, 100]
    assert sizes[NAMES[3]] == [0]
    assert max(sizes[NAMES[1]]) >= 200
    assert all(round_.agrees for round_ in replay_folder(tmp_path))


def test_probes_are_charged_and_forecast_with(task, candidates, tmp_path):
    search, asked = search_in(tmp_path / "kernel", task, candidates, failing={(NAMES[3], 0)}, kernel=True)
    assert [(type(job).__name__, job.candidate.name, job.examples) for job in asked[1]] == [
        ("ProbeJob", name, 64) for name in NAMES[:3]
    ]
    assert not any(isinstance(job, ProbeJob) for jobs in asked[2:] for job in jobs)
    rounds = replay_folder(tmp_path / "kernel")
    assert rounds[0].spent == pytest.approx(3 * 1e9 + 3 * 2e9)
    assert [probe.candidate for probe in rounds[0].probes] == list(NAMES[:3])
    assert all(made.agrees for made in rounds)
    assert rounds[-1].decided.p_best == search.decision.p_best
    search_in(tmp_path / "three", task, candidates, failing={(NAMES[3], 0)})
    with_probes, without = (Record.read(tmp_path / folder).rounds for folder in ("kernel", "three"))
    assert [d.p_best for _, d in with_probes] != [d.p_best for _, d in without]


def test_decisions_use_the_selector_of_the_final_forecast(task, candidates, tmp_path):
    search, _ = search_in(tmp_path, task, candidates, kernel=True)
    state, selector = search._ledger.state, GrowingSlopesKernel()
    forecast = selector.forecast(state.curves, state.rungs[-1])
    assert search.decision.choice == forecast.best
    np.testing.assert_array_equal(search._policy.forecast(state).of(forecast.candidates).samples, forecast.samples)


def test_a_failed_probe_is_charged_what_it_should_have_taken(task, candidates, tmp_path):
    failing = {(NAMES[1], "probe")}
    search, _ = search_in(tmp_path, task, candidates, failing=failing, kernel=True)
    rounds = replay_folder(tmp_path)
    foreseen = Record.read(tmp_path).probe_flops
    assert rounds[0].spent == pytest.approx(4 * 1e9 + 3 * 2e9 + foreseen[1])
    assert all(made.agrees for made in rounds)
    assert search.decision.stopped


def test_a_kernel_alone_makes_no_choice(task, candidates, tmp_path):
    """The kernel forecasts also what could not be trained, which is never chosen."""
    search, _ = search_in(tmp_path, task, candidates, failing={(NAMES[3], 50)}, kernel=True)
    state = search._ledger.state
    assert np.isfinite(GrowingSlopesKernel().forecast(state.curves, 6400).mean).all()
    assert NAMES[3] not in search._policy.forecast(state).models


def test_a_budget_too_small_for_the_probes_is_refused_before_they_are_made(task, candidates, tmp_path):
    """The named budget is enough; probes that then take more than foreseen can still end it, with all kept."""
    with pytest.raises(InputError, match=r"does not reach the probe and two sizes of every candidate") as caught:
        search_in(tmp_path / "none", task, candidates, budget=0.06, kernel=True)
    assert Store(tmp_path / "none").probes() == []
    named = float(str(caught.value).split("smallest that does is ")[1].split()[0])
    search, _ = search_in(tmp_path / "enough", task, candidates, budget=named + 5e-4, kernel=True)
    assert search.decision.stopped
    plain, _ = search_in(tmp_path / "plain", task, candidates, budget=0.06)
    assert plain.decision.stopped


def test_a_record_from_before_probes_were_in_the_budget_replays(task, candidates, tmp_path):
    search_in(tmp_path, task, candidates)
    fields = json.loads((tmp_path / FILE_NAME).read_text())
    assert fields.pop("version") == 2
    assert fields.pop("probe_flops") == []
    (tmp_path / FILE_NAME).write_text(json.dumps({"version": 1, **fields}))
    assert all(made.agrees for made in replay_folder(tmp_path))


def test_no_candidate_is_one_sentence(task, candidates, tmp_path):
    failing = {(name, 0) for name in NAMES}
    with pytest.raises(InputError, match=r"no candidate could be measured; gpt2-0\.2m-random: out of paper"):
        search_in(tmp_path, task, candidates, failing=failing)


def test_the_replay_agrees_and_notices_when_it_does_not(task, candidates, tmp_path):
    search_in(tmp_path, task, candidates)
    rounds = replay_folder(tmp_path)
    assert len(rounds) > 4
    assert all(made.agrees for made in rounds)
    assert np.all(np.diff([made.spent for made in rounds]) > 0)
    record = Record.read(tmp_path)
    store = Store(tmp_path)
    key = record.rounds[3][0][0]
    old = store.find(key)
    store.put(key, task.name, Run(**{**vars(old), "nats_per_byte": 0.2 * old.nats_per_byte}))
    store.close()
    assert not all(made.agrees for made in replay_folder(tmp_path))


def test_a_replay_with_a_hole_names_the_round(task, candidates, tmp_path):
    search_in(tmp_path, task, candidates)
    store = Store(tmp_path)
    store._connection.execute("DELETE FROM runs WHERE key = ?", (Record.read(tmp_path).rounds[2][0][0],))
    store.close()
    with pytest.raises(InputError, match="which round 3 made: run the selection again"):
        replay_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no decisions"),
        ("{", "is damaged"),
        (json.dumps({"version": 1}), "is damaged"),
        (json.dumps({"version": 9}), "newer version"),
    ],
)
def test_a_record_that_cannot_be_read_is_one_sentence(text, message, tmp_path):
    if text is not None:
        (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(InputError, match=message):
        replay_folder(tmp_path)


def test_the_command_says_whether_the_replay_agrees(task, candidates, tmp_path, capsys):
    search_in(tmp_path, task, candidates)
    with pytest.raises(SystemExit) as end:
        main(["replay", str(tmp_path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    assert told["agrees"] is True
    assert told["rounds"][0]["runs"] == [[name, 0] for name in NAMES]
    record = Record.read(tmp_path)
    record.rounds[-1] = (record.rounds[-1][0], Decision(stopped="out of patience", choice=NAMES[0]))
    record.write(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["replay", str(tmp_path)])
    assert end.value.code == 1
    assert f"round {len(record.rounds)} differ" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["replay", str(tmp_path / "nowhere")])
    assert end.value.code == 2
