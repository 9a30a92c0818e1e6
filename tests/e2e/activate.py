"""Runs a program with sockets passed to it as systemd does (sd_listen_fds(3)): `activate.py NAMES DESCRIPTORS PROGRAM [ARGUMENT…]`.

NAMES are those of the descriptors, with a colon between them, and DESCRIPTORS their numbers here, with a comma.
Must never know the program.
"""

import os
import sys

FIRST = 3


def main(names, descriptors, *command):
    # Out of the way first: what one is to be may be what another is.
    copies = [os.dup(int(descriptor)) for descriptor in descriptors.split(",")]
    high = max(copies) + FIRST + len(copies)
    for place, copy in enumerate(copies):
        os.dup2(copy, high + place)
    for place in range(len(copies)):
        os.dup2(high + place, FIRST + place, inheritable=True)
    # Whatever else is open ends with this program.
    os.closerange(FIRST + len(copies), high + len(copies))
    environment = {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(copies)), "LISTEN_FDNAMES": names}
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    main(*sys.argv[1:])
