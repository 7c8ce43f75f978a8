from __future__ import annotations

import os
import struct
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.core.errors import Corrupt
from interlock.core.ids import new_id
from interlock.store import blocklog
from interlock.store.blocklog import HEAD, START, BlockReader, BlockWriter, remove_unnamed, settle

PAYLOADS = [b"first", b"second " * 9, b"3", b"the fourth"]


def write(folder, payloads=PAYLOADS, *, seal=True):
    """A log of a dead writer: its path and where its blocks end."""
    writer = BlockWriter(folder)
    ends = [START]
    for payload in payloads:
        writer.append(payload)
        ends.append(writer.size)
    if seal:
        writer.seal()
    else:
        writer.abandon()
    return writer.path, ends


def read(path):
    with BlockReader(path) as reader:
        return [block.payload for block in reader.blocks()]


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


def test_blocks_come_back_while_they_are_written(tmp_path):
    writer = BlockWriter(tmp_path)
    with BlockReader(writer.path) as reader:
        for count, payload in enumerate(PAYLOADS):
            writer.append(payload)
            blocks = list(reader.blocks())
            assert [block.payload for block in blocks] == PAYLOADS[: count + 1]
            assert blocks[-1].end == writer.size == reader.size
    writer.seal()
    assert read(writer.path) == PAYLOADS


def test_reading_goes_on_where_it_stopped(tmp_path):
    path, ends = write(tmp_path)
    with BlockReader(path) as reader:
        assert [block.payload for block in reader.blocks(ends[2], 2)] == PAYLOADS[2:]
        with pytest.raises(Corrupt, match="block 1 is missing"):
            list(reader.blocks(ends[2], 1))


def test_a_log_cut_anywhere_holds_the_whole_blocks_before_the_cut(tmp_path):
    path, ends = write(tmp_path, seal=False)
    data = path.read_bytes()
    for size in range(START, len(data) + 1):
        path.write_bytes(data[:size])
        whole = sum(end <= size for end in ends) - 1
        assert read(path) == PAYLOADS[:whole]
        assert settle(path)
        assert read(path) == PAYLOADS[:whole]
        assert path.stat().st_size == ends[whole] + HEAD


def test_a_changed_byte_before_the_last_block_is_never_taken_for_a_torn_end(tmp_path):
    path, ends = write(tmp_path, seal=False)
    for place in range(ends[-2]):
        flip(path, place)
        with pytest.raises(Corrupt) as caught:
            read(path)
        begin = max((end for end in ends if end <= place), default=0)
        assert (caught.value.facts["segment"], caught.value.facts["offset"]) == (path.name, begin)
        with pytest.raises(Corrupt):
            settle(path)
        flip(path, place)


def test_a_changed_byte_anywhere_in_a_sealed_log_is_noticed(tmp_path):
    path, ends = write(tmp_path)
    for place in range(ends[-1]):
        flip(path, place)
        with pytest.raises(Corrupt):
            read(path)
        flip(path, place)
    for place in range(ends[-1], ends[-1] + HEAD):  # the seal itself
        flip(path, place)
        assert read(path) == PAYLOADS
        flip(path, place)


def test_a_block_that_never_reached_the_disk_is_dropped(tmp_path):
    """Power loss: the size of the file is there, and any part of the last block's bytes."""
    path, ends = write(tmp_path, seal=False)
    data = path.read_bytes()
    for lost in range(ends[-2], len(data), 3):
        path.write_bytes(data[:lost] + bytes(len(data) - lost))
        assert read(path) == PAYLOADS[:-1]
        path.write_bytes(data[: ends[-2]] + bytes(lost - ends[-2]) + data[lost:])
        assert read(path) in (PAYLOADS[:-1], PAYLOADS)


def test_a_lost_block_in_the_middle_is_noticed(tmp_path):
    path, ends = write(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: ends[1]] + data[ends[2] :])
    with pytest.raises(Corrupt, match="block 1 is missing"):
        read(path)


def test_a_payload_cannot_pose_as_a_block(tmp_path):
    elsewhere, _ = write(tmp_path, [b"x"])
    path, ends = write(tmp_path, [b"true", elsewhere.read_bytes()[START:] * 3], seal=False)
    data = path.read_bytes()
    path.write_bytes(data[: ends[1]] + bytes(HEAD) + data[ends[1] + HEAD :])  # its own header never reached the disk
    assert read(path) == [b"true"]


def test_only_a_dead_writers_log_is_settled(tmp_path):
    writer = BlockWriter(tmp_path)
    writer.append(b"a")
    assert not settle(writer.path)
    writer.abandon()
    assert settle(writer.path)
    assert settle(writer.path)
    assert read(writer.path) == [b"a"]
    with BlockReader(writer.path) as reader:
        assert reader.sealed


def test_a_handle_that_a_forked_child_kept_does_not_keep_the_log_alive(tmp_path):
    writer = BlockWriter(tmp_path)
    writer.append(b"a")
    copy = os.dup(writer._handle)
    writer.seal()
    assert settle(writer.path)
    os.close(copy)


def test_a_log_without_blocks_leaves_no_file(tmp_path):
    BlockWriter(tmp_path).seal()
    assert list(tmp_path.iterdir()) == []


def test_letting_go_twice_closes_nobody_elses_file(tmp_path):
    writer = BlockWriter(tmp_path)
    writer.append(b"a")
    writer.seal()
    other = os.open(writer.path, os.O_RDONLY)
    writer.abandon()
    os.fstat(other)
    os.close(other)


