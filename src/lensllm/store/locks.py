"""Who is alive: a lock file for every process that claims something, freed by the operating system."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "ceph", "glusterfs", "lustre",
                        "gpfs", "beegfs", "fuse.sshfs", "fuse.glusterfs", "fuse.cephfs", "fuse.s3fs")  # fmt: skip
"""Types, as the mount table names them, on which locks may be kept by one machine only."""


class Locks:
    """Locks of the processes that share a folder.

    A claim names a random token. Its process holds the lock of the token's file as long as it lives, however it ends,
    so that no clock and no process number is needed, and another pid namespace makes no difference.

    Args:
        folder: of the lock files; made with the first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = uuid.uuid4().hex
        self._mine: FileLock | None = None

    def hold(self) -> str:
        """This process's token, its lock held from now on."""
        if self._mine is None:
            self.folder.mkdir(exist_ok=True)
            self._mine = FileLock(self.folder / self.token, timeout=0)
            self._mine.acquire()
        return self.token

    def alive(self, token: str) -> bool:
        """Whether the process that holds this token lives; the file of a dead one is removed."""
        if token == self.token and self._mine is not None:
            return True
        path = self.folder / token
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
                path.unlink(missing_ok=True)
        except Timeout:
            return True
        return False

    def release(self) -> None:
        """Give the lock back; what was claimed with it is free."""
        if self._mine is not None:
            self._mine.release()
            self._mine = None
            (self.folder / self.token).unlink(missing_ok=True)
            with suppress(OSError):
                self.folder.rmdir()


def network_file_system(path: Path) -> str:
    """The type of the network file system that a folder lies on; empty on a local disk."""
    path = path.resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    mount = max((m for m in mounts if path.is_relative_to(m)), key=lambda m: len(m.parts), default=None)
    kind = mounts[mount].lower() if mount is not None else ""
    return kind if kind in NETWORK_FILE_SYSTEMS else ""
