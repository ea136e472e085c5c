"""Is another gateway using this file?"""

import fcntl
import os
from pathlib import Path


class LedgerInUseError(Exception):
    """Another process has this ledger open; one SQLite file serves one gateway."""


class FileLock:
    """Holds `<file>.lock` until freed; the system drops it when the process dies."""

    def __init__(self, path: Path) -> None:
        """Raises LedgerInUseError, which names the process that holds the lock."""
        self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            raise LedgerInUseError(
                f"{path} is in use by process {holder or 'unknown'}; stop that gateway or choose another file"
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def free(self) -> None:
        os.close(self._file)
