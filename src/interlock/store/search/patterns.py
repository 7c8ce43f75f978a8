r"""Regular expressions that cannot be slow: RLIKE for SQLite, which has none of its own.

Python's `re` can take exponential time for a pattern that a stranger chose. This one reads each character of the text
once, whatever the pattern: it follows all ways through at the same time, and remembers where each step led.

Patterns are a common subset of what Python and PostgreSQL know: characters, `.`, `[a-z]`, `[^a-z]`, `\d \w \s` and
their opposites, `^ $`, groups, `|`, `* + ? {2} {2,} {2,5}`, and `(?i)` in front. A pattern is found anywhere in the
text; `.` is any character but a newline, `^` and `$` are the ends of the text.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from interlock.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    Test = Callable[[str], bool]
    State = tuple[frozenset[int], bool]

LENGTH_LIMIT: Final = 1_000
STATE_LIMIT: Final = 1_000
DEPTH_LIMIT: Final = 50
_REMEMBERED: Final = 20_000
_ENDS: Final = {"^": "begin", "$": "end"}
_PLAIN: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}


def regexp(pattern: str, value: str | None) -> bool | None:
    """Return whether a pattern is found in a text; None for None. SQLite calls this for `value REGEXP pattern`.

    Raises:
        Invalid: it is no pattern, or too large.

    Cost:
        Linear in the text, times the pattern in the worst case.
    """
    return None if value is None else compiled(pattern).found(value)


@functools.lru_cache(maxsize=32)
def compiled(pattern: str) -> Pattern:
    """Return a pattern ready for use.

    Raises:
        Invalid: it is no pattern, or too large; the fact `offset` counts characters from 0.
    """
    return Pattern(pattern)


class Pattern:
    """A pattern as a machine: numbered states with edges.

    Args:
        text: the pattern.
    """

    def __init__(self, text: str) -> None:
        self.tests: list[Test | None] = []
        self.nexts: list[list[int]] = []
        self.ends: dict[int, str] = {}
        self.final = -1
        begin, self.final = _Reader(text, self).all()
        self.begin = frozenset({begin})
        self.inner = self.closed(self.begin, "")
        self.start = self.closed(self.begin, "begin")
        self.remembered: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def state(self, *nexts: int, test: Test | None = None, end: str = "") -> int:
        """Return a new state, from which a test or a place leads to the next ones."""
        if len(self.tests) >= STATE_LIMIT:
            raise Invalid("This pattern is too large.", about="search", hint="Repeat less often.", offset=0)
        self.tests.append(test)
        self.nexts.append(list(nexts))
        if end:
            self.ends[len(self.tests) - 1] = end
        return len(self.tests) - 1

    def closed(self, states: frozenset[int], place: str) -> frozenset[int]:
        """Return all states that can be reached from these without a character, at a place of the text."""
        reached, waiting = set(states), list(states)
        while waiting:
            state = waiting.pop()
            if self.tests[state] is None and self.ends.get(state, place) == place:
                fresh = [one for one in self.nexts[state] if one not in reached]
                reached.update(fresh)
                waiting += fresh
        return frozenset(reached)

    def step(self, states: frozenset[int], char: str) -> frozenset[int]:
        """Return the states after a character; matching may begin anew at each."""
        led = {
            following
            for state in states
            if (test := self.tests[state]) is not None and test(char)
            for following in self.nexts[state]
        }
        return self.closed(frozenset(led), "") | self.inner

    def found(self, value: str) -> bool:
        """Return whether the pattern is found anywhere in a text."""
        states = self.start
        for char in value:
            if self.final in states:
                return True
            known = self.remembered.get((states, char))
            if known is None:
                if len(self.remembered) >= _REMEMBERED:
                    self.remembered.clear()
                known = self.remembered[states, char] = self.step(states, char)
            states = known
        place = "begin" if not value else ""
        return self.final in states or self.final in self.at_end(states, place)

    def at_end(self, states: frozenset[int], place: str) -> frozenset[int]:
        """Return what can be reached at the end of the text, which is its beginning too where it is empty."""
        for _ in range(len(self.ends) + 1):
            before, states = states, self.closed(states, "end")
            if place:
                states = self.closed(states, place)
            if states == before:
                break
        return states


class _Reader:
    """Reads a pattern; each part becomes a first and a last state."""

    def __init__(self, text: str, machine: Pattern) -> None:
        self.text = text
        self.machine = machine
        self.at = 0
        self.depth = 0
        self.fold = text.startswith("(?i)")
        if self.fold:
            self.at = 4

    def all(self) -> tuple[int, int]:
        if len(self.text) > LENGTH_LIMIT:
            raise self.fault(f"A pattern may have at most {LENGTH_LIMIT} characters.", LENGTH_LIMIT)
        part = self.choice()
        if self.at < len(self.text):
            raise self.fault("This parenthesis closes nothing.")
        return part

    def fault(self, message: str, at: int = -1) -> Invalid:
        return Invalid(message, about="search", offset=self.at if at < 0 else at)

    def here(self) -> str:
        return self.text[self.at : self.at + 1]

    def choice(self) -> tuple[int, int]:
        parts = [self.sequence()]
        while self.here() == "|":
            self.at += 1
            parts.append(self.sequence())
        return parts[0] if len(parts) == 1 else self.joined(parts)

    def joined(self, parts: list[tuple[int, int]]) -> tuple[int, int]:
        last = self.machine.state()
        for _, end in parts:
            self.machine.nexts[end].append(last)
        return self.machine.state(*(begin for begin, _ in parts)), last

    def sequence(self) -> tuple[int, int]:
        first = last = self.machine.state()
        while self.here() not in {"", "|", ")"}:
            begin, end = self.repeated()
            self.machine.nexts[last].append(begin)
            last = end
        return first, last

    def repeated(self) -> tuple[int, int]:
        begin = self.at
        part = self.one()
        end = self.at
        low, high = self.count()
        if (low, high) == (1, 1) and self.at == end:
            return part
        if self.text[begin] in _ENDS:
            raise self.fault("There is nothing here to repeat.")
        if self.here() == "?":  # as few as possible: the same when only the finding counts
            self.at += 1
        if self.here() and self.here() in "*+?{":
            raise self.fault("There is nothing here to repeat.")
        after = self.at
        first = last = self.machine.state()
        for index in range(high if high is not None else max(low, 1)):
            if index:
                self.at = begin
                part = self.one()
                if self.at != end:
                    raise self.fault("This cannot be repeated.")
            if index >= low:
                last = self.optional(last, part)
            else:
                self.machine.nexts[last].append(part[0])
                last = part[1]
        if high is None:
            self.machine.nexts[part[1]].append(part[0])
        self.at = after
        return first, last

    def optional(self, last: int, part: tuple[int, int]) -> int:
        end = self.machine.state()
        self.machine.nexts[last] += [part[0], end]
        self.machine.nexts[part[1]].append(end)
        return end

    def count(self) -> tuple[int, int | None]:
        char = self.here()
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if char in simple:
            self.at += 1
            return simple[char]
        if char != "{":
            return 1, 1
        end = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : end].partition(",")
        if end < 0 or not _is_count(low) or (high and not _is_count(high)):
            raise self.fault("A count looks like {2}, {2,} or {2,5}; write \\{ for the character.")
        bounds = int(low), (int(high) if high else None if comma else int(low))
        if bounds[1] is not None and not 0 < bounds[1] >= bounds[0]:
            raise self.fault("This count is none.")
        self.at = end + 1
        return bounds

    def one(self) -> tuple[int, int]:
        char = self.here()
        if char == "(":
            return self.group()
        if char in {"*", "+", "?", "{"}:
            raise self.fault("There is nothing here to repeat.")
        self.at += 1
        last = self.machine.state()
        if char in _ENDS:
            return self.machine.state(last, end=_ENDS[char]), last
        if char == ".":
            test: Test = _any
        elif char == "[":
            test = self.folded(self.choices())
        elif char == "\\":
            test = self.folded(self.escaped())
        else:
            test = self.folded(_is(char))
        return self.machine.state(last, test=test), last

    def group(self) -> tuple[int, int]:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise self.fault(f"Groups nest deeper than {DEPTH_LIMIT}.")
        begin = self.at
        self.at += 3 if self.text.startswith("(?:", self.at) else 1
        if self.here() == "?":
            raise self.fault("Only (...) and (?:...) are known, and (?i) in front of all.", begin)
        part = self.choice()
        if self.here() != ")":
            raise self.fault("This parenthesis is not closed.", begin)
        self.at += 1
        self.depth -= 1
        return part

    def folded(self, test: Test) -> Test:
        return (lambda char: test(char) or test(char.lower()) or test(char.upper())) if self.fold else test

    def escaped(self) -> Test:
        char = self.here()
        self.at += 1
        if char.lower() in _KINDS:
            return _KINDS[char.lower()] if char.islower() else _not(_KINDS[char.lower()])
        return _is(self.literal(char))

    def literal(self, char: str) -> str:
        if char in _PLAIN:
            return _PLAIN[char]
        if not char or char.isalnum():
            raise self.fault(f"There is no \\{char}.", self.at - 2)
        return char

    def choices(self) -> Test:
        begin = self.at - 1
        negated = self.here() == "^"
        self.at += negated
        tests: list[Test] = []
        while self.here() != "]" or not tests:
            if not self.here():
                raise self.fault("This bracket is not closed.", begin)
            tests.append(self.range())
        self.at += 1
        test = _either(tests)
        return _not(self.folded(test)) if negated else test

    def range(self) -> Test:
        low = self.here()
        self.at += 1
        if low == "\\":
            if self.here().lower() in _KINDS:
                return self.escaped()
            self.at += 1
            low = self.literal(self.text[self.at - 1 : self.at])
        if self.here() != "-" or self.text[self.at + 1 : self.at + 2] in {"]", ""}:
            return _is(low)
        high = self.text[self.at + 1]
        self.at += 2
        if high == "\\":
            self.at += 1
            high = self.literal(self.text[self.at - 1 : self.at])
        if high < low:
            raise self.fault("This range has its ends the wrong way round.")
        return lambda char: low <= char <= high


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 4


def _any(char: str) -> bool:
    return char != "\n"


def _is(wanted: str) -> Test:
    return lambda char: char == wanted


def _not(test: Test) -> Test:
    return lambda char: not test(char)


def _either(tests: list[Test]) -> Test:
    return lambda char: any(test(char) for test in tests)


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


_KINDS: Final[dict[str, Test]] = {"d": str.isdecimal, "w": _is_word, "s": str.isspace}
