"""What the pages of tuning/ say, against what tune does."""

import re

from harness import ROOT, tune_case

TUNING = ROOT / "tuning"


def row_of(page, first):
    return next(line for line in page.splitlines() if line.startswith(f"| {first} |"))


@tune_case("the page of limits names every key that apply writes, and the file that it stands in", queues=1)
def limits(tune):
    page = (TUNING / "README.md").read_text()
    tune.host.write("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n")
    tune.host.write("proc/net/softnet_stat", "00000010 00000001 00000000\n")
    for options in (["--spread"], ["--role", "proxy"]):
        tune("apply", *options)
        for path in sorted((tune.host.path / "etc").rglob("*roost*")) + [tune.host.path / "etc/systemd/system/roost.service.d/20-capacity.conf"]:
            if not path.is_file():
                continue
            name = str(path.relative_to(tune.host.path / "etc"))
            assert f"`{name}`" in page, name
            for key in re.findall(r"^-?(net\.\S+|fs\.\S+|vm\.\S+) = ", path.read_text(), re.MULTILINE):
                # What only a balancer's host is given is told by tune check alone.
                assert f"`{key}`" in page or "keepalive" in key or "lowat" in key, key
        tune("revert")


@tune_case("the sizes on the page are those that tune works with")
def sizes(tune):
    page = (TUNING / "README.md").read_text()
    for count in (100_000, 1_000_000):
        # What tune asks for is what roost plan asks for, to the digit that the page tells (tests/plan.rs).
        idle = int(tune("check", "--connections", str(count), code=1).rows["memory, KiB"].wanted.removeprefix(">=")) * 1024
        assert row_of(page, f"{count:,}").split("|")[3] == f" {idle / 1e9:.1f} GB ", idle
    capacity = (TUNING / "systemd" / "capacity.conf").read_text()
    tune("apply")
    limit = re.search(r"^LimitNOFILE=.*$", tune.host.read("etc/systemd/system/roost.service.d/20-capacity.conf"), re.MULTILINE)[0]
    assert f"\n{limit}\n" in capacity, limit
    # Rounded up to the next GiB.
    assert "\nMemoryMax=10G\n" in capacity and 9 * 2**30 < (4200 + 4096) * 1_000_000 * 1.25 <= 10 * 2**30
