"""A fake host: a folder with the files of /proc, /sys and /etc that tune and roost doctor look at, as Debian 12 has them
after a boot.

Must never know what they want.
"""

import shutil

# Values of Linux 6.1 that do not depend on the host.
SYSCTLS = {
    "fs/nr_open": "1048576",
    "net/core/somaxconn": "4096",
    "net/core/netdev_max_backlog": "1000",
    "net/core/rmem_max": "212992",
    "net/core/wmem_max": "212992",
    "net/ipv4/tcp_max_syn_backlog": "4096",
    "net/ipv4/tcp_migrate_req": "0",
    "net/ipv4/tcp_syncookies": "1",
    "net/ipv4/tcp_abort_on_overflow": "0",
    "net/ipv4/tcp_rmem": "4096\t131072\t6291456",
    "net/ipv4/tcp_wmem": "4096\t16384\t4194304",
    "net/ipv4/tcp_max_orphans": "131072",
    "net/ipv4/tcp_max_tw_buckets": "131072",
    "net/ipv4/tcp_fin_timeout": "60",
    "net/ipv4/tcp_tw_reuse": "2",
    "net/ipv4/tcp_slow_start_after_idle": "1",
    "net/ipv4/tcp_keepalive_time": "7200",
    "net/ipv4/tcp_keepalive_intvl": "75",
    "net/ipv4/tcp_keepalive_probes": "9",
    "net/ipv4/tcp_notsent_lowat": "4294967295",
    "net/ipv4/tcp_ehash_entries": "262144",
    "net/ipv4/ip_local_port_range": "32768\t60999",
    "net/netfilter/nf_conntrack_max": "262144",
    "net/netfilter/nf_conntrack_buckets": "262144",
    "net/netfilter/nf_conntrack_count": "12",
    "vm/overcommit_memory": "0",
    "vm/max_map_count": "65530",
    "kernel/threads-max": "127000",
    "kernel/pid_max": "4194304",
}
# Of a process that a shell has started.
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max processes             63500                63500                processes
Max open files            1024                 1048576              files
Max address space         unlimited            unlimited            bytes
"""
STATUS = "Name:\tcat\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\nSeccomp:\t0\n"
# What only the first network namespace has.
HOST_NETWORK = ["net/core/netdev_max_backlog", "net/ipv4/tcp_mem", "net/ipv4/tcp_max_orphans"]
SOFTNET = "{:08x} {:08x} 00000000 00000000 00000000 00000000\n"


class FakeRoot:
    """`path` is the folder. `ram_mib` of memory, pages of `page_kib`, `cores`, and a card with `queues` to receive."""

    def __init__(self, path, ram_mib=16384, page_kib=4, cores=4, queues=1, interrupts=0):
        self.path = path
        pages = ram_mib * 1024 // page_kib
        self.write("proc/meminfo", f"MemTotal:       {ram_mib * 1024} kB\nMemFree:        1024 kB\nSwapTotal:      0 kB\n")
        self.write("proc/self/smaps", f"5580-5581 r--p 00000000 fe:00 1 /bin/cat\nSize:   8 kB\nKernelPageSize:   {page_kib} kB\n")
        self.write("proc/self/limits", LIMITS)
        self.write("proc/self/status", STATUS)
        self.write("proc/self/cgroup", "0::/user.slice/user-1000.slice/session-1.scope\n")
        self.write("sys/fs/cgroup/user.slice/pids.max", "max\n")
        self.write("sys/fs/cgroup/user.slice/user-1000.slice/pids.max", "41910\n")
        self.write("sys/fs/cgroup/user.slice/user-1000.slice/pids.current", "7\n")
        self.write("sys/fs/cgroup/user.slice/user-1000.slice/memory.max", "max\n")
        self.write("proc/self/net/sockstat", "sockets: used 150\nTCP: inuse 5 orphan 0 tw 0 alloc 7 mem 1\n")
        self.write("proc/loadavg", "0.00 0.01 0.05 1/140 612\n")
        self.write("proc/net/softnet_stat", "".join(SOFTNET.format(100, 0) for _ in range(cores)))
        self.write("sys/devices/system/cpu/online", f"0-{cores - 1}\n" if cores > 1 else "0\n")
        self.write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
        # A sixteenth of the memory, in the proportions of tcp_init_mem(), and the kernel's own share of files.
        limit = pages // 16
        computed = {
            "net/ipv4/tcp_mem": f"{limit * 3 // 4}\t{limit}\t{limit * 3 // 2}",
            "fs/file-max": str(ram_mib * 1024 // 10),
            "fs/file-nr": f"1184\t0\t{ram_mib * 1024 // 10}",
            "vm/min_free_kbytes": "67584",
        }
        for key, value in {**SYSCTLS, **computed}.items():
            self.set(key, value)
        self.card("eth0", queues, cores, interrupts)
        (path / "sys/class/net/lo").mkdir(parents=True)
        for folder in ("etc/sysctl.d", "etc/systemd/system", "etc/modprobe.d", "usr/lib/sysctl.d"):
            (path / folder).mkdir(parents=True)
        self.write("usr/lib/sysctl.d/50-default.conf", "kernel.core_uses_pid = 1\n")

    def card(self, name, queues, cores, interrupts):
        """A network card, as virtio has it: a device on a device of PCI, which has the interrupts."""
        (self.path / f"sys/devices/pci-{name}/virtio").mkdir(parents=True)
        (self.path / f"sys/class/net/{name}").mkdir(parents=True)
        (self.path / f"sys/class/net/{name}/device").symlink_to(f"../../../devices/pci-{name}/virtio")
        for queue in range(queues):
            self.write(f"sys/class/net/{name}/queues/rx-{queue}/rps_cpus", "0\n")
        for number in range(30, 30 + interrupts):
            self.write(f"sys/devices/pci-{name}/msi_irqs/{number}", "msix\n")
            self.write(f"proc/irq/{number}/smp_affinity_list", f"0-{cores - 1}\n")

    def write(self, name, text):
        """Writes a file, with the folders above it."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name):
        """The text of a file."""
        return (self.path / name).read_text()

    def set(self, key, value):
        """Sets a sysctl, `net/core/somaxconn`."""
        self.write(f"proc/sys/{key}", f"{value}\n")

    def sysctl(self, key):
        """A sysctl's value, with its tabs."""
        return self.read(f"proc/sys/{key}").removesuffix("\n")

    def remove(self, name):
        """Takes a file or folder away."""
        path = self.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def in_own_namespace(self):
        """Makes it what a container sees."""
        for key in HOST_NETWORK:
            self.remove(f"proc/sys/{key}")
        self.set("net/ipv4/tcp_ehash_entries", "-262144")
