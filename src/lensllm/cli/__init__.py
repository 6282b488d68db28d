"""The command line: parses, calls, prints. Results on stdout, progress and errors on stderr."""

from __future__ import annotations

import sys

import typer

from lensllm.cli import bench, bound, dynamics, forecast, kernel, plan, replay, runs, select, zoo
from lensllm.cli.common import say
from lensllm.errors import InputError

app = typer.Typer(
    help="Which pre-trained model should I fine-tune, how sure are we, how much data, and what will it cost?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
zoo_app = typer.Typer(help="The models and tasks that ship with lensllm.", no_args_is_help=True)
bench_app = typer.Typer(help="The measurements behind the claims.", no_args_is_help=True)

app.command()(select.select)
app.command()(select.demo)
app.command()(runs.runs)
app.command()(replay.replay)
app.command()(forecast.forecast)
app.command()(kernel.kernel)
app.command()(plan.plan)
app.command()(bound.bound)
app.command()(dynamics.dynamics)
app.add_typer(zoo_app, name="zoo")
zoo_app.command("list")(zoo.zoo_list)
zoo_app.command("fetch")(zoo.zoo_fetch)
app.add_typer(bench_app, name="bench")
bench_app.command("published")(bench.bench_published)
bench_app.command("own")(bench.bench_own)
bench_app.command("cost")(bench.bench_cost)
bench_app.command("run-study")(bench.bench_run_study)

LISTS = ("--models", "--sizes")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input ends with one sentence on stderr and exit code 2."""
    try:
        app(args=spread(sys.argv[1:] if arguments is None else arguments), prog_name="lensllm")
    except InputError as error:
        say(f"lensllm: {error}", error=True)
        sys.exit(2)
    except KeyboardInterrupt:
        print("lensllm: interrupted; finished runs are kept, the same command goes on from here", file=sys.stderr)
        sys.exit(130)


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
