"""Models on a hub on this machine, which counts the bytes of weights that it gives."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

from local_hub import COMMIT, Hub, entry

REFUSED = {"org/gated": (403, "GatedRepo"), "org/login": (401, "")}


def model_hub(models: dict[str, Path | dict[str, bytes]]) -> type[Hub]:
    """A hub that has these models: folders, or names of files and what is in them.

    Its attribute `given` has a list of the bytes that each request for a file of weights was answered with.
    """
    held = {name: files if isinstance(files, dict) else _read(files) for name, files in models.items()}

    class ModelHub(Hub):
        files = held
        given: list[int] = []  # noqa: RUF012

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            about = path.startswith("api/models/")
            tree = about and "/tree/" in path
            divider = "/tree/" if tree else "/revision/" if about else "/resolve/"
            name, _, rest = path.removeprefix("api/models/").partition(divider)
            revision, _, file = rest.partition("/")
            if name in REFUSED and not about:
                return self.refuse(*REFUSED[name])
            if name not in held and name not in REFUSED:
                return self.refuse(401, "RepoNotFound")
            if revision not in ("", "main", COMMIT):
                return self.refuse(404, "RevisionNotFound")
            files = held.get(name, {"config.json": b"{}", "model.safetensors": b""})
            if tree:
                return self.tell([entry(files, one) for one in files])
            if about:
                return self.tell({"id": name, "sha": COMMIT, "siblings": [_sibling(files, one) for one in files]})
            if file not in files:
                return self.refuse(404, "EntryNotFound")
            self.part(file, files[file])

        do_HEAD = do_GET

        def part(self, file: str, body: bytes) -> None:
            """All of a file, or what a range request asks for."""
            asked, status, told = self.headers.get("Range"), 200, {}
            if asked and self.command == "GET":
                first, last = (int(one) for one in asked.removeprefix("bytes=").split("-"))
                status, told = 206, {"Content-Range": f"bytes {first}-{min(last, len(body) - 1)}/{len(body)}"}
                body = body[first : last + 1]
            if file.endswith(".safetensors") and self.command == "GET":
                self.given.append(len(body))
            self.give(body, status, told)

    return ModelHub


def _read(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _sibling(files: dict[str, bytes], name: str) -> dict[str, object]:
    body = files[name]
    told = {"rfilename": name, "size": len(body), "blobId": hashlib.sha1(body).hexdigest()}
    if not name.endswith(".safetensors"):
        return told
    return {**told, "lfs": {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}}
