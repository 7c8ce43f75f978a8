"""What is printed goes to the terminal as it would have, and to the log line by line."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from interlock.sdk.recording import console
from interlock.sdk.recording.console import Lines, stamped


def texts(log: str) -> list[str]:
    return [line.partition("| ")[2] for line in log.splitlines()]


@given(st.text(st.characters(exclude_characters="\r\x1b\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=60), st.data())
def test_lines_are_whole_however_they_come(text: str, data) -> None:
    lines, log, rest = Lines(), "", text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        log += lines.feed("out", rest[:size])
        rest = rest[size:]
    log += lines.close()
    whole = text.split("\n")
    whole = whole[:-1] if whole[-1] == "" else whole
    assert [line.partition("| ")[2] for line in log.split("\n")[:-1]] == [
        line.encode("utf-8", "backslashreplace").decode() for line in whole
    ]


def test_streams_do_not_mix_and_lines_say_when_and_where() -> None:
    lines = Lines()
    assert lines.feed("out", "a") == ""
    assert lines.feed("err", "b\n", 1_700_000_000_123_000_000) == "2023-11-14T22:13:20.123Z err| b\n"
    assert texts(lines.feed("out", "c\n")) == ["ac"]


def test_of_a_progress_bar_the_last_state_is_kept() -> None:
    lines = Lines()
    log = ""
    for percent in range(0, 101, 10):
        log += lines.feed("err", f"\r{percent}%")
    assert log == ""
    assert texts(lines.feed("err", "\n")) == ["100%"]
    assert texts(lines.feed("out", "dos\r\n")) == ["dos"]


def test_a_line_without_end_is_cut_somewhere() -> None:
    lines = Lines()
    log = "".join(lines.feed("out", "x" * 50_000) for _ in range(3))
    assert len(log) > 50_000
    assert sum(map(len, texts(log + lines.close()))) == 150_000


def test_the_tee_passes_on_everything(capfd) -> None:
    heard: list[tuple[str, str]] = []
    before = sys.stdout
    console.listen(lambda stream, text, at_ns: heard.append((stream, text)))
    try:
        assert sys.stdout.isatty() == before.isatty()
        assert sys.stdout.encoding == before.encoding
        assert sys.stdout.fileno() == before.fileno()
        print("one", end="")
        sys.stdout.writelines(["two\n"])
        sys.stdout.buffer.write("dréi\n".encode())
        print("four", file=sys.stderr)
        sys.stdout.flush()
    finally:
        console.stop_listening()
    assert sys.stdout is before
    out, err = capfd.readouterr()
    assert sorted(out.split()) == ["dréi", "onetwo"]
    assert err == "four\n"
    assert "".join(text for stream, text in heard if stream == "out").replace("\n", " ") == "onetwo dréi "
    assert ("err", "four") in heard


def test_a_sink_that_fails_or_prints_harms_nobody(capfd) -> None:
    def sink(stream: str, text: str, at_ns: int) -> None:
        print("from the sink")
        raise RuntimeError(stream + text)

    console.listen(sink)
    try:
        print("fine")
    finally:
        console.stop_listening()
    assert capfd.readouterr().out.startswith("fine")


def test_listeners_may_overlap(capfd) -> None:
    before = sys.stdout
    console.listen(lambda *_: None)
    console.listen(lambda *_: None)
    console.stop_listening()
    assert sys.stdout is not before
    console.stop_listening()
    assert sys.stdout is before


def test_half_letters_are_escaped() -> None:
    assert stamped("out", "\udc80", 1).endswith("out| \\udc80\n")


def test_colours_are_left_out_so_that_texts_are_found() -> None:
    for line in (
        "\x1b[1;31mloss\x1b[0m 0.3",
        "\x1b]0;title\x07loss 0.3",
        "\x1b]8;;http://x\x1b\\loss\x1b[K 0.3",
        "\x1bMloss 0.3",
    ):
        assert texts(stamped("out", line)) == ["loss 0.3"]
