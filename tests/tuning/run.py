"""Runs what is said of tuning/ against fake hosts and, in namespaces of its own, against this one: `run.py [--list] [WORDS…]`.

Prints `PASS sentence` or `FAIL sentence: why` for each and exits 1 when one failed or none ran.
WORDS select the cases whose sentence contains all of them. Wants root, which it uses inside namespaces alone.
"""

import importlib
import os
import pathlib
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.append(str(HERE.parent / "e2e"))

import harness  # noqa: E402  (the path above makes it importable)
from node import limit_seconds  # noqa: E402


def load():
    """Imports every file of cases/, which fills the list."""
    for path in sorted((HERE / "cases").glob("*.py")):
        importlib.import_module(f"cases.{path.stem}")
    return harness.CASES


def tell(name, fault, seconds):
    """One line for a case, and the story of a failure below it."""
    if fault is None:
        print(f"PASS {name} ({seconds:.2f} s)", flush=True)
        return
    lines = str(fault).splitlines() or [""]
    print(f"FAIL {name}: {type(fault).__name__} {lines[0]}", flush=True)
    for line in "".join(traceback.format_exception(fault)).splitlines():
        print(f"    {line}", flush=True)


def main(arguments):
    listing = "--list" in arguments
    words = [word for word in arguments if word != "--list"]
    chosen = [one for one in load() if all(word in one[0] for word in words)]
    if os.geteuid() != 0:
        print("run.py wants root: it makes namespaces, mounts and other users' processes", file=sys.stderr)
        return 1
    failed = 0
    for name, function, seconds in chosen:
        if listing:
            print(name)
            continue
        start, fault = time.monotonic(), None
        try:
            limit_seconds(seconds, "the case")
            function()
        except (Exception, KeyboardInterrupt) as caught:
            fault = caught
        limit_seconds(0, "")
        failed += fault is not None
        tell(name, fault, time.monotonic() - start)
        if isinstance(fault, KeyboardInterrupt):
            break
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
