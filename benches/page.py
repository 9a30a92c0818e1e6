"""What scripts make of the reports of `roost bench`: pages of results/, of which a script writes what stands between two marks and
the rest is written by hand, and verdicts."""

import datetime
import os
import pathlib
import shlex
import subprocess
import sys

from servers import FD_LIMIT, ROOT


def write(path, script, new):
    """Puts `new` between the marks of `script` in a page, or makes a page of it."""
    begin, end = f"<!-- {script} writes from here -->", "<!-- to here -->"
    old = path.read_text() if path.exists() else f"{begin}\n{end}\n"
    before, rest = old.split(begin)
    path.write_text(f"{before}{begin}\n{new}\n{end}{rest.split(end, 1)[1]}")


def table(head, rows):
    def line(cells):
        return f"| {' | '.join(cells)} |"

    return "\n".join(map(line, [head, ["---"] * len(head), *rows]))


def verdicts(what, report):
    """Prints a line for each bound and each complaint, and returns whether all is well."""
    for bound in report["budget"]:
        found = "nothing" if bound["value"] is None else f"{bound['value']:,.1f}"
        print(f"{'PASS' if bound['pass'] else 'FAIL'} {what}: {bound['key']} {bound['limit']:g}, found {found}")
    for complaint in report["complaints"]:
        print(f"FAIL {what}: expected {complaint['expected']}, came {complaint['came']}")
    return report["pass"]


def provenance(script):
    """When, of what, how and where."""
    return f"{datetime.date.today()}, commit {commit()}, `{shlex.join([script, *sys.argv[1:]])}`. {host()}"


def commit():
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--", ".", ":!benches/results")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


def host():
    def field(path, name):
        lines = pathlib.Path(path).read_text().splitlines()
        return next((line.split(":")[1].strip() for line in lines if line.startswith(name)), "an unknown processor")

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"Host: {os.cpu_count()} cores of {field('/proc/cpuinfo', 'model name')}, {memory:.0f} GiB, Linux "
            f"{os.uname().release}, {FD_LIMIT:,} descriptors a table at most, loopback, the load generator on the same cores.")
