"""What a model's metadata alone says against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from lensllm.candidates.find import HUB_ID
from lensllm.shortlist.config import FindConfig
from lensllm.shortlist.dropped import Dropped
from lensllm.shortlist.listed import Listed
from lensllm.text import gibibytes, listed, shortened

PACKED = {"gptq", "awq", "exl2", "exl3", "mlx", "fp8", "bitsandbytes", "4-bit", "8-bit", "compressed-tensors", "hqq"}
"""Tags that quantised copies carry."""
ADAPTERS = {"peft", "lora", "adapter", "adapter-transformers"}
MERGES = {"merge", "mergekit"}
FLOATS = {"F64", "F32", "F16", "BF16"}
MOSTLY = 0.5
"""Share of the numbers in other types than floating point from which on weights are taken to be quantised: buffers of
indices are far fewer."""
SMALLEST_WEIGHT = 2
"""Bytes a weight where it is not quantised: bfloat16."""

Finding = tuple[str, str] | None


def without_unfit(
    models: Sequence[Listed], config: FindConfig, free_bytes: float
) -> tuple[list[Listed], list[Dropped]]:
    """The models that nothing is said against, and the others with the first thing that is.

    Args:
        models: as listed.
        config: what is looked for. What the hub filtered by is looked at again: not every hub knows every filter.
        free_bytes: of the device.
    """
    left, dropped = [], []
    for one in models:
        found = next((found for check in _checks(config, free_bytes) if (found := check(one))), None)
        if found is None:
            left.append(one)
        else:
            dropped.append(Dropped(one.name, *found))
    return left, dropped


def _checks(config: FindConfig, free_bytes: float) -> list[Callable[[Listed], Finding]]:
    """In the order in which they are told."""
    return [
        _name,
        lambda one: _open(one, config),
        lambda one: _purpose(one, config),
        _copy,
        lambda one: _licence(one, config),
        lambda one: _language(one, config),
        lambda one: _size(one, config, free_bytes),
        lambda one: _popular(one, config),
    ]


def _name(one: Listed) -> Finding:
    if not HUB_ID.fullmatch(one.name):
        return "no name of a model", f"{shortened(one.name)!r} is no name that can be asked for"
    return None


def _open(one: Listed, config: FindConfig) -> Finding:
    if one.disabled:
        return "held back by the hub", "the hub holds it back (disabled)"
    if one.gated and not config.gated:
        return "gated", "one has to ask for it: --gated takes such models where you were let in"
    return None


def _purpose(one: Listed, config: FindConfig) -> Finding:
    wanted = config.pipeline_tag
    if wanted and one.pipeline_tag != wanted:
        return "for another task", f"it is for {shortened(one.pipeline_tag) or 'nothing that it names'}, not {wanted}"
    return None


def _copy(one: Listed) -> Finding:
    """Adapters, quantised copies and merges, by what their pages say."""
    tags = {tag.lower() for tag in one.tags}
    if one.made_from("adapter") or one.library.lower() in ADAPTERS or tags & ADAPTERS:
        return "adapter", f"it is an adapter{_of(one, 'adapter')} and not a whole model"
    if one.library.lower() == "gguf" or (tags & {"gguf"} and not one.parameters):
        return "GGUF", "its weights are GGUF, which are not trained"
    if one.made_from("quantized") or one.quantised or (packed := tags & PACKED):
        how = one.quantised or ", ".join(sorted(packed if not one.made_from("quantized") else tags & PACKED))
        return "quantised copy", f"it is quantised{f' ({shortened(how)})' if how else ''}{_of(one, 'quantized')}"
    if one.made_from("merge") or tags & MERGES:
        return "merge", f"it is a merge{_of(one, 'merge')}"
    if not one.parameters:
        return "no safetensors weights", "the hub knows of no safetensors weights in it"
    others = sum(count for kind, count in one.types.items() if kind not in FLOATS)
    if others > MOSTLY * sum(one.types.values()):
        kinds = listed(sorted(one.types))
        return "quantised copy", f"most of its weights are no floating-point numbers ({kinds})"
    return None


def _of(one: Listed, relation: str) -> str:
    return f" of {listed(bases, 3)}" if (bases := one.made_from(relation)) else ""


def _licence(one: Listed, config: FindConfig) -> Finding:
    wanted = [name.lower() for name in config.license]
    if not wanted or set(one.licences) & set(wanted):
        return None
    has = listed(one.licences) or "none that it names"
    return "another licence", f"its licence is {has}, not {' or '.join(config.license)}"


def _language(one: Listed, config: FindConfig) -> Finding:
    if not config.language or {tag.lower() for tag in one.tags} & {name.lower() for name in config.language}:
        return None
    return "another language", f"it does not name {' or '.join(config.language)} among its languages"


def _size(one: Listed, config: FindConfig, free_bytes: float) -> Finding:
    if one.parameters > config.most_parameters:
        return "too many parameters", f"it has {one.parameters:,} parameters, more than {config.max_parameters}"
    weights = SMALLEST_WEIGHT * one.parameters
    if "qlora" not in config.methods and weights > free_bytes:
        told = f"its weights alone take {gibibytes(weights)} in bfloat16, and {gibibytes(free_bytes)} are free"
        return "does not fit this machine", told
    return None


def _popular(one: Listed, config: FindConfig) -> Finding:
    if one.downloads < config.min_downloads:
        return "few downloads", f"{one.downloads:,} downloads of the last month, fewer than {config.min_downloads:,}"
    if config.max_age_days is None:
        return None
    if one.created is None:
        return "too old", "the hub does not say when it came, and an age was asked for"
    days = (datetime.now(UTC) - one.created).days
    if days > config.max_age_days:
        return "too old", f"it came {days:,} days ago ({one.created:%Y-%m-%d}), more than {config.max_age_days:,}"
    return None
