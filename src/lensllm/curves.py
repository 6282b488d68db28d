"""The table (candidate, examples, seed) -> loss that everything downstream reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lensllm.arrays import Floats
from lensllm.curve_sources import HowRead, is_tracked, read_runs
from lensllm.curve_tables import CurveTable, read_curve_table, written_name
from lensllm.errors import InputError
from lensllm.files import write_whole
from lensllm.notebook import table
from lensllm.picture import Line, colours, picture
from lensllm.records import Record
from lensllm.text import visible
from lensllm.tuning.run import Run

if TYPE_CHECKING:
    from lensllm.objectives import Objective


@dataclass(frozen=True)
class Curves:
    """Fine-tuning curves of several candidates on one task.

    Attributes:
        candidates: names, K of them.
        sizes: numbers of training examples, ascending, shape (S,); 0 is the model before any fine-tuning.
        losses: test loss, shape (K, S), averaged over seeds; NaN where nothing was measured or the run failed.
        features: what is known of each candidate beforehand (x_i), one row a candidate in the order of
            `candidates`; `size` (parameters), `family` and what was probed (`Probe.features`) where known.
        notes: what was averaged, left out or not used when they were read.
        standard_errors: of the losses over the test examples, shape (K, S); NaN or 0 where unknown.
        ceiling: what a uniform guess has in the unit of the losses; infinite where the unit is not known.
        beside: the losses of the same runs, where scores stand in the place of losses; of the same candidates, and of
            the same sizes where points are hidden (`showing`).

    >>> import numpy as np
    >>> from lensllm import Curves
    >>> curves = Curves(("small", "large"), [50, 100, 200], [[1.6, 1.5, 1.41], [1.8, 1.65, np.nan]])
    >>> curves.at(100).tolist()
    [1.5, 1.65]
    >>> curves.up_to(100).sizes.tolist(), curves.of(["large"]).candidates
    ([50.0, 100.0], ('large',))
    >>> print(curves.tidy().tail(2).to_string(index=False))
    candidate  examples  loss
        large        50  1.80
        large       100  1.65
    """

    candidates: tuple[str, ...]
    sizes: Floats
    losses: Floats
    features: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = field(default=(), compare=False)
    standard_errors: Floats = field(default_factory=lambda: np.zeros(0))
    ceiling: float = float("inf")
    beside: Curves | None = None

    def _repr_html_(self) -> str:
        lines = [Line(name, self.sizes, row) for name, row in zip(self.candidates, self.losses, strict=True)]
        rows = [
            [name, *(f"{loss:.3f}" if np.isfinite(loss) else "" for loss in row)]
            for name, row in zip(self.candidates, self.losses, strict=True)
        ]
        columns = ["candidate", *(f"D={size:,.0f}" for size in self.sizes)]
        notes = "".join(f"<p>{escape(visible(note))}</p>" for note in self.notes)
        return picture(lines, "loss") + table(columns, rows, colours(len(rows))) + notes

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidates", tuple(str(name) for name in self.candidates))
        object.__setattr__(self, "sizes", np.asarray(self.sizes, dtype=float))
        object.__setattr__(self, "losses", np.asarray(self.losses, dtype=float))
        if self.losses.shape != (len(self.candidates), len(self.sizes)):
            raise InputError(
                f"expected losses of shape {(len(self.candidates), len(self.sizes))} "
                f"(candidates x sizes), got {self.losses.shape}"
            )
        if not self.standard_errors.size:
            object.__setattr__(self, "standard_errors", np.full(self.losses.shape, np.nan))
        if self.standard_errors.shape != self.losses.shape:
            raise InputError(f"expected a standard error a loss, shape {self.losses.shape}")
        if len(set(self.candidates)) != len(self.candidates):
            twice = sorted({name for name in self.candidates if self.candidates.count(name) > 1})
            raise InputError(f"two candidates are named {twice[0]!r}: give each its own name")
        if len(self.sizes) and (np.any(np.diff(self.sizes) <= 0) or self.sizes[0] < 0):
            raise InputError("sizes must be numbers of examples, each larger than the one before")
        if self.features.empty:
            object.__setattr__(self, "features", pd.DataFrame(index=list(self.candidates)))
        else:
            object.__setattr__(self, "features", self.features.loc[list(self.candidates)])

    def with_features(self, features: pd.DataFrame) -> Curves:
        """The same curves with these features, one row a candidate.

        >>> known = pd.DataFrame({"size": [250_000, 900_000]}, index=["small", "large"])
        >>> curves = Curves(("small", "large"), [50], [[1.6], [1.8]]).with_features(known)
        >>> curves.of(["large"]).features["size"].to_dict()
        {'large': 900000}
        """
        return replace(self, features=features)

    def up_to(self, size: float) -> Curves:
        """The same curves with nothing measured beyond `size` examples."""
        seen = self.sizes <= size
        known = copy(self)
        object.__setattr__(known, "sizes", self.sizes[seen])
        object.__setattr__(known, "losses", self.losses[:, seen])
        object.__setattr__(known, "standard_errors", self.standard_errors[:, seen])
        object.__setattr__(known, "beside", self.beside and self.beside.up_to(size))
        return known

    def showing(self, seen: NDArray[np.bool_]) -> Curves:
        """The same curves with only these points known, `seen` of shape (K, S)."""
        known = copy(self)
        object.__setattr__(known, "losses", np.where(seen, self.losses, np.nan))
        object.__setattr__(known, "beside", self.beside and self.beside.showing(seen))
        return known

    def of(self, candidates: Sequence[str]) -> Curves:
        """The curves of these candidates, in this order."""
        place = {name: row for row, name in enumerate(self.candidates)}
        rows = [place[name] for name in candidates]
        return replace(
            self,
            candidates=tuple(candidates),
            losses=self.losses[rows],
            standard_errors=self.standard_errors[rows],
            beside=self.beside and self.beside.of(candidates),
        )

    @property
    def models(self) -> tuple[str, ...]:
        """Model of each candidate: the feature `model`, where models are tuned in several ways, or the name."""
        return tuple(map(str, self.features["model"])) if "model" in self.features else self.candidates

    @property
    def methods(self) -> tuple[str, ...]:
        """How each candidate is tuned: the feature `method`, or full."""
        return (
            tuple(map(str, self.features["method"])) if "method" in self.features else ("full",) * len(self.candidates)
        )

    def at(self, size: float) -> Floats:
        """Losses at one size, shape (K,).

        Raises:
            InputError: if no candidate was measured at that size.
        """
        column = np.flatnonzero(self.sizes == size)
        if not len(column):
            raise InputError(f"nothing was measured at {size:g} examples: the sizes are {_listed(self.sizes)}")
        return self.losses[:, column[0]]

    def tidy(self) -> pd.DataFrame:
        """One row a measured point: candidate, examples, loss, and standard_error where any is known."""
        k, s = np.nonzero(np.isfinite(self.losses))
        columns = {
            "candidate": np.array(self.candidates, dtype=object)[k],
            "examples": self.sizes[s].astype(int),
            "loss": self.losses[k, s],
        }
        if np.any(self.standard_errors > 0):
            columns["standard_error"] = self.standard_errors[k, s]
        return pd.DataFrame(columns)

    @classmethod
    def from_records(
        cls,
        records: Iterable[Record],
        objective: Objective,
        candidates: Sequence[str] | None = None,
        sizes: Sequence[int] | None = None,
    ) -> Curves:
        """The curves that runs show; a run that failed or diverged is not measured.

        Args:
            records: of any kind; those that are not runs are passed over.
            objective: what is read off a run.
            candidates: whose curves, in this order; all that have a record if None.
            sizes: the columns; all that a run of these candidates is done at if None.

        >>> from lensllm.objectives import Loss
        >>> runs = [Run("a", 50, "done", nats_per_byte=1.6), Run("a", 100, "diverged")]
        >>> curves = Curves.from_records(runs, Loss(), sizes=[50, 100])
        >>> curves.candidates, curves.losses.tolist()
        (('a',), [[1.6, nan]])
        """
        runs = [record for record in records if isinstance(record, Run)]
        names = list(candidates if candidates is not None else dict.fromkeys(run.candidate for run in runs))
        rows = {name: row for row, name in reversed([*enumerate(names)])}
        done = [run for run in runs if run.status == "done" and run.candidate in rows]
        columns = sorted(set(sizes if sizes is not None else (run.examples for run in done)))
        losses, errors = np.full((2, len(names), len(columns)), np.nan)
        for run in done:
            at = rows[run.candidate], columns.index(run.examples)
            losses[at], errors[at] = objective.read(run)
        measured = np.array(columns, dtype=float)
        return cls(tuple(names), measured, losses, standard_errors=errors, ceiling=objective.ceiling)

    @classmethod
    def from_tidy(cls, table: pd.DataFrame, features: pd.DataFrame | None = None) -> Curves:
        """Curves from rows (candidate, examples, loss, perhaps standard_error); repeated points are averaged.

        >>> table = pd.DataFrame({"candidate": ["a", "a", "a"], "examples": [50, 50, 100], "loss": [1.5, 1.7, 1.4]})
        >>> Curves.from_tidy(table).losses.round(2).tolist()
        [[1.6, 1.4]]
        """
        finite = table[np.isfinite(table["loss"].astype(float))]
        wide = finite.pivot_table(index="candidate", columns="examples", values="loss", aggfunc="mean")
        names = list(dict.fromkeys(table["candidate"]))
        wide = wide.reindex(index=names).sort_index(axis=1)
        known = features if features is not None else pd.DataFrame(index=names)
        errors = np.full(wide.shape, np.nan)
        if "standard_error" in table:
            of = finite.pivot_table(index="candidate", columns="examples", values="standard_error", aggfunc="mean")
            errors = of.reindex(index=names, columns=wide.columns).to_numpy(float)
        return cls(tuple(names), wide.columns.to_numpy(float), wide.to_numpy(float), known, standard_errors=errors)

    @classmethod
    def read_csv(cls, path: str | Path, *, ours: bool = False) -> Curves:
        r"""Read a tidy CSV (candidate, examples, loss) or a wide one (a row a candidate, a column a size).

        Other columns that have one value a candidate are features (size, family, probes). What is averaged or left
        out is in `notes`.

        Args:
            path: of the file.
            ours: whether `select` wrote it, so that its values are losses even where they rise with the data.

        Raises:
            InputError: as `lensllm.curve_tables.read_curve_table`.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "losses.csv")
        ...     _ = file.write_text("model,50,100,200\nsmall,1.6,1.5,1.41\nlarge,1.8,1.65,\n")
        ...     curves = Curves.read_csv(file)
        >>> curves.candidates, curves.sizes.tolist(), curves.losses.tolist()
        (('small', 'large'), [50.0, 100.0, 200.0], [[1.6, 1.5, 1.41], [1.8, 1.65, nan]])
        """
        return cls.of_table(read_curve_table(Path(path), ours))

    @classmethod
    def read(cls, source: str | Path, how: HowRead | None = None) -> Curves:
        """Read a table of losses, or runs that a trainer or a tracker tells of (docs/trackers.md).

        Args:
            source: a CSV file as `read_csv`; a folder of runs with `trainer_state.json`, MLflow's or TensorBoard's
                files; a CSV that W&B or MLflow wrote; `trackio:PROJECT` or `wandb:ENTITY/PROJECT`.
            how: what is to be said of runs; not for tables.

        Raises:
            InputError: as `read_csv` or `lensllm.curve_sources.read_runs`, or if `how` is given for a table.

        >>> import json, tempfile
        >>> log = [{"step": 21, "eval_loss": 1.5},
        ...        {"step": 21, "train_runtime": 3.0, "train_samples_per_second": 50.0}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Path(folder, "small", "of-50")
        ...     run.mkdir(parents=True)
        ...     _ = (run / "trainer_state.json").write_text(json.dumps({"num_train_epochs": 3, "log_history": log}))
        ...     curves = Curves.read(folder)
        >>> curves.candidates, curves.sizes.tolist(), curves.losses.tolist()
        (('small',), [50.0], [[1.5]])
        """
        if is_tracked(str(source)):
            return cls.of_table(read_runs(str(source), how or HowRead()))
        if how is not None and how != HowRead():
            raise InputError(f"{source} is a table of losses: leave out what is for runs of trainers and trackers")
        return cls.read_csv(source)

    @classmethod
    def of_table(cls, table: CurveTable) -> Curves:
        """The curves in a table that was read; its notes with them."""
        notes = tuple(visible(note) for note in table.notes)
        errors = np.zeros(0) if table.standard_errors is None else table.standard_errors
        return cls(tuple(table.candidates), np.array(table.sizes), table.losses, table.features, notes, errors)

    def write_csv(self, path: str | Path) -> None:
        """Write the measured points as a tidy CSV, features beside them; no text in it is a formula.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Curves(("a",), [50, 100], [[1.6, 1.5]]).write_csv(f"{folder}/losses.csv")
        ...     print(Path(folder, "losses.csv").read_text().rstrip())
        candidate,examples,loss
        a,50,1.6
        a,100,1.5
        """
        table = self.tidy().join(self.features, on="candidate")
        write_whole(path, table.map(written_name).to_csv(index=False))


def features(candidates: Sequence[str], records: Iterable[Record]) -> pd.DataFrame:
    """What records tell of each candidate beforehand: `size` (parameters) and the features of its probe.

    Args:
        candidates: names, a row each.
        records: runs and probes.
    """
    known: dict[str, dict[str, float]] = {name: {} for name in candidates}
    for record in records:
        if record.candidate in known and record.status == "done":
            known[record.candidate] |= record.features()
    return pd.DataFrame.from_dict(known, orient="index", dtype=float).reindex(list(candidates))


def _listed(items: ArrayLike | pd.Index) -> str:
    return ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in list(np.asarray(items)))
