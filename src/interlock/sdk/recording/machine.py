"""What the machine does while a run goes on: processor, memory, disk and network, read from /proc; GPUs from NVML.

Source of the formats: the manual page proc(5). Where there is no /proc, what it would say is left out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Final

from interlock.sdk.recording.gpu import Gpus

_SECTOR: Final = 512  # what /proc/diskstats counts in, whatever the disk's own sectors are
_CPU_FIELDS: Final = 8  # user nice system idle iowait irq softirq steal; guest times are in user already
_IDLE: Final = (3, 4)


class Machine:
    """Takes samples; rates are those since the sample before.

    Args:
        proc: where the system tells of itself.
    """

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._gpus = Gpus()
        self._before = self._counters()

    def sample(self) -> dict[str, float]:
        """Return what the machine does, by metric: shares are 0-1, sizes bytes, rates a second.

        Cost: about a millisecond, and some more a GPU.
        """
        before, self._before = self._before, self._counters()
        now = self._before
        found = self._memory() | self._gpus.sample()
        passed = now["at"] - before["at"]
        if passed <= 0:
            return found
        busy, total = (now.get(name, 0.0) - before.get(name, 0.0) for name in ("cpu_busy", "cpu_total"))
        if total > 0:
            found["system/cpu_share"] = min(1.0, max(0.0, busy / total))
        found["system/process_cpu_cores"] = (now["process"] - before["process"]) / passed
        for name in ("disk_read_bytes", "disk_written_bytes", "network_received_bytes", "network_sent_bytes"):
            if name in now and name in before:
                found[f"system/{name}_per_s"] = max(0.0, now[name] - before[name]) / passed
        return found

    def close(self) -> None:
        """Let go of the GPUs' driver."""
        self._gpus.close()

    def _counters(self) -> dict[str, float]:
        found = {"at": time.monotonic(), "process": sum(os.times()[:4])}
        for read in (self._cpu, self._disk, self._network):
            with contextlib.suppress(OSError, ValueError, IndexError):
                found |= read()
        return found

    def _cpu(self) -> dict[str, float]:
        fields = [float(word) for word in self._lines("stat")[0].split()[1 : _CPU_FIELDS + 1]]
        idle = sum(fields[place] for place in _IDLE)
        return {"cpu_busy": sum(fields) - idle, "cpu_total": sum(fields)}

    def _disk(self) -> dict[str, float]:
        """Return the bytes of whole disks: partitions and stacked devices would count twice."""
        read = written = 0.0
        for line in self._lines("diskstats"):
            words = line.split()
            if not words[2].startswith(("loop", "ram", "dm-", "md", "zram")) and not _is_partition(words[2]):
                read += float(words[5]) * _SECTOR
                written += float(words[9]) * _SECTOR
        return {"disk_read_bytes": read, "disk_written_bytes": written}

    def _network(self) -> dict[str, float]:
        received = sent = 0.0
        for line in self._lines("net/dev")[2:]:
            name, _, rest = line.partition(":")
            words = rest.split()
            if name.strip() != "lo":
                received += float(words[0])
                sent += float(words[8])
        return {"network_received_bytes": received, "network_sent_bytes": sent}

    def _memory(self) -> dict[str, float]:
        found: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError, KeyError):
            sizes = {line.split(":")[0]: float(line.split()[1]) * 1024 for line in self._lines("meminfo")}
            found["system/memory_used_share"] = 1 - sizes["MemAvailable"] / sizes["MemTotal"]
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = float(self._lines("self/statm")[0].split()[1])
            found["system/process_memory_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
        with contextlib.suppress(OSError):
            disk = shutil.disk_usage(Path.cwd())
            found["system/disk_used_share"] = disk.used / disk.total if disk.total else 0.0
        return found

    def _lines(self, name: str) -> list[str]:
        return (self._proc / name).read_text("utf-8").splitlines()


def _is_partition(name: str) -> bool:
    """Return whether a block device is part of another one: sda1, nvme0n1p2, mmcblk0p1."""
    if name.startswith(("nvme", "mmcblk")):
        return "p" in name.removeprefix("mmcblk").removeprefix("nvme")
    return name.startswith(("sd", "hd", "vd", "xvd")) and name[-1].isdigit()
