"""From a name that a user gives to the runs that stand there: one reader a kind of source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lensllm.curve_sources.history import History
from lensllm.curve_sources.mlflow_folder import find_mlflow_runs, read_mlflow_run
from lensllm.curve_sources.run_table import is_run_table, read_run_table
from lensllm.curve_sources.tensorboard_events import find_event_folders, read_events
from lensllm.curve_sources.trackio_project import project_file, read_trackio
from lensllm.curve_sources.trainer_state import find_trainer_states, read_trainer_state
from lensllm.curve_sources.wandb_api import read_wandb
from lensllm.delimited import open_delimited
from lensllm.errors import InputError

FOLDERS: tuple[tuple[str, Callable[[Path], Mapping[Path, Path]], Callable[[Path, str], History]], ...] = (
    ("trainer_state.json", find_trainer_states, read_trainer_state),
    ("MLflow runs", find_mlflow_runs, read_mlflow_run),
    ("TensorBoard events", find_event_folders, read_events),
)
"""What a folder may hold, in the order in which it is looked for: a Trainer's state says most."""
SCHEMES = ("trackio:", "wandb:")
TABLES = (".csv", ".tsv")


def is_tracked(source: str) -> bool:
    """Whether a source is a tracker's or a trainer's, and not a table of losses of our own.

    Raises:
        InputError: if it is a file that cannot be read.

    >>> is_tracked("trackio:chats"), is_tracked("trainer_state.json"), is_tracked("losses.npz")
    (True, True, False)
    """
    if source.startswith(SCHEMES):
        return True
    path = Path(source)
    if path.is_dir() or path.suffix.lower() in (".json", ".db") or "tfevents" in path.name:
        return True
    return path.suffix.lower() in TABLES and path.is_file() and is_run_table(open_delimited(path))


def read_histories(source: str) -> tuple[list[History], list[str]]:
    """The runs of a source, and what is to be said of it.

    Args:
        source: a folder of runs, a `trainer_state.json`, an event file, an exported CSV, a trackio file (`.db`),
            `trackio:PROJECT`, `trackio:PROJECT/RUN` or `wandb:ENTITY/PROJECT`.

    Raises:
        InputError: if there is nothing, or it cannot be read.

    >>> import json, tempfile
    >>> state = {"log_history": [{"step": 10, "epoch": 1.0, "eval_loss": 2.5}], "num_train_epochs": 1}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "trainer_state.json").write_text(json.dumps(state))
    ...     histories, notes = read_histories(folder)
    >>> histories[0].metric(""), histories[0].last("eval_loss"), notes
    ('eval_loss', 2.5, [])
    """
    if source.startswith("wandb:"):
        return read_wandb(source.removeprefix("wandb:")), []
    if source.startswith("trackio:"):
        project, _, run = source.removeprefix("trackio:").partition("/")
        return _named(read_trackio(project_file(project)), run, source), []
    path = Path(source)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise InputError(f"no such file or folder: {source}")
    if path.suffix.lower() == ".json":
        return [read_trainer_state(path, path.absolute().parent.name)], []
    if path.suffix.lower() == ".db":
        return read_trackio(path), []
    if "tfevents" in path.name:
        return [read_events(path, path.absolute().parent.name)], []
    return read_run_table(path, table := open_delimited(path)), list(table.notes)


def _folder(root: Path) -> tuple[list[History], list[str]]:
    """The runs of the first kind that a folder holds; other kinds beside it are told."""
    found = [(kind, places, read) for kind, find, read in FOLDERS if (places := find(root))]
    if not found:
        raise InputError(f"{root} holds no runs: expected {', '.join(kind for kind, _, _ in FOLDERS)} in it")
    kind, places, read = found[0]
    notes = [f"{root}: {kind} are read, {other} beside them are not" for other, _, _ in found[1:]]
    histories = []
    for run, file in places.items():
        name = root.absolute().name if run == root else run.relative_to(root).as_posix()
        try:
            histories.append(read(file, name))
        except InputError as error:
            notes.append(f"left out: {error}")
    if not histories:
        raise InputError(notes[-1].removeprefix("left out: "))
    return histories, notes


def _named(histories: Sequence[History], run: str, source: str) -> list[History]:
    kept = [one for one in histories if not run or one.name == run]
    if not kept:
        raise InputError(f"{source} has no such run: there is {', '.join(one.name for one in histories) or 'none'}")
    return kept
