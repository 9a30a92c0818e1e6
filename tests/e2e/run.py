"""Runs the end-to-end scenarios, each against a node of its own: `run.py [--list] [WORDS…]`.

Prints `PASS sentence` or `FAIL sentence: why` for each and exits 1 when one failed or none ran.
WORDS select the scenarios whose sentence contains all of them.
"""

import importlib
import pathlib
import resource
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import harness  # noqa: E402  (the path above makes it importable)
import node  # noqa: E402


def load():
    """Imports every file of scenarios/, which fills the list."""
    for path in sorted((HERE / "scenarios").glob("*.py")):
        importlib.import_module(f"scenarios.{path.stem}")
    return harness.SCENARIOS


def play(function, options, config, confined):
    """One scenario from the start of its node to its clean end."""
    with tempfile.TemporaryDirectory() as folder:
        if config is not None:
            path = pathlib.Path(folder) / "roost.toml"
            path.write_text(config)
            options = ("--config", str(path), *options)
        world = harness.World(*options, confined=confined)
        try:
            function(world)
            world.end()
        except BaseException as fault:
            # Where the node is at fault, its log says more than the symptom.
            fault.add_note(f"the node's log ends with:\n{world.log_tail()}")
            raise
        finally:
            world.kill()


def tell(name, fault, seconds):
    """One line for a scenario, and the story of a failure below it."""
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
    failed = 0
    # Some scenarios have thousands of clients.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name, function, options, seconds, config, confined in chosen:
        if listing:
            print(name)
            continue
        start = time.monotonic()
        fault = None
        try:
            node.limit_seconds(seconds, "the scenario")
            play(function, options, config, confined)
        except (Exception, KeyboardInterrupt) as caught:
            fault = caught
        node.limit_seconds(0, "")
        failed += fault is not None
        tell(name, fault, time.monotonic() - start)
        if isinstance(fault, KeyboardInterrupt):
            break
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
