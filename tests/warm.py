"""Commands as a user gives them, forked from a process in which torch and transformers are loaded already.

Loading them takes most of the time of a command that is refused. `python tests/warm.py SOCKET` loads them, says so and
waits; `warm_commands` makes executables `lensllm` and `python` whose arguments, folder, environment and files are taken
over there by a fork. Everything after the imports is a process of its own, as in a shell.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

LOADED = ("lensllm.cli", "lensllm.pipeline", "lensllm.tuning.trainer", "transformers.trainer", "peft", "datasets")
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as here:
    here.connect({address!r})
    told = json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(here, [len(told).to_bytes(8, "little")], [0, 1, 2])
    here.sendall(told)
    code = here.recv(1)
    os._exit(code[0] if code else 134)
"""


@contextlib.contextmanager
def warm_commands(folder: Path) -> Iterator[Path]:
    """A folder with `lensllm` and `python SCRIPT`, their libraries loaded, for as long as they are needed."""
    address = folder / "warm.sock"
    server = subprocess.Popen([sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        for name in ("lensllm", "python"):
            (folder / name).write_text(CLIENT.format(python=sys.executable, address=str(address)))
            (folder / name).chmod(0o755)
        yield folder
    finally:
        server.kill()
        server.communicate()


def serve(address: str) -> None:
    """Carry commands out until standard input is closed."""
    for name in LOADED:
        import_module(name)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            asked, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _carry_out(asked)
            asked.close()


def _carry_out(asked: socket.socket) -> None:
    code = 1
    try:
        length, files, _, _ = socket.recv_fds(asked, 8, 3)
        told = b""
        while len(told) < int.from_bytes(length, "little"):
            told += asked.recv(1 << 16)
        program, arguments, folder, environment = json.loads(told)
        for target, file in enumerate(files):
            os.dup2(file, target)
            os.close(file)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["lensllm", *arguments] if program == "lensllm" else arguments
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(i, mode) for i, mode in enumerate(("r", "w", "w")))
        if program == "lensllm":
            sys.modules["lensllm.cli"].main()
        else:
            runpy.run_path(arguments[0], run_name="__main__")
            code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        asked.sendall(bytes([code]))
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
