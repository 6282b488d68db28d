"""The search within a budget without training: runs are made up, decisions and their log are real."""

import json
import shutil
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from lensllm import zoo
from lensllm.candidates import find_candidate
from lensllm.cli import main
from lensllm.errors import BudgetTooSmall, InputError, NothingMeasured
from lensllm.execution import Executor
from lensllm.probes.measure_job import Measure
from lensllm.probes.record import Probe
from lensllm.search.budget_search import BudgetSearch
from lensllm.search.cost import Budget
from lensllm.search.driver import drive
from lensllm.search.ladder import doublings
from lensllm.search.ladder_plan import LadderPlan
from lensllm.search.log import FILE_NAME, DecisionLog, Logged
from lensllm.search.policy import Decision
from lensllm.search.replay import replay_folder
from lensllm.store import Store
from lensllm.tuning.run import Run
from lensllm.tuning.training_config import TrainingConfig
from search.cases import NAMES

ASSETS = Path(__file__).parents[1] / "assets"


def made_up(job, failing=()):
    k = NAMES.index(job.candidate.name)
    if isinstance(job, Measure):
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


class MadeUp(Executor):
    """Slots whose jobs end one by one in an order of the test's, after `most` of which nothing more is made."""

    def __init__(self, slots=1, failing=(), order=lambda jobs: jobs[0], most=10**6):
        self.slots, self.failing, self.order, self.most = slots, failing, order, most
        self.running, self.asked = [], []

    @property
    def free_slots(self):
        return self.slots - len(self.running)

    def submit(self, job):
        assert self.free_slots > 0
        assert job.candidate.name not in [other.candidate.name for other in self.running]
        self.running.append(job)
        self.asked.append(job)

    def wait(self, timeout=None):
        if timeout == 0:
            return None
        if self.most == 0:
            raise KeyboardInterrupt
        self.most -= 1
        job = self.order(self.running)
        self.running.remove(job)
        return job, made_up(job, self.failing)

    def close(self):
        self.running = []


def search_of(folder, task, candidates, budget=0.5, kernel=False, admit=None):
    plan = LadderPlan(doublings(len(task.train)), TrainingConfig(), Budget(part=budget))
    return BudgetSearch(candidates, task, plan, 0.95, 0.0005, kernel=kernel, folder=folder, admit=admit)


def search_in(folder, task, candidates, *, slots=1, order=lambda jobs: jobs[0], failing=(), budget=0.5, kernel=False,
              most=10**6):  # fmt: skip
    """Carry a search through; the jobs in the order they were begun."""
    store = Store(folder)
    search = search_of(folder, task, candidates, budget, kernel)
    executor = MadeUp(slots, failing, order, most)
    try:
        drive(search, executor, store)
    finally:
        store.close()
    return search, executor.asked


def last(jobs):
    return jobs[-1]


def test_with_one_slot_everything_repeats(task, candidates, tmp_path):
    """And the order in which models as they came end changes nothing, however many slots."""
    logs = [
        search_in(tmp_path / str(n), task, candidates) and (tmp_path / str(n) / FILE_NAME).read_text() for n in "ab"
    ]
    assert logs[0] == logs[1]
    told = set()
    for number, places in enumerate(list(permutations(range(4)))[::6]):
        folder = tmp_path / str(number)

        def first_of(jobs, places=places):
            return min(jobs, key=lambda job: (job.examples, places[NAMES.index(job.candidate.name)]))

        search_in(folder, task, candidates, slots=4, order=first_of, budget=0.07)
        first = json.loads((folder / FILE_NAME).read_text())["decisions"][0]
        told.add(json.dumps(first))
    assert len(told) == 1


def test_rungs_are_climbed_one_by_one_with_what_the_last_one_left(task, candidates, tmp_path):
    search, asked = search_in(tmp_path, task, candidates, slots=3)
    climbed = {name: [job for job in asked if job.candidate.name == name] for name in NAMES}
    for jobs in climbed.values():
        sizes = [job.examples for job in jobs]
        assert sizes == [0, 50, 100, 200, 400, 800, 1600, 3200, 6400][: len(sizes)]
        assert len(sizes) >= 4
        assert [job.learning_rate for job in jobs[:3]] == [None, None, 1e-3]
        assert jobs[2].previous_validation_loss == made_up(jobs[1]).validation
    assert search.expected == len(asked)


