"""Runs of Weights & Biases by its own package, which asks its server; an exported CSV needs neither."""

from __future__ import annotations

from lensllm.curve_sources.history import History, number, plain_name
from lensllm.errors import InputError


def read_wandb(path: str) -> list[History]:
    """The histories of a project (`ENTITY/PROJECT`) or of one run (`ENTITY/PROJECT/RUN_ID`).

    Raises:
        InputError: if the package is missing or its server does not give them.
    """
    try:
        import wandb
    except ImportError as error:
        raise InputError(f"reading wandb:{path} takes its package: pip install wandb, or export a CSV there") from error
    try:
        api = wandb.Api()
        runs = [api.run(path)] if path.count("/") > 1 else list(api.runs(path))
        return [_history(run, path) for run in runs]
    except Exception as error:
        raise InputError(f"W&B does not give {path}: {error}") from error


def _history(run: object, path: str) -> History:
    logged = run.scan_history()  # type: ignore[attr-defined]
    rows = [{plain_name(k): v for k, said in row.items() if (v := number(said)) is not None} for row in logged]
    told = {**run.summary, **run.config}  # type: ignore[attr-defined]
    settings = {plain_name(str(name)): str(value) for name, value in told.items()}
    state = str(run.state)  # type: ignore[attr-defined]
    unfinished = "" if state == "finished" else f"it is {state}"
    return History(str(run.name), f"wandb:{path} run {run.name}", tuple(rows), settings, unfinished)  # type: ignore[attr-defined]
