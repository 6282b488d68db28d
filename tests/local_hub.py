"""A hub on this machine that answers what the datasets library asks the real one, and a program that reads from it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "1234567890" * 4


def lines(word: str, count: int) -> bytes:
    rows = ({"prompt": f"{word} {i}", "completion": f" {i}"} for i in range(count))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def card(*subsets: str) -> bytes:
    """A data set card whose subsets have splits named as chats are."""
    told = ["---", "configs:"]
    for subset in subsets:
        told += [f"- config_name: {subset}", "  data_files:"]
        for split in ("train", "test"):
            told += [f"  - split: {split}_sft", f"    path: {subset}/{split}.jsonl"]
    return "\n".join([*told, "---", ""]).encode()


FILES = {
    "org/plain": {"train.jsonl": lines("a", 60), "test.jsonl": lines("b", 5)},
    "org/many": {
        "README.md": card("one", "two"),
        **{f"{subset}/train.jsonl": lines(subset, 60) for subset in ("one", "two")},
        **{f"{subset}/test.jsonl": lines("t", 7) for subset in ("one", "two")},
    },
    "org/code": {"code.py": b"raise SystemExit('this was run')"},
    "org/broken": {"train.jsonl": b"{\n"},
}
REFUSED = {"org/gated": (403, "GatedRepo"), "org/login": (401, ""), "org/mine": (403, "")}


class Hub(BaseHTTPRequestHandler):
    """The end points of files, trees and revisions."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing is written."""

    def do_GET(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind, _, path = unquote(urlsplit(self.path).path).strip("/").partition("datasets/")
        parts = path.split("/")
        name, (what, revision, *rest) = "/".join(parts[:2]), [*parts[2:], "revision", "main"][: max(len(parts) - 2, 2)]
        if name in REFUSED or name not in FILES:
            return self.refuse(*REFUSED.get(name, (401, "RepoNotFound")))
        if revision not in ("main", COMMIT):
            return self.refuse(404, "RevisionNotFound")
        files, inside = FILES[name], "/".join(rest)
        if kind != "api/":
            return self.give(files[inside]) if inside in files else self.refuse(404, "EntryNotFound")
        if what == "tree":
            return self.tell([entry(files, path) for path in files if path.startswith(inside)])
        if what == "paths-info":
            paths = parse_qs(asked.decode()).get("paths") or json.loads(asked)["paths"]
            return self.tell([entry(files, path) for path in paths if any(file.startswith(path) for file in files)])
        return self.tell({"id": name, "sha": COMMIT, "siblings": [{"rfilename": path} for path in files]})

    do_HEAD = do_POST = do_GET

    def tell(self, value: object) -> None:
        self.give(json.dumps(value).encode())

    def refuse(self, status: int, why: str) -> None:
        self.give(b"{}", status, {"X-Error-Code": why, "X-Error-Message": why or "no"})

    def give(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        tag = hashlib.sha1(body).hexdigest()
        told = {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, "ETag": f'"{tag}"', **(headers or {})}
        for key, value in told.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def entry(files: dict[str, bytes], path: str) -> dict[str, object]:
    """A file or folder as the hub lists it."""
    oid = hashlib.sha1(path.encode()).hexdigest()
    if path not in files:
        return {"type": "directory", "path": path, "oid": oid}
    return {"type": "file", "path": path, "oid": oid, "size": len(files[path])}


@contextmanager
def local_hub(handler: type[Hub] = Hub) -> Iterator[str]:
    """The address of a hub that answers while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


PROGRAM = """
import json, sys
from lensllm.errors import InputError
from lensllm.tasks import read_task
found = {}
for source in sys.argv[1:]:
    try:
        task = read_task(source)
        found[source] = [len(task.train), len(task.validation), len(task.test), *task.notes]
    except InputError as error:
        found[source] = str(error)
print(json.dumps(found))
"""


def environment(address: str, home: Path) -> dict[str, str]:
    """Variables of a program that knows this hub and no other; of one that knows none if the address is empty."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    env |= {"HF_HOME": str(home), "HF_HUB_OFFLINE": "0" if address else "1", "NO_PROXY": "127.0.0.1"}
    return env | ({"HF_ENDPOINT": address} if address else {})


def read(sources: list[str], address: str, home: Path) -> tuple[dict[str, object], str]:
    """What a program reads of the sources: sizes and notes, or what is wrong; and what it writes on standard error.

    Args:
        sources: hub ids.
        address: of the hub; empty for none.
        home: folder of the caches.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *sources],
        env=environment(address, home),
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout), done.stderr
