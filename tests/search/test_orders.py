"""What a person asks of a search while it runs: carried out, written down, and part of every replay."""

import pytest

from lensllm.errors import InputError
from lensllm.probes.record import Probe
from lensllm.search.driver import drive
from lensllm.search.joining import Admitted
from lensllm.search.journal import Entrant
from lensllm.search.log import DecisionLog
from lensllm.search.orders import FILE_NAME, Order
from lensllm.search.replay import replay_folder
from lensllm.store import Store
from lensllm.tuning.run import Run
from search.cases import NAMES
from search.test_budget_search import MadeUp, search_of

BUDGET = 0.09
FIRST_DECISION = len(NAMES) + 2
"""Results after which the search has begun to decide, and two runs have ended."""


class Asked(MadeUp):
    """While the job of number `at` runs, somebody asks for something; `most` jobs later the process dies."""

    def __init__(self, folder, at, orders, slots=1, most=10**6, failing=()):
        super().__init__(slots, failing, most=most)
        self.folder, self.at, self.orders, self.ended = folder, at, orders, 0

    def wait(self, timeout=None):
        if timeout != 0:
            self.ended += 1
        if self.ended == self.at:
            for order in self.orders:
                order.ask(self.folder)
            self.orders, self.begun_before = [], len(self.asked)
        return super().wait(timeout)


def searched(
    folder, task, candidates, *orders, slots=1, most=10**6, budget=BUDGET, at=FIRST_DECISION, kernel=False, admit=None,
    failing=(),
):  # fmt: skip
    store, search = Store(folder), search_of(folder, task, candidates, budget, kernel, admit)
    executor = Asked(folder, at, list(orders), slots, most, failing)
    try:
        drive(search, executor, store)
    finally:
        store.close()
    return search, executor


def test_a_stop_lets_the_running_jobs_end_and_stays(task, candidates, tmp_path):
    search, executor = searched(tmp_path, task, candidates, Order("stop"), slots=2)
    assert search.stopped == "you stopped it"
    assert search.decision.choice in NAMES
    assert len(executor.asked) == executor.begun_before
    assert all(made.agrees for made in replay_folder(tmp_path))
    written = DecisionLog.read(tmp_path).decisions
    again, executor = searched(tmp_path, task, candidates)
    assert (again.stopped, executor.asked) == ("you stopped it", [])
    assert DecisionLog.read(tmp_path).decisions == written


@pytest.fixture(scope="module")
def usual(task, candidates, tmp_path_factory):
    """The same search when nobody asks for anything."""
    return searched(tmp_path_factory.mktemp("usual"), task, candidates)


def test_a_dropped_candidate_is_run_no_further_and_not_chosen(usual, task, candidates, tmp_path):
    best = usual[0].decision.choice
    search, executor = searched(tmp_path / "dropped", task, candidates, Order("drop", best))
    assert best not in [job.candidate.name for job in executor.asked[executor.begun_before :]]
    assert search.decision.choice not in ("", best)
    assert set(search.taken_out) == {best}
    replayed = replay_folder(tmp_path / "dropped")
    assert all(made.agrees for made in replayed)
    assert [order.told for made in replayed for order in made.orders] == [f"you dropped {best}"]


def test_a_raised_budget_is_spent_and_a_kill_changes_nothing(usual, task, candidates, tmp_path):
    _, whole = searched(tmp_path / "whole", task, candidates, Order("budget", budget=2 * BUDGET))
    assert usual[0].stopped == "the budget ends"
    assert len(whole.asked) > len(usual[1].asked)
    assert DecisionLog.read(tmp_path / "whole").budget.value == BUDGET
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "killed", task, candidates, Order("budget", budget=2 * BUDGET), most=FIRST_DECISION)
    _, rest = searched(tmp_path / "killed", task, candidates)
    assert len(rest.asked) == len(whole.asked) - FIRST_DECISION
    logs = [DecisionLog.read(tmp_path / name).decisions for name in ("whole", "killed")]
    for one in logs[0] + logs[1]:
        object.__setattr__(one, "orders", tuple(order.told for order in one.orders))
    assert logs[0] == logs[1]
    assert all(made.agrees for made in replay_folder(tmp_path / "killed"))


def test_what_cannot_be_done_is_refused_in_the_log_and_changes_nothing(task, candidates, tmp_path):
    dropped = [Order("drop", name) for name in NAMES]
    others = [Order("drop", "<script>"), Order("budget", budget=BUDGET / 2), Order("budget")]
    search, _ = searched(tmp_path, task, candidates, *others, *dropped)
    told = [order.told for made in replay_folder(tmp_path) for order in made.orders]
    assert told[0] == "you dropped <script> (not carried out: no such candidate is left)"
    assert (
        told[1]
        == f"you raised the budget to {BUDGET / 2} (not carried out: the budget can only be raised, and it is {BUDGET})"
    )
    assert told[2].endswith(f"it is {BUDGET})")
    assert told[3:6] == [f"you dropped {name}" for name in NAMES[:3]]
    assert told[6] == f"you dropped {NAMES[3]} (not carried out: it is the last candidate: stop the search instead)"
    assert search.decision.choice == NAMES[3]


def test_a_search_of_other_settings_forgets_what_was_asked_of_the_last(task, candidates, tmp_path):
    searched(tmp_path, task, candidates, Order("stop"))
    search, _ = searched(tmp_path, task, candidates, budget=BUDGET + 0.001)
    assert search.stopped != "you stopped it"
    assert not (tmp_path / FILE_NAME).exists()


