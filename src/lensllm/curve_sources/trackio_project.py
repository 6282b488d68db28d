"""A project of trackio: its SQLite file, opened for reading only, so that the package need not be installed."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from lensllm.curve_sources.history import History, number, plain_name
from lensllm.errors import InputError


def project_file(project: str) -> Path:
    """The file of a project: in `$TRACKIO_DIR`, or in trackio's folder of the Hugging Face cache.

    Raises:
        InputError: if there is no such project.
    """
    folder = Path(os.environ.get("TRACKIO_DIR") or _cache() / "trackio")
    known = sorted(file.stem for file in folder.glob("*.db")) if folder.is_dir() else []
    if project not in known:
        raise InputError(f"trackio has no project {project!r} in {folder}: there is {', '.join(known) or 'none'}")
    return folder / f"{project}.db"


def read_trackio(file: Path) -> list[History]:
    """The histories of all runs of a project.

    Raises:
        InputError: if the file is no project of trackio.
    """
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as base:
            logged = base.execute("SELECT run_id, run_name, step, metrics FROM metrics ORDER BY id").fetchall()
            configs = base.execute("SELECT run_id, config FROM configs").fetchall()
        settings = {run: {k: str(v) for k, v in json.loads(text).items()} for run, text in configs}
        rows: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
        for run, name, step, text in logged:
            kept = {plain_name(k): v for k, said in json.loads(text).items() if (v := number(said)) is not None}
            rows[run, str(name)].append({"step": float(step), **kept})
    except (sqlite3.Error, ValueError, AttributeError) as error:
        raise InputError(f"{file} cannot be read as a project of trackio: {error}") from error
    return [
        History(name, f"{file} run {name}", tuple(of), settings.get(run, {}))
        for (run, name), of in sorted(rows.items())
    ]


def _cache() -> Path:
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