def test_files_that_never_got_their_name_are_removed_unless_somebody_makes_them(tmp_path):
    (tmp_path / "01.log.new").write_bytes(b"begun")
    living = tmp_path / "02.log.new"
    with living.open("wb") as file:
        blocklog.fcntl.flock(file, blocklog.fcntl.LOCK_EX)
        remove_unnamed(tmp_path)
        assert list(tmp_path.iterdir()) == [living]


def test_a_new_log_that_was_taken_for_a_dead_one_is_begun_again(tmp_path, monkeypatch):
    """Between making and locking a file, somebody else may remove it."""
    lock, removed = blocklog.fcntl.flock, []

    def sweep_first(handle, how):
        if not removed:
            removed.append(handle)
            remove_unnamed(tmp_path)
        lock(handle, how)

    monkeypatch.setattr(blocklog.fcntl, "flock", sweep_first)
    path, _ = write(tmp_path)
    assert removed
    assert read(path) == PAYLOADS
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        BlockWriter(tmp_path / "missing")


def test_a_log_of_another_format_is_refused(tmp_path):
    path = tmp_path / "x.log"
    head = blocklog._FILE.pack(b"ILOG", 3, b"saltsalt")
    path.write_bytes(head + blocklog._CRC.pack(blocklog.zlib.crc32(head)))
    with pytest.raises(Corrupt, match="format 3"):
        BlockReader(path)


def old_log(folder, payloads):
    """A log as version 1 had it, not sealed."""
    salt = bytes(range(8))
    head = struct.pack("<4sI8s", b"ILOG", 1, salt)
    data = head + struct.pack("<I", zlib.crc32(head))
    for number, payload in enumerate(payloads):
        head = struct.pack("<4sIII", b"IBLK", number, len(payload), zlib.crc32(payload))
        data += head + struct.pack("<I", zlib.crc32(head, zlib.crc32(salt))) + payload
    path = folder / (new_id() + ".log")
    path.write_bytes(data)
    return path


def test_logs_of_the_format_before_are_read_and_settled(tmp_path):
    path = old_log(tmp_path, PAYLOADS)
    assert read(path) == PAYLOADS
    path.write_bytes(path.read_bytes()[:-3])
    assert settle(path)
    assert read(path) == PAYLOADS[:-1]
    with BlockReader(path) as reader:
        assert reader.sealed
    flip(path, START + 22)
    with pytest.raises(Corrupt, match="checksum"):
        read(path)


def test_blocks_that_nobody_synced_may_be_lost_and_those_that_somebody_did_may_not(tmp_path):
    writer = BlockWriter(tmp_path)
    ends = [START]
    for payload in PAYLOADS[:2]:
        writer.write(payload)
        ends.append(writer.size)
    writer.sync()
    for payload in PAYLOADS[2:] * 2:
        writer.write(payload)
        ends.append(writer.size)
    writer.abandon()
    assert read(writer.path) == [*PAYLOADS[:2], *PAYLOADS[2:] * 2]
    whole = writer.path.read_bytes()
    for block in range(6):
        writer.path.write_bytes(whole[: ends[block]] + bytes(ends[block + 1] - ends[block]) + whole[ends[block + 1] :])
        if block < 2:
            with pytest.raises(Corrupt):
                read(writer.path)
        else:  # a power loss may take any of them, whatever came after
            assert read(writer.path) == [*PAYLOADS[:2], *PAYLOADS[2:] * 2][:block]
            assert settle(writer.path)
            with BlockReader(writer.path) as reader:
                assert reader.sealed


SECTOR = 512


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_power_loss_takes_what_was_not_synced_at_most_and_nothing_else_goes_unsaid(tmp_path, data):
    """Any part of what was written since the last sync may be on disk, sector by sector, whatever the file's size."""
    steps = data.draw(st.lists(st.none() | st.binary(min_size=1, max_size=1500), min_size=1, max_size=12))
    writer = BlockWriter(tmp_path)
    payloads, ends, synced = [], [START], 0
    for step in steps:
        if step is None:
            writer.sync()
            synced = len(payloads)
        else:
            writer.write(step)
            payloads.append(step)
            ends.append(writer.size)
    writer.abandon()
    path, whole = writer.path, writer.path.read_bytes()
    safe = ends[synced]
    size = data.draw(st.integers(safe, len(whole)))
    lost = bytearray(whole[:size])
    for sector in range(safe // SECTOR, -(-size // SECTOR)):
        if data.draw(st.booleans()):
            begin, end = max(safe, sector * SECTOR), min(size, (sector + 1) * SECTOR)
            lost[begin:end] = bytes(end - begin)
    path.write_bytes(lost)
    found = read(path)
    assert found == payloads[: len(found)]
    assert len(found) >= synced
    assert settle(path)
    assert read(path) == found
    with BlockReader(path) as reader:
        assert reader.sealed


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=200), st.booleans()), min_size=2, max_size=8), st.data())
def test_damage_to_what_a_later_block_calls_synced_is_never_taken_for_a_power_loss(tmp_path, written, data):
    writer = BlockWriter(tmp_path)
    ends, synced = [START], []
    for payload, sync in written:
        writer.write(payload)
        ends.append(writer.size)
        if sync:
            writer.sync()
        synced.append(writer._synced)
    writer.abandon()
    path, payloads = writer.path, [payload for payload, _ in written]
    place = data.draw(st.integers(START, len(path.read_bytes()) - 1))
    damaged = sum(end <= place for end in ends) - 1
    flip(path, place)
    # Blocks that were written after a sync say so: `synced` as it was before each.
    told = any(known > damaged for known in synced[damaged:-1])
    if told:
        with pytest.raises(Corrupt):
            read(path)
    else:
        assert read(path) == payloads[:damaged]
