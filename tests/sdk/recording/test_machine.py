"""What /proc says, on this machine and on one that is written down here."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.sdk.recording import machine as module
from interlock.sdk.recording.gpu import Gpus
from interlock.sdk.recording.machine import Machine

BEFORE = {
    "stat": "cpu  100 0 100 800 0 0 0 0 50 0\ncpu0 1 2 3\n",
    "diskstats": "8 0 sda 1 0 1000 0 1 0 2000 0\n8 1 sda1 1 0 1000 0 1 0 2000 0\n7 0 loop0 1 0 9 0 1 0 9 0\n"
    "259 0 nvme0n1 1 0 0 0 1 0 0 0\n259 1 nvme0n1p1 1 0 500 0 1 0 500 0\n253 0 dm-0 1 0 77 0 1 0 77 0\n",
    "net/dev": "Inter-|\n face |bytes\n  lo: 5 0 0 0 0 0 0 0 5 0\neth0: 1000 0 0 0 0 0 0 0 100 0 0\n",
    "meminfo": "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n",
    "self/statm": "9 3 1 1 0 1 0\n",
}
AFTER = {
    "stat": "cpu  200 0 150 850 0 0 0 0 90 0\n",
    "diskstats": "8 0 sda 1 0 1010 0 1 0 2020 0 0 0 0\n8 1 sda1 1 0 1010 0 1 0 2020 0 0 0 0\n",
    "net/dev": "Inter-|\n face |bytes\n  lo: 9999 0 0 0 0 0 0 0 9999 0\neth0: 1600 0 0 0 0 0 0 0 200 0 0\n",
}


def lay(proc: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (proc / name).parent.mkdir(parents=True, exist_ok=True)
        (proc / name).write_text(text)


def test_rates_and_shares_are_what_the_numbers_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    lay(tmp_path, BEFORE)
    machine = Machine(tmp_path)
    lay(tmp_path, AFTER)
    now[0] += 2
    found = machine.sample()
    assert found["system/cpu_share"] == 150 / 200
    assert found["system/disk_read_bytes_per_s"] == 10 * 512 / 2
    assert found["system/disk_written_bytes_per_s"] == 20 * 512 / 2
    assert found["system/network_received_bytes_per_s"] == 300
    assert found["system/network_sent_bytes_per_s"] == 50
    assert found["system/memory_used_share"] == 0.75
    assert found["system/process_memory_bytes"] % 3 == 0


def test_a_machine_without_proc_tells_what_it_can(tmp_path: Path) -> None:
    found = Machine(tmp_path / "nothing").sample()
    assert "system/disk_used_share" in found
    assert "system/cpu_share" not in found


def test_this_machine_tells_sane_figures() -> None:
    machine = Machine()
    sum(range(100_000))
    found = machine.sample()
    machine.close()
    for name in ("system/cpu_share", "system/memory_used_share", "system/disk_used_share"):
        assert 0 <= found.get(name, 0.5) <= 1
    assert found.get("system/process_memory_bytes", 1e7) > 1e6


def test_gpus_are_asked_only_where_they_are() -> None:
    gpus = Gpus()
    assert len(gpus.names()) == len({name.split("_")[0] for name in gpus.sample()})
    gpus.close()
    assert gpus.sample() == {}


def test_a_run_samples_every_ten_seconds(workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    import interlock
    from interlock.sdk.recording import opening

    monkeypatch.setattr(opening, "SAMPLE_S", 0.05)
    with interlock.run("exp", console=False) as run:
        while run.flush() and "system/memory_used_share" not in workspace.track.run(run.id).metrics:
            pass
    assert {"system/disk_used_share", "system/process_cpu_cores"} <= workspace.track.run(run.id).metrics.keys()
