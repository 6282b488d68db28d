"""The command line: parses, calls, prints. Results on stdout, progress and errors on stderr."""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from lensllm.cli import (
    bound,
    check,
    dynamics,
    export,
    find,
    forecast,
    history,
    kernel,
    page,
    plan,
    replay,
    report,
    runs,
    select,
    tasks,
    train,
    watch,
    zoo,
)
from lensllm.cli.common import say
from lensllm.cli.options import ALSO
from lensllm.config import SelectConfig, takes_several
from lensllm.errors import InputError
from lensllm.shortlist.config import FindConfig

EXAMPLES = """Three ways to begin:

    lensllm demo                                                           # offline, some minutes
    lensllm check chats.jsonl --models Qwen/Qwen3-0.6B --methods lora      # what fits, and what it costs
    lensllm select chats.jsonl --models Qwen/Qwen3-0.6B HuggingFaceTB/SmolLM2-360M --methods lora full --page
"""

app = typer.Typer(
    help="Which pre-trained model should I fine-tune, how sure are we, how much data, and what will it cost?",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"lensllm {version('lensllm')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    asked: Annotated[
        bool, typer.Option("--version", help="Say the version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before a command; without one, how to begin."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        typer.echo(EXAMPLES)


zoo_app = typer.Typer(help="The models and tasks that ship with lensllm.", no_args_is_help=True)

tasks_app = typer.Typer(help="What models read of a task.", no_args_is_help=True)

app.command()(select.select)
app.command()(select.demo)
app.command()(find.find)
app.command()(check.check)
app.command()(runs.runs)
app.command()(replay.replay)
app.command()(report.report)
app.command()(page.page)
app.command()(train.train)
app.command()(history.history)
app.command()(forecast.forecast)
app.command()(kernel.kernel)
app.command()(plan.plan)
app.command()(bound.bound)
app.command()(export.export)
app.command()(watch.watch)
app.command()(dynamics.dynamics)
app.add_typer(zoo_app, name="zoo")
app.add_typer(tasks_app, name="tasks")
tasks_app.command("show")(tasks.show)
zoo_app.command("list")(zoo.zoo_list)
zoo_app.command("fetch")(zoo.zoo_fetch)

LISTS = tuple(
    flag
    for config in (SelectConfig, FindConfig)
    for name, field in config.model_fields.items()
    if takes_several(field)
    for flag in ("--" + name.replace("_", "-"), *ALSO.get(name, ()))
)
"""Options that take several values, as `--models A B C`."""
SENT_AGAIN = 0.01
"""Seconds until a signal that was dropped is sent again: long enough to be out of what dropped it."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Bad input ends with one sentence on stderr and exit code 2, Ctrl-C with 130, SIGTERM with 143. Anything else that
    goes wrong is one sentence, too, with the place of its report, and 1.
    """
    with interruptible() as signals:
        try:
            given = sys.argv[1:] if arguments is None else arguments
            app(args=spread(given), prog_name="lensllm", obj=shlex.join(["lensllm", *given]))
        except InputError as error:
            say(f"lensllm: {error}", error=True)
            sys.exit(2)
        except (SystemExit, KeyboardInterrupt):
            if not signals:
                raise
            print("lensllm: interrupted; finished runs are kept, the same command goes on from here", file=sys.stderr)
            sys.exit(128 + signals[0])
        except Exception as error:
            say(f"lensllm: {unforeseen(error)}", error=True)
            sys.exit(1)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """SIGTERM, as systemd, Slurm and Docker send it, ends a command as Ctrl-C does; a second signal ends it at once.

    Python drops what is raised in a `__del__` or while it collects garbage: a signal that lands there is sent again.

    Yields:
        The signals that came.
    """
    came: list[int] = []
    again: list[threading.Timer] = []
    report = sys.unraisablehook

    def stop(number: int, frame: object) -> None:
        came.append(number)
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    def dropped(error: sys.UnraisableHookArgs) -> None:
        if not came or not issubclass(error.exc_type, KeyboardInterrupt):
            report(error)
            return
        signal.signal(came[-1], stop)
        main = threading.main_thread().ident
        again.append(threading.Timer(SENT_AGAIN, signal.pthread_kill, [main, came[-1]]))
        again[-1].start()

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    sys.unraisablehook = dropped
    try:
        yield came
    finally:
        for timer in again:
            timer.cancel()
        sys.unraisablehook = report
        for number, handler in before.items():
            signal.signal(number, handler)


def unforeseen(error: Exception) -> str:
    """What to say of an error that nobody foresaw: what, where, and the file that its traceback was written to."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split()) or "no message"
    said = f"this should not happen: {type(error).__name__}: {text} ({Path(where.filename).name}:{where.lineno})"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="lensllm-", suffix=".log", delete=False) as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        return said
    return f"{said}; please report it with {file.name}"


def spread(arguments: list[str]) -> list[str]:
    """`--models A B C` as the repeated options that the parser knows."""
    spread: list[str] = []
    option = ""
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in LISTS else ""
            spread += [] if option else [argument]
        elif option and not argument.endswith((".yaml", ".yml")):
            spread += [option, argument]
        else:
            option = ""
            spread.append(argument)
    return spread
