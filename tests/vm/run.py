"""Boots Debian in an emulated machine and runs what is said of an installed roost in it: `run.py FOLDER [--list] [WORDS…]`.

FOLDER is that of `image`. Prints `PASS sentence` or `FAIL sentence: why` for each and exits 1 when one failed or none ran.
WORDS select the cases whose sentence contains all of them.
"""

import contextlib
import importlib
import pathlib
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path += [str(HERE.parent / "tuning"), str(HERE.parent / "e2e")]

import harness  # noqa: E402  (the path above makes it importable)
from guest import Guest, Lost  # noqa: E402
from node import limit_seconds  # noqa: E402

# One machine from its boot to the last file that is taken away.
STORY = ["boot", "service", "wedged", "drain", "network", "activation", "tune", "uninstall"]


def load():
    """Imports the files of cases/, which fills the list."""
    for name in STORY:
        importlib.import_module(f"cases.{name}")
    return harness.CASES


def attempt(name, function, seconds):
    """Runs it, tells how it went, and returns what was wrong, if anything was."""
    start, fault = time.monotonic(), None
    try:
        limit_seconds(seconds, "the case")
        function()
    except (Exception, KeyboardInterrupt) as caught:
        fault = caught
    limit_seconds(0, "")
    if fault is None:
        print(f"PASS {name} ({time.monotonic() - start:.2f} s)", flush=True)
        return None
    lines = str(fault).splitlines() or [""]
    print(f"FAIL {name}: {type(fault).__name__} {lines[0]}", flush=True)
    for line in "".join(traceback.format_exception(fault)).splitlines():
        print(f"    {line}", flush=True)
    return fault


def main(folder, *arguments):
    words = [word for word in arguments if word != "--list"]
    chosen = [one for one in load() if all(word in one[0] for word in words)]
    if "--list" in arguments:
        print("\n".join(sentence for sentence, _, _ in chosen))
        return 0 if chosen else 1
    failed = 0
    with tempfile.TemporaryDirectory(prefix="roost-vm-") as scratch:
        tree = pathlib.Path(scratch) / "tree.tar"
        harness.pack(tree)
        guest = Guest(folder, tree, [harness.PORT, harness.PRIVILEGED_PORT])
        # Entered here, so that a boot that fails is told of like a case.
        if attempt("Debian boots in an emulated machine", guest.__enter__, 300):
            return 1
        with contextlib.closing(guest):
            world = harness.World(guest)
            for sentence, function, seconds in chosen:
                fault = attempt(sentence, lambda function=function: function(world), seconds)
                failed += fault is not None
                if isinstance(fault, (KeyboardInterrupt, Lost)):
                    break
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
