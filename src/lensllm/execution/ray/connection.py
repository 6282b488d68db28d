"""To a Ray cluster and away from it: one that runs is joined and left as it was, one of our own ends with us."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from lensllm.candidates.configuration import first_line
from lensllm.errors import InputError

ADDRESS = re.compile(r"auto|local|[\w.-]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}")
OBJECT_STORE = 100 << 20
"""Bytes of a cluster of our own for what is sent: tasks. Ray writes what does not fit to the disk."""
SHORT = 40
"""Ray's sockets lie in its folder, and their paths may have 107 bytes, of which it takes 65."""
REACHED_WITHIN = 10.0
"""Seconds that the head node gets to answer."""
PASSED_ON = ("LENSLLM_HOME", "TRANSFORMERS_OFFLINE", "TOKENIZERS_PARALLELISM", "CUBLAS_WORKSPACE_CONFIG")


class Connection:
    """This process's place in a Ray cluster.

    Args:
        address: `auto` for the cluster that this machine is a part of, or else one of our own; `local` for one of our
            own; `host:port` of a head node.

    Attributes:
        said: what was joined or started, a sentence.

    Raises:
        InputError: if Ray is not installed, or there is no such cluster.
    """

    def __init__(self, address: str) -> None:
        ray = import_ray()
        if not ADDRESS.fullmatch(address):
            raise InputError(
                f"--ray-address {address!r} is none: expected auto, local, or host:port of a cluster that this machine "
                "is a part of"
            )
        self._folder = ""
        self._joined = not ray.is_initialized()
        if not self._joined:
            own = ray.get_runtime_context().gcs_address
            if address not in ("auto", own):
                raise InputError(
                    f"--ray-address {address} is asked for, and this program is in the cluster {own} already"
                )
            self.said = "this program's own Ray cluster runs the jobs and goes on afterwards"
        elif address == "local" or (address == "auto" and not _found()):
            self._start(ray)
            self.said = "started a Ray cluster of this machine alone, which ends with this command"
        else:
            _reach(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
            _init(ray, f"the Ray cluster {address} cannot be joined", address=address)
            at = ray.get_runtime_context().gcs_address
            self.said = f"joined the Ray cluster at {at}, which goes on when this command ends"

    def leave(self) -> None:
        """End what was started here, and nothing else."""
        if self._joined:
            import_ray().shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, ray: Any) -> None:
        above = tempfile.gettempdir()
        self._folder = tempfile.mkdtemp(prefix="lensllm-", dir=above if len(above) < SHORT - 20 else "/tmp")
        from ray._private import ray_constants

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        with patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False):  # as on a Mac: it listens on the loopback only
            _init(
                ray, "no Ray cluster can be started here", address="local", num_cpus=cores, include_dashboard=False,
                object_store_memory=OBJECT_STORE, _temp_dir=self._folder,
            )  # fmt: skip


def import_ray() -> Any:
    """The package, its reports of use switched off where nothing is said of them.

    Raises:
        InputError: if it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError('--executor ray needs Ray, which is missing: pip install "lensllm[ray]"') from error
    return ray


def passed_on() -> dict[str, str]:
    """Variables of this process that its jobs get on every node: where the hub's files are and how it is asked.

    Access tokens stay here, as Ray writes what it passes on into its logs.
    """
    names = [name for name in os.environ if name.startswith("HF_") and not name.endswith("TOKEN")]
    return {name: os.environ[name] for name in (*names, *PASSED_ON) if name in os.environ}


def _found() -> bool:
    """Whether a cluster is named in the environment, or runs on this machine."""
    from ray._private.services import find_gcs_addresses

    return bool(os.environ.get("RAY_ADDRESS") or find_gcs_addresses())


def _reach(address: str) -> None:
    """Try the port, as Ray itself tries for minutes.

    Raises:
        InputError: if nobody listens there.
    """
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACHED_WITHIN).close()
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(f"no Ray cluster can be reached at {address}: {first_line(error)}") from error


def _init(ray: Any, what: str, **options: Any) -> None:
    """`ray.init`, which prints nothing and leaves the program's handling of signals alone.

    Raises:
        InputError: in place of whatever goes wrong, in one sentence.
    """
    from ray._private import worker

    worker.print_worker_logs = lambda *ignored: None  # it prints news of dead nodes on stdout, which --json is for
    try:
        with _signals_kept():
            ray.init(log_to_driver=False, logging_level="error", **options)
    except Exception as error:
        raise InputError(f"{what}: {first_line(error)}") from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
