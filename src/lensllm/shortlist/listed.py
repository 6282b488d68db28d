"""One model as the hub lists it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

BASE = "base_model:"


@dataclass(frozen=True)
class Listed:
    """One model as the hub lists it; all of it is what its owner or the hub says, and nothing was checked.

    Attributes:
        name: `organisation/name`.
        commit: that its main branch is at.
        parameters: of its safetensors files; 0 where the hub does not know.
        types: safetensors type -> numbers of it.
        created: when it came to the hub; None where that is not said.
        downloads: of the last month.
        gated: whether one has to ask for it.
        disabled: whether the hub holds it back.
        library: that it is for.
        pipeline_tag: what it is for.
        tags: licence, languages, where it comes from and whatever else.
        model_type: its architecture, from its configuration.
        quantised: by what method its configuration says that it is quantised; empty for not.
    """

    name: str
    commit: str = ""
    parameters: int = 0
    types: dict[str, int] = field(default_factory=dict)
    created: datetime | None = None
    downloads: int = 0
    gated: bool = False
    disabled: bool = False
    library: str = ""
    pipeline_tag: str = ""
    tags: tuple[str, ...] = ()
    model_type: str = ""
    quantised: str = ""

    @classmethod
    def of(cls, info: Any) -> Self:
        """From what the hub's library read; what has another type than it should is passed over."""
        config = info.config if isinstance(info.config, dict) else {}
        packed = config.get("quantization_config")
        packed = packed if isinstance(packed, dict) else {}
        held = info.safetensors
        types = held.parameters if held is not None and isinstance(held.parameters, dict) else {}
        created = info.created_at if isinstance(info.created_at, datetime) else None
        return cls(
            name=_text(info.id),
            commit=_text(info.sha),
            parameters=_count(held.total) if held is not None else 0,
            types={_text(name): _count(count) for name, count in types.items()},
            created=created.replace(tzinfo=created.tzinfo or UTC) if created else None,
            downloads=_count(info.downloads),
            gated=bool(info.gated),
            disabled=bool(info.disabled),
            library=_text(info.library_name),
            pipeline_tag=_text(info.pipeline_tag),
            tags=tuple(map(_text, info.tags if isinstance(info.tags, list) else [])),
            model_type=_text(config.get("model_type")),
            quantised=_text(packed.get("quant_method")) or "unknown" * bool(packed),
        )

    @property
    def organisation(self) -> str:
        """Who holds it."""
        return self.name.partition("/")[0] if "/" in self.name else ""

    @property
    def licences(self) -> list[str]:
        """As its page names them, in small letters."""
        return [tag.partition(":")[2].lower() for tag in self.tags if tag.startswith("license:")]

    def made_from(self, relation: str = "") -> list[str]:
        """Models that its page names as those it was made from.

        Args:
            relation: `finetune`, `quantized`, `merge` or `adapter`; empty for any.
        """
        start = f"{BASE}{relation}:" if relation else BASE
        named = [tag.removeprefix(start) for tag in self.tags if tag.startswith(start)]
        return [name for name in named if ":" not in name]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