@pytest.mark.parametrize("slots", [2, 4])
@pytest.mark.parametrize("order", [lambda jobs: jobs[0], last])
def test_a_decision_is_taken_after_every_result_beside_what_still_runs(task, candidates, tmp_path, slots, order):
    """Whatever ends first: slots are kept busy, the budget holds, and the log tells all of it."""
    search, asked = search_in(tmp_path, task, candidates, slots=slots, order=order)
    log = DecisionLog.read(tmp_path)
    assert search.stopped
    assert {len(logged.results) for logged in log.decisions[1:]} <= {0, 1}
    assert max(len(logged.pending) for logged in log.decisions) == slots - 1
    assert all(set(logged.decision.runs).isdisjoint(logged.pending) for logged in log.decisions)
    decided = [name for logged in log.decisions for name in logged.decision.runs]
    assert decided == [job.candidate.name for job in asked if job.examples]
    replayed = replay_folder(tmp_path)
    assert all(made.agrees for made in replayed)
    assert replayed[-1].spent <= 0.5 * sum(row[-1] for row in log.flops)


class Bunched(MadeUp):
    """All that was begun has ended by the time that the first is waited for."""

    def wait(self, timeout=None):
        return super().wait(None)


def test_decisions_after_several_results_are_replayed(task, candidates, tmp_path):
    store = Store(tmp_path)
    drive(search_of(tmp_path, task, candidates), Bunched(3), store)
    store.close()
    assert max(len(logged.results) for logged in DecisionLog.read(tmp_path).decisions[1:]) == 3
    assert all(made.agrees for made in replay_folder(tmp_path))