def test_a_damaged_file_of_orders_is_one_sentence(task, candidates, tmp_path):
    searched(tmp_path, task, candidates, Order("stop"))
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write("{}\n")
    with pytest.raises(InputError, match=r"orders.jsonl is damaged .*: delete it"):
        searched(tmp_path, task, candidates)


LATE = NAMES[-1]
ADD = Order("add", model=LATE, method="full")


def opened(candidates):
    """An `Admit` that lets the last of the candidates in, once."""

    def admit(model, method, known):
        assert method == "full"
        found = {one.name: one for one in candidates}.get(model)
        if found is None or found in known:
            raise InputError(f"no model {model}" if found is None else "it is among the candidates")
        return Admitted(found, Entrant.of(found))

    return admit


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("kernel", [False, True])
def test_a_candidate_that_is_added_is_measured_as_it_came_and_chosen_among(task, candidates, tmp_path, slots, kernel):
    some = {"slots": slots, "kernel": kernel, "budget": 0.6, "at": 2 * FIRST_DECISION}
    search, executor = searched(tmp_path, task, candidates[:-1], ADD, admit=opened(candidates), **some)
    sizes = [job.examples for job in executor.asked if job.candidate.name == LATE and job.record_type is Run]
    assert sizes[:4] == [0, 50, 100, 200]
    assert [job.candidate.name for job in executor.asked if job.record_type is Probe].count(LATE) == kernel
    assert [one.candidate.name for one in search.added] == [LATE]
    assert search.decision.choice in NAMES
    assert search.expected == len(executor.asked)
    log = DecisionLog.read(tmp_path)
    assert (log.candidates, [one.name for one in log.added]) == (list(NAMES[:-1]), [LATE])
    assert set(log.whole_flops) == set(NAMES)
    replayed = replay_folder(tmp_path)
    assert all(made.agrees for made in replayed)
    assert [order.told for made in replayed for order in made.orders] == [f"you added {LATE}"]
    assert replayed[-1].spent <= 0.6 * sum(log.whole_flops.values())


def test_a_search_with_an_added_candidate_goes_on_where_it_was_killed(task, candidates, tmp_path):
    some = {"admit": opened(candidates), "budget": 0.6, "kernel": True}
    whole, asked = searched(tmp_path / "whole", task, candidates[:-1], ADD, **some)
    for most in (FIRST_DECISION, FIRST_DECISION + 1, FIRST_DECISION + 5, len(asked.asked) - 2):
        folder = tmp_path / str(most)
        with pytest.raises(KeyboardInterrupt):
            searched(folder, task, candidates[:-1], ADD, most=most, **some)
        again, rest = searched(folder, task, candidates[:-1], **some)
        assert len(rest.asked) == len(asked.asked) - most
        assert (again.decision, again.added) == (whole.decision, whole.added)
        assert all(made.agrees for made in replay_folder(folder))


def test_an_added_candidate_that_is_gone_when_the_search_goes_on_is_refused(task, candidates, tmp_path):
    searched(tmp_path, task, candidates[:-1], ADD, admit=opened(candidates), budget=0.3)
    search, _ = searched(tmp_path, task, candidates[:-1], admit=opened(candidates[:-1]), budget=0.3)
    told = [order.told for made in replay_folder(tmp_path) for order in made.orders]
    assert told == [f"you added {LATE} full (not carried out: no model {LATE})"]
    assert search.added == []
    assert search.decision.choice in NAMES[:-1]


def test_what_cannot_be_added_is_refused_and_the_others_go_on(usual, task, candidates, tmp_path):
    known, unknown = (Order("add", model=name, method="full") for name in (NAMES[0], "<script>"))
    search, executor = searched(tmp_path / "1", task, candidates, known, unknown, admit=opened(candidates))
    assert [order.told for made in replay_folder(tmp_path / "1") for order in made.orders] == [
        f"you added {NAMES[0]} full (not carried out: it is among the candidates)",
        "you added <script> full (not carried out: no model <script>)",
    ]
    assert search.decision == usual[0].decision
    assert len(executor.asked) == len(usual[1].asked)
    searched(tmp_path / "2", task, candidates[:-1], ADD)
    told = [order.refused for made in replay_folder(tmp_path / "2") for order in made.orders]
    assert told == ["no candidate can be added to this search"]


def test_an_added_candidate_that_cannot_be_measured_is_charged_and_not_chosen(task, candidates, tmp_path):
    some = {"admit": opened(candidates), "budget": 0.3, "failing": [(LATE, 0)]}
    search, executor = searched(tmp_path, task, candidates[:-1], ADD, **some)
    assert [job.examples for job in executor.asked if job.candidate.name == LATE] == [0]
    assert DecisionLog.read(tmp_path).added == []
    assert search.decision.choice in NAMES[:-1]
    assert all(made.agrees for made in replay_folder(tmp_path))


def test_nobody_is_added_to_a_search_that_is_stopped(task, candidates, tmp_path):
    search, executor = searched(tmp_path, task, candidates[:-1], ADD, Order("stop"), admit=opened(candidates))
    assert LATE not in [job.candidate.name for job in executor.asked]
    assert search.stopped == "you stopped it"
    told = [order.told for made in replay_folder(tmp_path) for order in made.orders]
    assert told == [f"you added {LATE} full (not carried out: the search is stopped)", "you stopped it"]
