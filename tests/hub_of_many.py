"""A hub on this machine with hundreds of models: it lists them as the real one does, and has files of some."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from local_hub import COMMIT, Hub, local_hub
from model_hub import model_hub

TODAY = datetime.now(UTC)
LICENCES = ("apache-2.0", "mit", "llama3.2", "cc-by-nc-4.0", "other")
LANGUAGES = ("en", "it", "de", "zh")
PAGE = 50
"""Models on a page, however many are asked for."""


def model(name: str, **told: Any) -> dict[str, Any]:
    """A model as the hub lists it: one that nothing is wrong with but for what is told."""
    days = told.pop("days", 100)
    licence, languages = told.pop("license", "apache-2.0"), told.pop("languages", ["it", "en"])
    total, types = told.pop("parameters", 100_000), told.pop("types", None)
    listed = {
        "id": name,
        "author": name.partition("/")[0],
        "sha": COMMIT,
        "createdAt": f"{TODAY - timedelta(days=days):%Y-%m-%dT%H:%M:%S}.000Z",
        "downloads": 1000,
        "gated": False,
        "disabled": False,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "config": {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
        "tags": ["safetensors", f"license:{licence}", *languages, *told.pop("tags", [])],
    }
    if total:
        listed["safetensors"] = {"parameters": types or {"F32": total}, "total": total}
    return {**listed, **told}


def made_up(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Models that nobody has: of every licence, language, size and age, whole and not."""
    draw = random.Random(seed)
    models = []
    for i in range(count):
        kinds = [{}, {}, {}, {"tags": ["gguf"], "parameters": 0}, {"tags": ["base_model:quantized:org0/base"]}]
        kinds += [{"tags": ["mergekit", "merge"]}, {"library_name": "peft"}, {"gated": "auto"}, {"tags": ["gptq"]}]
        told = {
            "license": draw.choice(LICENCES),
            "languages": draw.sample(LANGUAGES, draw.randint(1, 3)),
            "parameters": int(10 ** draw.uniform(7, 11)),
            "days": draw.randint(1, 2000),
            "downloads": int(10 ** draw.uniform(0, 6)),
            "config": {"model_type": draw.choice(["llama", "qwen2", "gemma2", "t5"])},
        }
        models.append(model(f"org{i % 17}/made-up-{i}", **told | draw.choice(kinds)))
    return models


def hub_of_many(listed: Sequence[dict[str, Any]], files: dict[str, Path | dict[str, bytes]]) -> type[Hub]:
    """A hub that lists these models and has these files.

    Its attributes: `asked`, the requests; `answers`, how many it still gives before it is gone (None for all); `busy`,
    how many requests for single models it still answers with 429; `wait`, the seconds that it asks to wait then;
    `refused`, the status that lists are refused with; `knows`, whether it filters at all.
    """
    parent: Any = model_hub(files)

    class HubOfMany(parent):
        asked: list[str] = []  # noqa: RUF012
        answers: int | None = None
        busy = 0
        wait = "0"
        refused = 0
        knows = True

        def do_GET(self) -> None:
            kind, path = type(self), urlsplit(self.path).path
            if not path.startswith("/api/models") and "/resolve/" not in path:
                return self.refuse(404, "EntryNotFound")
            kind.asked.append(f"{self.command} {self.path}")
            if kind.answers is not None:
                kind.answers -= 1
                if kind.answers < 0:
                    self.close_connection = True
                    return None
            if path == "/api/models-tags-by-type":
                tags = {"license": [f"license:{one}" for one in LICENCES], "language": LANGUAGES}
                tags["pipeline_tag"] = ["text-generation", "text2text-generation"]
                return self.tell({kind: [{"id": one} for one in ids] for kind, ids in tags.items()})
            if path == "/api/models":
                if kind.refused:
                    return self.give(b"{}", kind.refused, {"Retry-After": kind.wait})
                return self.page()
            if kind.busy > 0:
                kind.busy -= 1
                return self.give(b"{}", 429, {"Retry-After": kind.wait})
            return super().do_GET()

        do_HEAD = do_GET

        def page(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            found = [one for one in listed if not self.knows or _wanted(one, query)]
            found.sort(key=lambda one: -one["downloads"] if isinstance(one["downloads"], int) else 0)
            start = int(query.get("cursor", ["0"])[0])
            limit = min(int(query.get("limit", ["1000"])[0]), PAGE)
            shown = {"id", *query.get("expand", [])}
            body = [{key: value for key, value in one.items() if key in shown} for one in found[start : start + limit]]
            after = {}
            if start + limit < len(found):
                query["cursor"] = [str(start + limit)]
                address = f"http://{self.headers['Host']}/api/models?{urlencode(query, doseq=True)}"
                after = {"Link": f'<{address}>; rel="next"'}
            self.give(json.dumps(body).encode(), 200, after)

    return HubOfMany


def _wanted(one: dict[str, Any], query: dict[str, list[str]]) -> bool:
    if not set(query.get("filter", [])) <= set(one["tags"]):
        return False
    if query.get("pipeline_tag", [one["pipeline_tag"]]) != [one["pipeline_tag"]]:
        return False
    if query.get("gated") == ["false"] and one["gated"]:
        return False
    most = float(query.get("num_parameters", ["max:infB"])[0].removeprefix("max:").removesuffix("B")) * 1e9
    return bool(one.get("safetensors", {}).get("total", 0) <= most)


@contextmanager
def at_hub(hub: type[Hub], home: Path) -> Iterator[str]:
    """The hub's address; this process asks it and no other, and keeps what it fetches in `home`."""
    with local_hub(hub) as address, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", address)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_CACHE", str(home))
        close_session()
        yield address
    close_session()
