"""What cases are made of: the list they enter, tune under each shell, and trees that are compared to the byte.

Must never know a case.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from fake_root import FakeRoot

ROOT = pathlib.Path(__file__).resolve().parents[2]
TUNE = ROOT / "tuning" / "tune"
# Debian's own sh, and the one that most people type into.
SHELLS = ["dash", "bash"]
CASES = []


def case(sentence, seconds=30):
    """Enters a function that takes nothing into the list."""

    def enter(function):
        CASES.append((sentence, function, seconds))
        return function

    return enter


def tune_case(sentence, seconds=60, **host):
    """Enters a function that takes a Tune: once for each shell, each time with a fresh fake host; `host` is FakeRoot's."""

    def enter(function):
        for shell in SHELLS:
            CASES.append((f"{sentence} [{shell}]", lambda shell=shell: _with_tune(function, shell, host), seconds))
        return function

    return enter


def _with_tune(function, shell, host):
    with tempfile.TemporaryDirectory(prefix="roost-tuning-") as folder:
        function(Tune(shell, FakeRoot(pathlib.Path(folder) / "host", **host)))


class Tune:
    """tuning/tune on a fake host."""

    def __init__(self, shell, host):
        self.shell = shell
        self.host = host

    def __call__(self, *arguments, code=0, path=None, **options):
        """Runs it, demands the exit code, and returns the Answer. `path` is a folder whose programs come first."""
        environment = {**os.environ, **({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})}
        command = [self.shell, str(TUNE), *arguments, "--root", str(self.host.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, stdin=subprocess.DEVNULL, **options)
        assert done.returncode == code, f"{arguments}: exit code {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
        return Answer(done.stdout, done.stderr)

    def refuses(self, *arguments, **options):
        """Demands exit code 2, words about it, and that nothing has changed; returns the words."""
        before = snapshot(self.host.path)
        answer = self(*arguments, code=2, **options)
        changed = differences(before, snapshot(self.host.path))
        assert not changed, f"{arguments} changed {changed}"
        assert answer.complaint.startswith("tune: "), answer.complaint
        return answer.complaint


class Answer:
    """What tune said: `text`, `complaint` and, of check, `rows`, by key."""

    def __init__(self, text, complaint):
        self.text = text
        self.complaint = complaint

    @property
    def rows(self):
        head, *lines = self.text.splitlines()
        edges = [head.index(word) for word in ("KEY", "NOW", "WANTED", "LIFTS", "WHY")]
        rows = {}
        for line in lines:
            # A long cell moves those behind it.
            if line[:1] != " " and line.split(" ")[0] in ("ok", "low", "note", "host", "bad"):
                state, rest = line[: edges[0]].strip(), line[edges[0] :]
                cells = [cell.strip() for cell in _cells(rest, [edge - edges[0] for edge in edges])]
                rows[cells[0]] = Row(state, *cells[1:])
        return rows


def _cells(line, edges):
    cells, at = [], 0
    for left, right in zip(edges, edges[1:]):
        width = right - left - 1
        end = at + width
        if len(line) > end and line[end] != " ":
            end = line.index(" ", end)
        cells.append(line[at:end])
        at = end + 1
    return [*cells, line[at:]]


class Row:
    """A row of the table that check prints."""

    def __init__(self, state, now, wanted, lifts, why):
        self.state, self.now, self.wanted, self.lifts, self.why = state, now, wanted, lifts, why

    def __repr__(self):
        return f"{self.state} {self.now} {self.wanted} {self.lifts} {self.why}"


def snapshot(folder):
    """Every path below a folder, with its kind, mode, text, and the moment of its last change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            text = os.readlink(path)
        else:
            text = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (status.st_mode, text, status.st_mtime_ns if path.is_file() else None)
    return found


def differences(before, after, times=True):
    """The paths that are not the same; without `times`, a file that was written as it was is the same."""
    def kept(one):
        return one if times or one is None else one[:2]

    return sorted(path for path in before.keys() | after.keys() if kept(before.get(path)) != kept(after.get(path)))


@contextlib.contextmanager
def programs(**scripts):
    """A folder with shell scripts by these names, for Tune's `path`."""
    with tempfile.TemporaryDirectory(prefix="roost-tuning-") as folder:
        for name, script in scripts.items():
            path = pathlib.Path(folder) / name
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        yield folder


def real(program):
    """The path of a program that a script of `programs` hides."""
    return shutil.which(program)
