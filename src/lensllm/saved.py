"""A selection's measured curves and forecasts as one file of arrays, from which the same answer is made again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lensllm.arrays import Floats
from lensllm.candidates import Refused
from lensllm.curves import Curves
from lensllm.errors import InputError
from lensllm.files import write_whole_bytes
from lensllm.forecast import Errors, Forecast, Rows
from lensllm.objectives import Between, ScoreObjective
from lensllm.planning import Cost
from lensllm.planning.phases import Phase
from lensllm.provenance import Provenance
from lensllm.score_forecast import ScoreForecast
from lensllm.scored import Scored
from lensllm.text import shortened, visible
from lensllm.tuning.run import Run

ANSWER = "selection.json"
FORECAST = "forecast.safetensors"
LOSS = "loss"
KEY = "lensllm"
LARGEST = 256 << 20
"""Bytes of a `selection.json` beyond which it is none."""
EARLIER = (
    "{} was written by an earlier version of lensllm, which kept no provenance: run the same `lensllm select` command "
    "again, which repeats no run"
)
ARRAYS = ("sizes", "means", "rows", "test_error", "dominated")
DRAWN = ("sd", "own", "common")


class SavedErrors(Errors):
    """Log errors as they were drawn, shape (draws, S, K) each."""

    def __init__(self, sd: Floats, own: Floats, common: Floats) -> None:
        self.sd, self._own, self._common = sd, own, common
        self.draws = len(own)

    def own(self, rows: Rows, at: Rows, draws: int | None = None) -> Floats:
        """As drawn."""
        return self._own[:draws, at][:, :, rows]

    def common(self, rows: Rows, at: Rows) -> Floats:
        """As drawn."""
        return self._common[:, at][:, :, rows]


@dataclass(frozen=True)
class SavedForecasts:
    """What the file holds.

    Attributes:
        curves: every measured loss.
        forecast: of the losses.
        objectives: of the scores, in the order asked for.
        scores: forecasts of those that have one.
    """

    curves: Curves
    forecast: Forecast
    objectives: tuple[ScoreObjective, ...] = ()
    scores: tuple[ScoreForecast, ...] = ()

    def write(self, folder: Path) -> None:
        """Write `forecast.safetensors`.

        Raises:
            InputError: if it cannot be written.
        """
        tensors, told = _curves_parts(self.curves)
        forecasts: dict[str, Any] = {}
        for name, made in ((LOSS, self.forecast), *((one.objective.name, one.forecast) for one in self.scores)):
            arrays, forecasts[name] = _forecast_parts(made)
            tensors |= {f"forecast/{len(forecasts)}/{key}": array for key, array in arrays.items()}
        about = {
            "curves": told,
            "forecasts": forecasts,
            "objectives": [one.to_dict() for one in self.objectives],
            "ranges": [one.objective.to_dict() for one in self.scores],
            "alone": [one.alone for one in self.scores],
        }
        tensors = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
        write_whole_bytes(folder / FORECAST, save(tensors, {KEY: json.dumps(about)}))

    @classmethod
    def read(cls, folder: Path) -> SavedForecasts:
        """Read `forecast.safetensors`.

        Raises:
            InputError: if it is missing or damaged.
        """
        path = folder / FORECAST
        if not path.is_file():
            raise InputError(f"{path} is missing: run the selection again")
        with _damage(path):
            try:
                with safe_open(path, "numpy") as opened:
                    about = json.loads((opened.metadata() or {})[KEY])
                    tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            except SafetensorError as error:
                raise ValueError(str(error)) from error
            return cls._of(about, tensors)

    @classmethod
    def _of(cls, about: Mapping[str, Any], tensors: Mapping[str, Any]) -> SavedForecasts:
        made = {
            name: _forecast_of(told, {key: tensors.get(f"forecast/{place}/{key}") for key in (*ARRAYS, *DRAWN)})
            for place, (name, told) in enumerate(about["forecasts"].items(), start=1)
        }
        objectives = tuple(ScoreObjective.from_dict(one) for one in about["objectives"])
        ranges = [Between.from_dict(one) for one in about["ranges"]]
        alone = about.get("alone", [""] * len(ranges))  # those of before have no losses beside their scores
        scores = tuple(ScoreForecast(one, made[one.name], first) for one, first in zip(ranges, alone, strict=True))
        return cls(_curves_of(about["curves"], tensors), made[LOSS], objectives, scores)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """What is wrong with a file inside, as one sentence.

    Raises:
        InputError: in place of what odd values raise.
    """
    try:
        yield
    except (InputError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        told = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}" if first else str(error)
        why = shortened(visible(" ".join(told.split())), 200) or type(error).__name__
        raise InputError(f"{path} is damaged ({why}): run the selection again") from error


def _read_answer(folder: Path) -> dict[str, Any]:
    """The `selection.json` of a folder, its values not checked.

    Raises:
        InputError: if there is none, it is no JSON object, or has no provenance.
    """
    path = folder / ANSWER
    if not path.is_file():
        raise InputError(f"{folder} holds no selection: give the output folder of a `lensllm select` that is done")

    def odd(name: str) -> None:
        raise ValueError(f"{name} is no number")

    with _damage(path):
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, which none needs")
        answer = json.loads(path.read_text(encoding="utf-8"), parse_constant=odd)
        if not isinstance(answer, dict):
            raise ValueError(f"expected an object, got {type(answer).__name__}")
    if "provenance" not in answer:
        raise InputError(EARLIER.format(path))
    return answer


def read_fields(folder: Path, row: type[Any]) -> dict[str, Any]:
    """The fields of the selection that a folder holds.

    Args:
        folder: where `selection.json` and `forecast.safetensors` lie.
        row: class of a row of the ranking.

    Raises:
        InputError: if there is no selection, it is damaged, or an earlier version wrote it without its provenance.
    """
    answer, saved = _read_answer(folder), SavedForecasts.read(folder)
    with _damage(folder / ANSWER):
        fields = _fields_of(answer, saved, row)
        _check_whole(fields)
    return fields


def _fields_of(answer: Mapping[str, Any], saved: SavedForecasts, row: type[Any]) -> dict[str, Any]:
    of, scored = TypeAdapter, answer.get("scored")
    failures = [
        {name: one[name] for name in ("candidate", "examples", "status", "error")} for one in answer["failures"]
    ]
    target = saved.forecast.target_size
    return {
        **{name: str(answer[name]) for name in ("task", "stopped", "rank_by")},
        **{name: float(answer[name]) for name in ("flops", "flops_everything", "seconds")},
        "target_size": int(answer["target_size"]),
        "ranking": of(tuple[row, ...]).validate_python(answer["ranking"]),  # type: ignore[valid-type]
        "curves": saved.curves,
        "forecast": saved.forecast,
        "failures": tuple(Run.from_dict(one) for one in failures),
        "refused": tuple(Refused(str(one["model"]), str(one["reason"])) for one in answer["refused"]),
        "costs": of(dict[str, Cost]).validate_python(answer["costs"]),
        "phases": tuple(Phase.from_dict(one) for one in answer["phases"]),
        "notes": of(tuple[str, ...]).validate_python(answer["notes"]),
        "scored": Scored.from_dict(scored, saved.objectives, saved.scores, target) if scored else None,
        "truth": of(dict[str, Any] | None).validate_python(answer.get("truth")),
        "provenance": Provenance.from_dict(answer["provenance"]),
    }


def _check_whole(fields: Mapping[str, Any]) -> None:
    """Refuse an answer whose parts do not belong together.

    Raises:
        ValueError: saying which.
    """
    if not fields["ranking"]:
        raise ValueError("its ranking is empty")
    for row in fields["ranking"]:
        if row.model not in fields["curves"].candidates:
            raise ValueError(f"{row.candidate} has no curve")
        if fields["rank_by"] == "loss" and row.candidate not in fields["forecast"].candidates:
            raise ValueError(f"{row.candidate} has no forecast")
        fields["provenance"].candidate(row.model)
    if fields["target_size"] != fields["forecast"].target_size or not fields["flops_everything"]:
        raise ValueError("forecast and answer are of different sizes")


def _curves_parts(curves: Curves) -> tuple[dict[str, Any], dict[str, Any]]:
    tensors = {f"curves/{name}": getattr(curves, name) for name in ("sizes", "losses", "standard_errors")}
    texts = {}
    for column in curves.features:
        values = curves.features[column]
        if values.dtype.kind in "iufb":
            tensors[f"feature/{column}"] = values.to_numpy()
        else:
            texts[str(column)] = [str(value) for value in values]
    order = [str(column) for column in curves.features]
    ceiling = curves.ceiling if math.isfinite(curves.ceiling) else None
    return tensors, {
        "candidates": curves.candidates, "features": order, "texts": texts, "ceiling": ceiling,
        "notes": curves.notes,
    }  # fmt: skip


def _curves_of(told: Mapping[str, Any], tensors: Mapping[str, Any]) -> Curves:
    names = tuple(map(str, told["candidates"]))
    columns = {name: told["texts"].get(name, tensors.get(f"feature/{name}")) for name in told["features"]}
    return Curves(
        names,
        tensors["curves/sizes"],
        tensors["curves/losses"],
        pd.DataFrame(columns, index=list(names)),
        tuple(map(str, told["notes"])),
        tensors["curves/standard_errors"],
        math.inf if told["ceiling"] is None else float(told["ceiling"]),
    )


def _forecast_parts(made: Forecast) -> tuple[dict[str, Any], dict[str, Any]]:
    arrays: dict[str, Any] = {name: getattr(made, name) for name in ARRAYS}
    if made.errors is not None:
        rows, at = np.arange(made.errors.sd.shape[1]), np.arange(made.sizes.size)
        drawn = (made.errors.sd, made.errors.own(rows, at), made.errors.common(rows, at))
        arrays |= dict(zip(DRAWN, drawn, strict=True))
    ceiling = made.ceiling if math.isfinite(made.ceiling) else None
    names = {name: getattr(made, name) for name in ("candidates", "models", "methods")}
    return arrays, {**names, "target_size": made.target_size, "ceiling": ceiling}


def _forecast_of(told: Mapping[str, Any], arrays: Mapping[str, Any]) -> Forecast:
    errors = SavedErrors(*(arrays[name] for name in DRAWN)) if arrays["own"] is not None else None
    candidates, models, methods = (tuple(map(str, told[name])) for name in ("candidates", "models", "methods"))
    made = Forecast(
        candidates,
        float(told["target_size"]),
        arrays["sizes"],
        arrays["means"],
        errors,
        arrays["rows"],
        models,
        methods,
        arrays["test_error"],
        arrays["dominated"],
        math.inf if told["ceiling"] is None else float(told["ceiling"]),
    )
    known = made.rows[made.rows >= 0]
    shapes = {made.rows.shape, made.test_error.shape, made.dominated.shape, (len(models),), (len(methods),)}
    if shapes != {(len(candidates),)} or (errors and known.max(initial=-1) >= errors.sd.shape[1]):
        raise ValueError("its arrays do not belong together")
    if made.samples.shape[1] != len(candidates):
        raise ValueError("its draws do not belong to its candidates")
    return made
