"""Runs nodes that share channels through a Redis, and faults of both: `run.py [--list] [--seed TEXT] [--minutes N] [WORDS…]`.

Prints `PASS sentence` or `FAIL sentence: why` for each and exits 1 when one failed or none ran.
WORDS select the cases whose sentence contains all of them. Chance goes by `--seed`; a failure prints it.
`--minutes` is for the case called chaos: how long it goes on.
"""

import argparse
import importlib
import pathlib
import resource
import signal
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.append(str(HERE.parent / "e2e"))

import harness  # noqa: E402  (the path above makes it importable)

# The checker first: what it says of the rest counts only if it finds faults. What takes longest last.
STORY = ["ledger", "one_node", "delivery", "counts", "node_fails", "redis_fails", "ways", "chaos"]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="names the cases")
    parser.add_argument("--seed", default="1", metavar="TEXT", help="what chance goes by (default: 1)")
    parser.add_argument("--minutes", type=float, metavar="N", help="length of chaos (default: most of one)")
    parser.add_argument("words", nargs="*", metavar="WORDS", help="the cases whose sentence contains all of them")
    return parser.parse_args()


def load():
    """Imports the files of cases/, which fills the list."""
    for name in STORY:
        importlib.import_module(f"cases.{name}")
    return harness.CASES


def tell(name, fault, seconds, seed):
    """One line for a case, and the story of a failure below it."""
    if fault is None:
        print(f"PASS {name} ({seconds:.2f} s)", flush=True)
        return
    lines = str(fault).splitlines() or [""]
    print(f"FAIL {name}: {type(fault).__name__} {lines[0]}", flush=True)
    print(f"    again with --seed {seed}")
    for line in "".join(traceback.format_exception(fault)).splitlines():
        print(f"    {line}", flush=True)


def main():
    chosen = options()
    cases = [one for one in load() if all(word in one[0] for word in chosen.words)]
    if chosen.list:
        print("\n".join(sentence for sentence, *_ in cases))
        return 0 if cases else 1
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # So that what was started is ended also then: a Redis that is paused would stay.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = 0
    for sentence, function, seconds, world in cases:
        start, fault = time.monotonic(), None
        try:
            harness.play(function, seconds, world, f"{chosen.seed}/{sentence}", chosen.minutes)
        except (Exception, KeyboardInterrupt) as caught:
            fault = caught
        failed += fault is not None
        tell(sentence, fault, time.monotonic() - start, chosen.seed)
        if isinstance(fault, KeyboardInterrupt):
            break
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
