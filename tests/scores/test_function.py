"""A user's function: whatever it does, the run goes on and the score says what happened."""

import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from lensllm.scores import Answer, UserFunction, score_named

ANSWERS = [Answer(f"{i}?", f" {i}", f" {i % 2}") for i in range(5)]
HEAD = "def f(prompt, completion, reference):\n"


@pytest.fixture
def function(tmp_path):
    """The function `f` of a file with this text."""

    def function(text, seconds=5.0):
        path = tmp_path / "score.py"
        path.write_text(text)
        return replace(score_named(f"{path}:f"), seconds=seconds)

    return function


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return len(completion) / 4", 0.5),
        ("return completion == reference", 0.4),  # True and False are 1 and 0
        ("print('noise'); return 1", 1.0),
        ("import numpy; return numpy.float32(0.25)", 0.25),
        ("import numpy; return numpy.bool_(completion == reference)", 0.4),
        ("return __file__.endswith('score.py')", 1.0),
    ],
)
def test_numbers_are_averaged(function, body, expected, capfd):
    found = function(f"{HEAD}    {body}\n").of(ANSWERS)
    assert (found.value, found.examples, found.failed) == (pytest.approx(expected), 5, 0)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return float('nan')", "returned nan (on 5 of 5 answers)"),
        ("return float('inf')", "returned inf (on 5 of 5 answers)"),
        ("return 'good'", "returned 'good', which is no number (on 5 of 5 answers)"),
        ("return None", "returned None, which is no number (on 5 of 5 answers)"),
        ("return {}[completion]", "raised KeyError: ' 0' (line 2) (on 5 of 5 answers)"),
        ("return 1 / int(reference)", "raised ZeroDivisionError: division by zero (line 2) (on 3 of 5 answers)"),
        ("raise SystemExit(3)", "raised SystemExit: 3 (line 2) (on 5 of 5 answers)"),
        ("import os; os._exit(7)", "ended its process with code 7 (on 5 of 5 answers)"),
    ],
)
def test_a_failure_on_one_answer_is_a_failed_score(function, body, told):
    found = function(f"{HEAD}    {body}\n").of(ANSWERS)
    assert found.value != found.value
    assert found.error == told
    assert found.failed == (3 if "3 of 5" in told else 5)


def test_a_function_that_hangs_is_ended(function):
    began = time.monotonic()
    swallows = (
        f"{HEAD}    while True:\n        try:\n            sum(range(10**6))\n        except BaseException: pass\n"
    )
    found = function(swallows, seconds=0.3).of(ANSWERS)
    assert found.error == ("took longer than 0.3 seconds and was ended (on 3 of 5 answers; the other 2 were not tried)")
    assert time.monotonic() - began < 10
    once = f"import time\n{HEAD}    time.sleep(30 if prompt == '1?' else 0)\n    return 1\n"
    assert function(once, seconds=1.0).of(ANSWERS).failed == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def g(prompt, completion, reference): return 1\n", "there is no function 'f' in it (it has g)"),
        ("f = 3\n", "there is no function 'f' in it (it has none)"),
        ("def f(prompt, completion reference)\n", "raised SyntaxError: "),
        ("import nowhere_to_be_found\n", "raised ModuleNotFoundError: No module named 'nowhere_to_be_found' (line 1)"),
        ("def f(question, answer): return 1\n", "f cannot be called with prompt, completion and reference"),
        ("import os; os._exit(1)\n", "ended its process with code 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_before_anything_is_trained(function, text, told):
    lacks = function(text).lacks([], ())
    assert told in lacks
    assert "score.py" in lacks
    assert "\n" not in lacks


def test_what_is_run_is_what_was_read_and_is_in_the_key(function, tmp_path):
    score = function(f"{HEAD}    return 1\n")
    (tmp_path / "score.py").write_text(f"{HEAD}    return 0\n")
    assert score.of(ANSWERS).value == 1.0
    other = score_named(f"{tmp_path / 'score.py'}:f")
    assert (other.name, other.of(ANSWERS).value) == (score.name, 0.0)
    assert other.spec() != score.spec()
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "score.py"
    moved.write_text(score.source)
    assert score_named(f"{moved}:f").spec() == score.spec()


def test_nothing_is_left_of_a_function_whose_program_is_killed(tmp_path):
    mark = tmp_path / "pid"
    body = f"    import os\n    open({str(mark)!r}, 'w').write(str(os.getpid()))\n    while True: pass\n"
    program = (
        "from lensllm.scores import Answer, UserFunction\n"
        f"UserFunction('s.py', 'f', {HEAD + body!r}, 60.0).of([Answer('a', 'b', 'c')])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 30
    while not (mark.exists() and mark.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait(30)
    time.sleep(1)
    pid = int(mark.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_function_has_no_bounds_that_are_known():
    score = UserFunction("a/b.py", "f", "")
    assert (score.name, score.floor, score.ceiling) == ("b.py:f", -float("inf"), float("inf"))
