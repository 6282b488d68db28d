"""From the hub to a shortlist: list, filter, look at small files, plan memory, measure, share out the places."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensllm.errors import InputError
from lensllm.execution import InProcess
from lensllm.inputs import settings_of
from lensllm.planning.selection_plan import disk_free
from lensllm.search.callbacks import Callback
from lensllm.search.driver import drive
from lensllm.shortlist.behind import surely_behind
from lensllm.shortlist.config import FindConfig
from lensllm.shortlist.dropped import REFUSED, UNMEASURED, Dropped
from lensllm.shortlist.families import families
from lensllm.shortlist.filters import without_unfit
from lensllm.shortlist.fitting import Fitting, fitting
from lensllm.shortlist.listed import Listed
from lensllm.shortlist.listing import Watch, list_hub
from lensllm.shortlist.looked import LAST, look_at, without_copies
from lensllm.shortlist.measuring import ROOM, Measuring, within
from lensllm.shortlist.patience import Patience
from lensllm.shortlist.places import share_out
from lensllm.shortlist.shortlist import Kept, Shortlist
from lensllm.store import Store
from lensllm.tasks import Task, read_task
from lensllm.text import counted, gibibytes, listed, visible
from lensllm.tuning.fit import fit_all
from lensllm.tuning.quiet import quiet
from lensllm.tuning.run import Run

if TYPE_CHECKING:
    from lensllm.tuning.device_memory import DeviceMemory

Places = dict[str, list[str]]

logger = logging.getLogger(__name__)

LOOKED_AT_A_PLACE = 5
"""Models whose files are looked at for each place of the shortlist: about twenty requests each."""
BY_DOWNLOADS, BY_LOSS = "by downloads", "by loss"


def find(
    task: Any, *, callbacks: Sequence[Callback] = (), watch: Watch = lambda what, done, of: None, **options: object
) -> Shortlist:
    """Find models on the hub that are worth a selection on a task.

    The hub lists models by downloads; metadata, hashes of files, configuration and headers tell which of them cannot
    be used, are copies or do not fit this machine; the rest is downloaded and measured as it came on a few test
    examples, the cheapest first. What is surely behind is dropped and the places are shared out as a mix
    (`lensllm.shortlist.places`). `shortlist.txt` and `models.csv` are written to `output_dir`, and runs are kept there:
    the same call goes on where an interrupted one stopped, and a `select` in that folder on as many test examples does
    not measure them again.

    Args:
        task: as for `select`.
        callbacks: hear of every run.
        watch: hears of every step before the runs: what is done, how much, of how much.
        options: the other fields of `FindConfig`.

    Raises:
        InputError: for a task or options that cannot be used, if the hub cannot be reached or lists nothing, or if
            nothing of what it lists is left.

    >>> import lensllm
    >>> try:
    ...     lensllm.find("define", max_parameters="3X")
    ... except lensllm.InputError as error:
    ...     print(error)
    max_parameters is '3X': expected a number above 0 such as 3B, 500M or 1e9
    """
    config, data = settings_of(FindConfig, task, options)
    return run_find(config, callbacks, watch, data)


def run_find(
    config: FindConfig,
    callbacks: Sequence[Callback] = (),
    watch: Watch = lambda what, done, of: None,
    data: Any = None,
) -> Shortlist:
    """`find` with all its settings in one object; `data` are examples in place of `config.task`."""
    with quiet(), _quiet_hub():
        return _Finding(config, callbacks, watch, data).through()


class _Finding:
    """The way from a list to a shortlist; every step leaves what is left and adds to `dropped`."""

    def __init__(self, config: FindConfig, callbacks: Sequence[Callback], watch: Watch, data: Any) -> None:
        from lensllm.tuning.device_memory import device_memory

        self.config, self.callbacks, self.watch = config, callbacks, watch
        self.task: Task = read_task(config.task if data is None else data, **config.reading())
        self.notes = list(self.task.notes)
        self.device: DeviceMemory = device_memory()
        self.patience = Patience(watch)
        self.dropped: list[Dropped] = []
        self.families: dict[str, str] = {}

    def through(self) -> Shortlist:
        listing = list_hub(self.config, self.watch)
        self.notes += listing.notes
        self.families = families(listing.models)
        models = self._measurable(listing.models)
        runs = self._measured(models) if self.config.measure else {}
        made = self._shared_out(models, runs, len(listing.models))
        made.save(Path(self.config.output_dir))
        return made

    def _measurable(self, models: Sequence[Listed]) -> list[Fitting]:
        """Those that can be fine-tuned on this machine, from all that is small."""
        left = self._without(*without_unfit(models, self.config, self.device.free))
        left = self._looked_at(left)
        asked = self._without(*without_copies(left, self.patience, self.watch))
        looked = self._without(*look_at(asked, self.config.min_context, self.patience, self.watch))
        training = self.config.training_config()
        self.task, unread = fit_all(self.task, [one.candidate for one in looked], training, self.config.skip_bad_rows)
        self.notes = [*dict.fromkeys([*self.notes, *self.task.notes])]
        self.dropped += [Dropped(name, REFUSED, why) for name, why in unread.items()]
        looked = [one for one in looked if one.name not in unread]
        return self._without(*fitting(looked, self.task, self.config, self.device, self.watch))

    def _without(self, left: list[Any], dropped: list[Dropped]) -> list[Any]:
        """What is left.

        Raises:
            InputError: if that is nothing.
        """
        self.dropped += dropped
        if not left:
            made = Shortlist(self.task.name, len(self.dropped), 0, (), tuple(self.dropped))
            made.save(Path(self.config.output_dir))
            dropped = dropped or self.dropped
            last = f"; the last of them, {dropped[-1].name}: {dropped[-1].reason}" if dropped else ""
            raise InputError(f"no model is left. {made.sentence} Reasons in {self.config.output_dir}/models.csv{last}")
        return left

    def _looked_at(self, models: list[Listed]) -> list[Listed]:
        """A mix of those that nothing is said against, as many as files are looked at of."""
        most = LOOKED_AT_A_PLACE * self.config.keep
        chosen = self._mix({one.name: one for one in models}, most, {}, {})
        told = f"the files of {most:,} models are looked at ({LOOKED_AT_A_PLACE} a place), a mix by downloads"
        left = [one for one in models if one.name in chosen]
        others = [Dropped(one.name, "not looked at", told) for one in models if one.name not in chosen]
        return self._without(left, others)

    def _mix(self, models: dict[str, Listed], count: int, runs: Mapping[str, Run], sizes: Mapping[str, int]) -> Places:
        """Who gets the places: by loss where that was measured, or else by downloads; sizes are the hub's or ours."""
        by_loss = {name: run.nats_per_byte for name, run in runs.items()}
        orders = {
            BY_LOSS if runs else BY_DOWNLOADS: sorted(
                models, key=lambda name: (by_loss.get(name, math.inf), -models[name].downloads)
            ),
            "smallest": sorted(models, key=lambda name: sizes.get(name, models[name].parameters)),
            "newest": sorted(models, key=lambda name: -(models[name].created or LAST.replace(year=1)).timestamp()),
        }
        return share_out(count, orders, self.families)

    def _mix_of(self, models: Mapping[str, Fitting], count: int, runs: Mapping[str, Run]) -> Places:
        sizes = {name: one.plan.parameters for name, one in models.items()}
        return self._mix({name: one.looked.listed for name, one in models.items()}, count, runs, sizes)

    def _measured(self, models: list[Fitting]) -> dict[str, Run]:
        """Losses as they came, of those that there is room for; said before anything is downloaded."""
        mix = self._mix_of({one.name: one for one in models}, len(models), {})
        free = disk_free()
        chosen, beyond = within(models, list(mix), min(self.config.most_bytes, ROOM * free))
        sizes = {one.name: one.plan.download_bytes for one in chosen}
        logger.warning("plan: %s", visible(_download(sizes, len(beyond), free)))
        search = Measuring(chosen, self.task, self.config.training_config(), self.patience, self.watch)
        self.watch("measuring", 0, len(chosen))
        store = Store(Path(self.config.output_dir))
        try:
            with InProcess() as executor:
                drive(search, executor, store, self.callbacks)
        finally:
            store.close()
        gone = [*beyond, *search.dropped]
        if not search.runs:
            self.notes.append("no loss could be measured, so places go by downloads")
            gone = [one for one in gone if one.kind in (REFUSED, UNMEASURED)]
        self.dropped += gone
        return search.runs

    def _shared_out(self, models: list[Fitting], runs: dict[str, Run], count: int) -> Shortlist:
        if self.patience.gone:
            self.notes.append(f"{self.patience.gone}; what was found until then is kept, the same command goes on")
        gone = {one.name for one in self.dropped}
        left = {one.name: one for one in self._without([one for one in models if one.name not in gone], [])}
        sizes = [one.n_bytes for one in self.task.test[: self.config.max_test_examples]]
        behind = surely_behind(runs, sizes, self.config.keep)
        self.dropped += [Dropped(name, "surely behind", why) for name, why in behind.items()]
        left = {name: one for name, one in left.items() if name not in behind}
        places = self._mix_of(left, self.config.keep, runs)
        told = f"all {self.config.keep} places went to others"
        self.dropped += [Dropped(name, "no place left", told) for name in left if name not in places]
        return Shortlist(
            self.task.name,
            count,
            min(self.config.max_test_examples, len(self.task.test)),
            tuple(_kept(left[name], tuple(why), self.families[name], runs.get(name)) for name, why in places.items()),
            tuple(self.dropped),
            tuple(self.notes),
            Path(self.config.output_dir),
        )


