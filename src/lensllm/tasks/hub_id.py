"""How a data set of the hub is written: `org/name:subset@revision`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lensllm.tasks.containers import container_of

WORD = r"[A-Za-z0-9][\w.-]*"
HUB_ID = re.compile(rf"(?P<name>{WORD}/{WORD})(?::(?P<subset>[\w.+-]+))?(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class HubId:
    """What a user wrote for a data set of the hub.

    Attributes:
        source: all of it.
        name: organisation and name.
        subset: one of its configurations; None where none is named.
        revision: a branch, tag or commit; None where none is named.
    """

    source: str
    name: str
    subset: str | None
    revision: str | None


def hub_id(source: str) -> HubId | None:
    """What a source names on the hub; None where it is not written as a data set of the hub.

    >>> hub_id("org/name:subset@main")
    HubId(source='org/name:subset@main', name='org/name', subset='subset', revision='main')
    >>> hub_id("data.jsonl"), hub_id("org/data.jsonl.gz"), hub_id("./name")
    (None, None, None)
    """
    told = HUB_ID.fullmatch(source)
    if told is None or container_of(Path(source)) is not None:
        return None
    return HubId(source, told["name"], told["subset"], told["revision"])