@pytest.mark.parametrize("slots", [1, 3])
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(task, candidates, tmp_path, slots):
    """Interrupted early or late: decisions, jobs and the answer are those of the uninterrupted one."""
    whole, asked = search_in(tmp_path / "whole", task, candidates, slots=slots, kernel=True)
    known = DecisionLog.read(tmp_path / "whole")
    for most in (1, 5, len(asked) // 2, len(asked) - 2):
        folder = tmp_path / str(most)
        with pytest.raises(KeyboardInterrupt):
            search_in(folder, task, candidates, slots=slots, kernel=True, most=most)
        resumed, rest = search_in(folder, task, candidates, slots=slots, kernel=True)
        log = DecisionLog.read(folder)
        if slots == 1:
            assert repr(log) == repr(known)
        assert resumed.decision.choice == whole.decision.choice
        assert len(rest) <= len(asked) - most
        assert all(made.agrees for made in replay_folder(folder))


def test_a_finished_search_runs_nothing_again(task, candidates, tmp_path):
    first, _ = search_in(tmp_path, task, candidates, slots=2)
    text = (tmp_path / FILE_NAME).read_text()
    again, asked = search_in(tmp_path, task, candidates, slots=2)
    assert asked == []
    assert (again.decision, again.expected) == (first.decision, first.expected)
    assert (tmp_path / FILE_NAME).read_text() == text


def test_another_budget_is_another_search_that_makes_nothing_again(task, candidates, tmp_path):
    _, asked = search_in(tmp_path, task, candidates, budget=0.07)
    _, more = search_in(tmp_path, task, candidates, budget=0.5)
    assert more
    assert not {job.key for job in more} & {job.key for job in asked}
    assert DecisionLog.read(tmp_path).budget == Budget(part=0.5)


def as_of_version_1(name, folder):
    """A shipped model without the files that are not read any more and so in no key."""
    kept = shutil.ignore_patterns("card.json", "generation_config.json", "README.md")
    return shutil.copytree(zoo.model_path(name), folder / name, ignore=kept, dirs_exist_ok=True)


def test_a_log_of_rounds_replays_and_goes_on(tmp_path, task, capsys):
    """Stores and logs of version 0.1.0, whose keys are still those of the same jobs."""
    for name in ("v0.1.0-kernel", "v0.1.0-one"):
        folder = shutil.copytree(ASSETS / name, tmp_path / name)
        log = DecisionLog.read(folder)
        replayed = replay_folder(folder)
        assert [made.recorded for made in replayed] == [logged.decision for logged in log.decisions]
        with pytest.raises(SystemExit) as end:
            main(["replay", str(folder)])
        assert end.value.code == 0
        assert "version 1 of the forecast" in capsys.readouterr().out
        kernel, config = name.endswith("kernel"), TrainingConfig(max_test_examples=40)
        models = [find_candidate(str(as_of_version_1(name, tmp_path / "models"))) for name in log.candidates]
        plan = LadderPlan(log.rungs, config, log.budget)
        search = BudgetSearch(models, task, plan, 0.95, 0.001, kernel=kernel, folder=folder)
        executor = MadeUp(1)
        store = Store(folder)
        told = drive(search, executor, store)
        store.close()
        assert executor.asked == []
        assert len(told) == sum(len(logged.results) for logged in log.decisions)
        assert search.decision == log.decisions[-1].decision


def test_a_failed_run_ends_its_candidate_and_no_other(task, candidates, tmp_path):
    _, asked = search_in(tmp_path, task, candidates, failing={(NAMES[0], 100), (NAMES[3], 0)})
    sizes = {name: [job.examples for job in asked if job.candidate.name == name] for name in NAMES}
    assert sizes[NAMES[0]] == [0, 50, 100]
    assert sizes[NAMES[3]] == [0]
    assert max(sizes[NAMES[1]]) >= 200
    assert all(made.agrees for made in replay_folder(tmp_path))


def test_what_failed_in_the_log_is_made_anew(task, candidates, tmp_path):
    search_in(tmp_path, task, candidates, failing={(NAMES[0], 100)})
    _, again = search_in(tmp_path, task, candidates)
    assert (again[0].candidate.name, again[0].examples) == (NAMES[0], 100)


def test_probes_are_charged_and_forecast_with(task, candidates, tmp_path):
    search, asked = search_in(tmp_path / "kernel", task, candidates, failing={(NAMES[3], 0)}, kernel=True)
    probes = [(type(job).__name__, job.candidate.name, job.examples) for job in asked[4:7]]
    assert probes == [("Measure", name, 64) for name in NAMES[:3]]
    assert not any(isinstance(job, Measure) for job in asked[7:])
    replayed = replay_folder(tmp_path / "kernel")
    assert replayed[0].spent == pytest.approx(3 * 1e9 + 3 * 2e9)
    assert [r.candidate for r in replayed[0].records if isinstance(r, Probe)] == list(NAMES[:3])
    assert all(made.agrees for made in replayed)
    assert replayed[-1].decided.p_best == search.decision.p_best
    search_in(tmp_path / "three", task, candidates, failing={(NAMES[3], 0)})
    with_probes, without = (DecisionLog.read(tmp_path / folder).decisions for folder in ("kernel", "three"))
    assert [logged.decision.p_best for logged in with_probes] != [logged.decision.p_best for logged in without]


def test_a_failed_probe_is_charged_what_it_should_have_taken(task, candidates, tmp_path):
    failing = {(NAMES[1], "probe")}
    search, _ = search_in(tmp_path, task, candidates, failing=failing, kernel=True)
    replayed = replay_folder(tmp_path)
    foreseen = DecisionLog.read(tmp_path).probe_flops
    assert replayed[0].spent == pytest.approx(4 * 1e9 + 3 * 2e9 + foreseen[1])
    assert search.decision.stopped


def test_a_kernel_alone_makes_no_choice(task, candidates, tmp_path):
    """The kernel forecasts also what could not be trained, which is never chosen."""
    search, _ = search_in(tmp_path, task, candidates, failing={(NAMES[3], 50)}, kernel=True)
    assert search.decision.choice.split(" ")[0] in NAMES[:3]
    assert all(NAMES[3] != logged.decision.choice for logged in DecisionLog.read(tmp_path).decisions)


def test_a_budget_too_small_for_the_probes_is_refused_before_they_are_made(task, candidates, tmp_path):
    """The named budget is enough; probes that then take more than foreseen can still end it, with all kept."""
    with pytest.raises(BudgetTooSmall, match=r"does not reach the probe and two sizes of every candidate") as caught:
        search_in(tmp_path / "none", task, candidates, budget=0.06, kernel=True)
    assert Store(tmp_path / "none").records(Probe) == []
    assert caught.value.budget == 0.06
    assert caught.value.smallest == pytest.approx(
        float(str(caught.value).split("that does is ")[1].split()[0]), abs=1e-3
    )
    search, _ = search_in(tmp_path / "enough", task, candidates, budget=caught.value.smallest, kernel=True)
    assert search.decision.stopped
    plain, _ = search_in(tmp_path / "plain", task, candidates, budget=0.06)
    assert plain.decision.stopped


def test_a_log_from_before_probes_were_in_the_budget_replays(task, candidates, tmp_path):
    search_in(tmp_path, task, candidates)
    fields = json.loads((tmp_path / FILE_NAME).read_text())
    rounds = [{"keys": row["results"], "decision": row["decision"]} for row in fields.pop("decisions")]
    assert fields.pop("probe_flops") == []
    (tmp_path / FILE_NAME).write_text(json.dumps({**fields, "version": 1, "count": 1, "rounds": rounds}))
    assert all(made.agrees for made in replay_folder(tmp_path))


def test_no_candidate_is_one_sentence(task, candidates, tmp_path):
    failing = {(name, 0) for name in NAMES}
    with pytest.raises(NothingMeasured, match=r"no candidate could be measured; gpt2-0\.2m-random: out of paper"):
        search_in(tmp_path, task, candidates, failing=failing)


def test_the_replay_agrees_and_notices_when_it_does_not(task, candidates, tmp_path):
    search_in(tmp_path, task, candidates)
    replayed = replay_folder(tmp_path)
    assert len(replayed) > 4
    assert all(made.agrees for made in replayed)
    assert np.all(np.diff([made.spent for made in replayed]) > 0)
    key = DecisionLog.read(tmp_path).decisions[3].results[0]
    store, other = Store(tmp_path), Store(tmp_path / "other")
    for known in [known for logged in DecisionLog.read(tmp_path).decisions for known in logged.results]:
        run = store.find(known, Run)
        other.put(known, task.name, replace(run, nats_per_byte=run.nats_per_byte * (0.2 if known == key else 1)))
    store.close()
    other.close()
    shutil.copy(tmp_path / FILE_NAME, tmp_path / "other")
    assert not all(made.agrees for made in replay_folder(tmp_path / "other"))


def test_a_replay_with_a_hole_names_the_decision(task, candidates, tmp_path):
    search_in(tmp_path, task, candidates)
    log = DecisionLog.read(tmp_path)
    log.decisions[2] = replace(log.decisions[2], results=["0123456789abcdef"])
    log.write(tmp_path)
    with pytest.raises(
        InputError, match="no record 0123456789ab, which decision 3 was taken from: run the selection again"
    ):
        replay_folder(tmp_path)
    again, asked = search_in(tmp_path, task, candidates)
    assert asked == []
    assert again.stopped


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no decisions"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        (json.dumps({"version": 1}), "is damaged"),
        (json.dumps({"version": 3, "decisions": [{}]}), "is damaged"),
        (json.dumps({"version": 9}), "newer version"),
    ],
)
def test_a_log_that_cannot_be_read_is_one_sentence(text, message, tmp_path):
    if text is not None:
        (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(InputError, match=message):
        replay_folder(tmp_path)


def test_the_command_says_whether_the_replay_agrees(task, candidates, tmp_path, capsys):
    search_in(tmp_path, task, candidates, slots=2)
    with pytest.raises(SystemExit) as end:
        main(["replay", str(tmp_path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    assert told["agrees"] is True
    assert told["decisions"][0]["records"] == [["run", name, 0] for name in NAMES]
    log = DecisionLog.read(tmp_path)
    log.decisions[-1] = replace(log.decisions[-1], decision=Decision(stopped="out of patience", choice=NAMES[0]))
    log.write(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["replay", str(tmp_path)])
    assert end.value.code == 1
    assert f"{len(log.decisions)} differ" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["replay", str(tmp_path / "nowhere")])
    assert end.value.code == 2


def test_the_log_grows_line_by_line_and_loses_a_torn_one_only(tmp_path):
    names, files = ["a", "b"], set()
    log = DecisionLog(names, [50, 100], [[1.0, 2.0]] * 2, Budget(), 0.95, 0.001)
    for number in range(3):
        log.decisions.append(Logged([f"key {number}"], [], 1, Decision(("a",), "", "a", 0.5, 0.1, 0.2, ("b",))))
        log.write(tmp_path)
        assert DecisionLog.read(tmp_path) == log
        files.add((tmp_path / FILE_NAME).stat().st_ino)
    path = tmp_path / FILE_NAME
    whole = path.read_text()
    assert len(files) == 1
    last = whole.index('{"results": ["key 2"]')
    for cut in range(last, len(whole) - 5, 7):
        path.write_text(whole[:cut])
        assert DecisionLog.read(tmp_path).decisions == log.decisions[:2]
    path.write_text(whole[: whole.index("rungs")])
    with pytest.raises(InputError, match="damaged"):
        DecisionLog.read(tmp_path)
