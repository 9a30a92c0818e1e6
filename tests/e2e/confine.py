"""Runs a program as a poorer host would: `confine.py DESCRIPTORS REFUSAL PROGRAM [ARGUMENT…]`.

DESCRIPTORS is the limit of a descriptor table, soft and hard, beyond any privilege to raise it. REFUSAL is `none`, or the
name of the error that close_range and unshare shall give: `EPERM` as systemd's SystemCallFilter= gives it, `ENOSYS` as an
old kernel does. Linux on x86_64 and aarch64. Must never know the program.
"""

import contextlib
import ctypes
import errno
import os
import platform
import resource
import struct
import sys

# include/uapi/linux: prctl.h, capability.h, seccomp.h, audit.h, filter.h
PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 22, 24, 38
CAP_SYS_RESOURCE = 24
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
# struct seccomp_data: the call's number comes first, then the architecture.
NUMBER, ARCHITECTURE = 0, 4
# The architecture as the filter sees it, and its numbers of close_range and unshare.
MACHINES = {"x86_64": (0xC000003E, 436, 272), "aarch64": (0xC00000B7, 436, 97)}


def prctl(option, argument, pointer=None):
    """prctl(2); raises what it reports."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(argument), pointer, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def limit_descriptors(count):
    """Lowers the limit for good: a program that root starts would raise it again if it could."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
    # Whoever may not drop the privilege hardly has it.
    with contextlib.suppress(PermissionError):
        prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE)


def program(number):
    """The filter as instructions of classic BPF: code, jump if true, jump if false, value."""
    architecture, *calls = MACHINES[platform.machine()]
    steps = [(LOAD_WORD, 0, 0, ARCHITECTURE), (JUMP_IF_EQUAL, 1, 0, architecture), (RETURN, 0, 0, SECCOMP_RET_ALLOW)]
    steps.append((LOAD_WORD, 0, 0, NUMBER))
    # Each call jumps over the comparisons behind it and over the way out.
    steps += [(JUMP_IF_EQUAL, len(calls) - place, 0, call) for place, call in enumerate(calls)]
    return [*steps, (RETURN, 0, 0, SECCOMP_RET_ALLOW), (RETURN, 0, 0, SECCOMP_RET_ERRNO | number)]


def refuse_tables(number):
    """From now on close_range and unshare give this error, here and in every program that follows."""
    steps = program(number)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    sock_fprog = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, sock_fprog)


def main(descriptors, refusal, *command):
    limit_descriptors(int(descriptors))
    if refusal != "none":
        refuse_tables(getattr(errno, refusal))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
