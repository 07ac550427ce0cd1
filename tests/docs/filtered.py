"""
Run a command as the unit in deploy/ lets it run: with its system calls, and no memory to write and execute.

    python -m tests.docs.filtered COMMAND ...

What the unit names is asked of systemd and loaded by libseccomp, the library that systemd loads it with.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).parents[2] / "deploy" / "guestwire.service"
#: From `seccomp.h` and `prctl.h` of Linux.
SCMP_ACT_ALLOW, SCMP_ACT_ERRNO = 0x7FFF0000, 0x00050000
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65


def calls_of(name: str) -> set[str]:
    """The system calls of a set such as ``@system-service``, sets within it included."""
    told = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    found: set[str] = set()
    for word in map(str.strip, told.stdout.splitlines()[1:]):
        if word.startswith("@"):
            found |= calls_of(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def allowed() -> set[str]:
    """What the unit lets through; systemd lets a service begin besides."""
    found = calls_of("@default") | {"execve"}
    for line in UNIT.read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            words = line.partition("=")[2]
            calls = set().union(*(calls_of(word) for word in words.removeprefix("~").split()))
            found = found - calls if words.startswith("~") else found | calls
    return found


def confine() -> None:
    """Hold this process, and what becomes of it, to the filter."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    context = library.seccomp_init(SCMP_ACT_ERRNO | errno.EPERM)
    for name in allowed():
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # others are those of other machines
            library.seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0)
    system = ctypes.CDLL(None)
    system.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    system.prctl(PR_SET_MDWE, 1, 0, 0, 0)  # an older kernel does not know it, and says so
    if library.seccomp_load(context) != 0:
        raise OSError("the filter was not loaded")


if __name__ == "__main__":
    confine()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606 - what was asked for
