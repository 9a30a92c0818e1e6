"""Judges a node's /echo by the Autobahn Testsuite: `run.py WSTEST REPORT_FOLDER [--against URL]`.

Prints `PASS case` or `FAIL case: why` for every case in expected.json and exits 1 when one is worse than expected, missing,
or not listed. `--against` judges another server instead of starting a node. The report's index.html shows each exchange.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from node import Node, limit_seconds  # noqa: E402  (the path above makes it importable)

# 12 and 13 are about permessage-deflate, which roost does not speak.
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
# Cases of 9 send up to 16 MiB and want them back.
OPTIONS = ["--echo", "--max-message", "64MiB", "--queue-soft", "128MiB", "--queue-hard", "128MiB"]
LIMIT_SECONDS = 480
# From best to worst. INFORMATIONAL is no judgement: it is expected where a case has none, and a fault anywhere else.
BEHAVIORS = ["OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "UNCLEAN", "WRONG CODE", "FAILED"]


def measure(wstest, url, folder):
    """Lets the suite loose on `url` and returns its verdicts by case."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.json"
    index.unlink(missing_ok=True)
    spec = folder / "spec.json"
    server = {"agent": "roost", "url": url}
    spec.write_text(json.dumps({"outdir": str(folder), "servers": [server], "cases": CASES, "exclude-cases": [], "exclude-agent-cases": {}}))
    with open(folder / "wstest.log", "wb") as log:
        tester = subprocess.Popen([wstest, "-m", "fuzzingclient", "-s", spec], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            tester.wait()
        finally:
            tester.kill()
            tester.wait()
    if not index.exists():
        raise SystemExit(f"the suite wrote no report:\n{(folder / 'wstest.log').read_text(errors='replace')[-2000:]}")
    (verdicts,) = json.loads(index.read_text()).values()
    return {case: (verdict["behavior"], verdict["behaviorClose"]) for case, verdict in verdicts.items()}


def fault(expected, got):
    """Why a verdict is worse than the expected one; None where it is not."""
    if got is None:
        return "did not run"
    for what, name, want in zip(("behaviour", "close"), got, expected):
        known = name in BEHAVIORS
        if not known or BEHAVIORS.index(name) > BEHAVIORS.index(want):
            return f"{what} is {name}, expected {want}"
    return None


def compare(expected, verdicts):
    """Prints a line for each case and returns how many are at fault."""
    failed = 0
    by_number = lambda case: [int(part) for part in re.findall(r"\d+", case)]
    for case in sorted(expected.keys() | verdicts.keys(), key=by_number):
        why = fault(expected[case], verdicts.get(case)) if case in expected else "is not in expected.json"
        failed += why is not None
        print(f"PASS {case}" if why is None else f"FAIL {case}: {why}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wstest")
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--against", metavar="URL")
    arguments = parser.parse_args()
    expected = json.loads((HERE / "expected.json").read_text())
    limit_seconds(LIMIT_SECONDS, "the suite")
    folder = arguments.report.resolve()
    if arguments.against:
        return 1 if compare(expected, measure(arguments.wstest, arguments.against, folder)) else 0
    node = Node(*OPTIONS)
    try:
        failed = compare(expected, measure(arguments.wstest, f"ws://{node.public}/echo", folder))
        node.end()
    finally:
        node.kill()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