def _kept(one: Fitting, reasons: tuple[str, ...], family: str, run: Run | None) -> Kept:
    told = one.looked.listed
    return Kept(
        name=one.name,
        commit=one.candidate.revision or "",
        reasons=reasons,
        family=family,
        parameters=one.plan.parameters,
        licence=listed(told.licences),
        created=f"{told.created:%Y-%m-%d}" if told.created else "",
        downloads=told.downloads,
        context=one.looked.context,
        memory_bytes=one.plan.memory.peak,
        download_bytes=one.plan.download_bytes,
        nats_per_byte=run.nats_per_byte if run else None,
        standard_error=run.standard_error if run else None,
    )


def _download(sizes: dict[str, int], beyond: int, free: int) -> str:
    """What will be downloaded, in a sentence."""
    missing = {name: size for name, size in sizes.items() if size}
    left_out = f"; {counted(beyond, 'model')} left out, as there is no room for more" if beyond else ""
    if not missing:
        return f"nothing to download: the weights of {counted(len(sizes), 'model')} are here{left_out}"
    largest = max(missing, key=missing.__getitem__)
    return (
        f"{gibibytes(sum(missing.values()))} to download for {counted(len(missing), 'model')}, the largest {largest} "
        f"with {gibibytes(missing[largest])}; the disk has {gibibytes(free)} free{left_out}"
    )


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Without the bars of the hub's library inside; that it waits is still said, and no address."""
    from huggingface_hub import utils

    log = logging.getLogger("huggingface_hub.utils._http")
    log.addFilter(_without_addresses)
    shown = not utils.are_progress_bars_disabled()
    if shown:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        log.removeFilter(_without_addresses)
        if shown:
            utils.enable_progress_bars()


def _without_addresses(record: logging.LogRecord) -> bool:
    return "while requesting" not in record.getMessage()
