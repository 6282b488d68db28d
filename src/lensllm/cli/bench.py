"""`lensllm bench ...`: the measurements behind the claims."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensllm.cli.common import empty_table, print_table

if TYPE_CHECKING:
    from lensllm.probes.record import Probe
    from lensllm.tuning.run import Run

STUDY = Path("benchmarks/study/study.yaml")


def bench_published(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every number here.")] = None,
    docs: Annotated[Path | None, typer.Option("--docs", help="Write evidence.md and its figures here.")] = None,
) -> None:
    """Compare every selector on the published fine-tuning curves."""
    from lensllm.benchmark.published import run

    result = run(json_file, docs)
    table = empty_table("method", "PearCorr", "RelAcc", "Spearman", "top-1")
    for name, m in result["methods"].items():
        means = [m["pearcorr"], m["rel_acc"], m["spearman"], m["top_1"]]
        table.add_row(name, *(f"{metric['mean']:.2f}" for metric in means))
    print_table(table)


def bench_run_study(config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The study, in YAML.")]) -> None:
    """Probe, fine-tune and bound the candidates on every task; run again to go on after an interruption."""
    from lensllm.benchmark.study import StudyConfig, run_study
    from lensllm.benchmark.study_bounds import run_study_bounds
    from lensllm.benchmark.study_probes import run_study_probes

    def told_probe(task: str, probe: Probe) -> None:
        line = f"{task}: {probe.candidate} probed: {probe.status} {probe.zero_shot_probe_loss:.4f}"
        print(line, file=sys.stderr, flush=True)

    def told(task: str, run: Run) -> None:
        line = f"{task}: {run.candidate} on {run.examples:,}, seed {run.seed}: {run.status} {run.nats_per_byte:.4f}"
        print(line, file=sys.stderr, flush=True)

    def told_bound(task: str, row: dict[str, Any]) -> None:
        found = f"{row['status']} {row.get('bound', math.nan):.4f}"
        print(f"{task}: {row['candidate']} on {row['examples']:,} bounded: {found}", file=sys.stderr, flush=True)

    study = StudyConfig.read(config)
    if study.probes_table:
        print(f"{len(run_study_probes(study, told_probe))} probes in {study.probes_table}")
    print(f"{len(run_study(study, told))} runs in {study.table}")
    if study.bounds_table:
        print(f"{len(run_study_bounds(study, told_bound))} bounds in {study.bounds_table}")


def bench_own(
    study: Annotated[Path, typer.Option("--study", help="The study whose curves are scored.")] = STUDY,
    report: Annotated[bool, typer.Option("--report", help="Score the report tasks, not the design tasks.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every number here.")] = None,
    docs: Annotated[Path | None, typer.Option("--docs", help="Write evidence.md and its figures here.")] = None,
) -> None:
    """Compare every selector on our own fine-tuning curves, those tasks of the study that are complete."""
    from lensllm.benchmark.own import run
    from lensllm.benchmark.study import StudyConfig

    result = run(StudyConfig.read(study), report=report, json_file=json_file, docs=docs)
    print(f"{result['split']} tasks: {', '.join(result['tasks'])}")
    table = empty_table("method", "PearCorr", "RelAcc", "90 % interval", "regret")
    for name, m in result["methods"].items():
        low, high = m["rel_acc"]["ci"]
        numbers = [f"{m['pearcorr']['mean']:.2f}" if m["pearcorr"]["mean"] is not None else ""]
        numbers += [f"{m['rel_acc']['mean']:.2f}", f"{low:.1f} to {high:.1f}", f"{m['regret']['mean']:.4f}"]
        table.add_row(name, *numbers)
    print_table(table)


def bench_cost(
    study: Annotated[Path, typer.Option("--study", help="The study whose curves are replayed as well.")] = STUDY,
    report: Annotated[bool, typer.Option("--report", help="Its report tasks, not its design tasks.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every number here.")] = None,
    docs: Annotated[Path | None, typer.Option("--docs", help="Write search.md's tables and figures here.")] = None,
) -> None:
    """Replay every search policy on curves known to the end: what a good choice costs."""
    from lensllm.benchmark.cost import run
    from lensllm.benchmark.study import StudyConfig

    result = run(StudyConfig.read(study), report=report, json_file=json_file, docs=docs)
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
