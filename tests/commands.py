"""The command line called inside the test's own process."""

import pytest

from lensllm.cli import main


def run(capsys, *arguments):
    """Standard output of a command that must succeed."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert end.value.code == 0, printed.err
    return printed.out


def refused(capsys, *arguments):
    """The one sentence of a command that must exit with 2."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("lensllm: ")
    assert error.count("\n") == 1
    return error


def sums(count: int) -> list[dict[str, str]]:
    """Examples of a task that can be learned: additions."""
    return [{"prompt": f"{i} plus {i % 7} is", "completion": f" {i + i % 7}, to be sure"} for i in range(count)]
