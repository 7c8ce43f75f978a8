"""Code digests see what code does and nothing else."""

from __future__ import annotations

import ast
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.train.bytecode import Import, digest_code, uses


def code(text: str) -> types.CodeType:
    module = compile(text, "x.py", "exec")
    return next(part for part in module.co_consts if isinstance(part, types.CodeType))


def digest(text: str) -> str:
    return digest_code(code(text))


BODY = """
def f(a, *rest, b=2):
    try:
        for item in rest:
            if item > 3 and a:
                a += item * 2.5
            elif item in {"x", "y", "z"}:
                break
        else:
            a = [n for n in rest if n]
    except (ValueError, KeyError) as error:
        raise TypeError("bad") from error
    finally:
        print(a, sep="")
    class Inner:
        x = 1
        def g(self): return lambda: self.x + 1
    return Inner, f"{a!r:>3}", -0.0, (1, 2.0, True)
"""


def test_layout_comments_and_docstrings_make_no_difference() -> None:
    changed = BODY.replace("b=2):\n", 'b=2):\n    """Doc."""\n\n    # comment\n\n')
    changed = changed.replace("item > 3 and a:", "(\n  item\n  > 3 and a\n):").replace(
        "class Inner:\n", 'class Inner:\n        """D."""\n'
    )
    changed = changed.replace("def g(self): return", 'def g(self):\n            "Doc."\n            return')
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(BODY))
    assert digest(changed) == digest(BODY)
    assert digest("\n" * 70_000 + BODY) == digest(BODY)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("item > 3", "item >= 3"), ("item > 3", "item > 4"), ("a += item", "a -= item"), ("2.5", "2.25"),
        ('"y"', '"w"'), ("break", "continue"), ("if n]", "if not n]"), ("KeyError", "IndexError"), ('"bad"', '"worse"'),
        ('sep=""', 'end=""'), ("x = 1", "x = 2"), ("self.x + 1", "self.x + 2"), ("self.x", "self.y"),
        ("and a", "or a"), ("!r:>3", "!s:>3"),
        (":>3", ":<3"), ("-0.0", "0.0"), ("2.0, True", "2.0, 1"), ("(1, 2.0", "(1.0, 2.0"), ("*rest, b=2", "rest, b=2"),
        ("*rest, b=2", "rest=(), *, b=2"), ("class Inner", "class Other"), ("from error", "from None"), ("b=2", "c=2"),
    ],
)  # fmt: skip
def test_every_change_of_meaning_is_seen(before: str, after: str) -> None:
    assert before in BODY
    assert digest(BODY.replace(before, after)) != digest(BODY)


def test_what_a_handler_covers_is_seen() -> None:
    inside = "def f(g):\n    try:\n        g(1)\n        g(2)\n    finally:\n        g(3)\n"
    before = "def f(g):\n    g(1)\n    try:\n        g(2)\n    finally:\n        g(3)\n"
    assert digest(inside) != digest(before)


numbers = st.integers(-3, 300) | st.floats(allow_nan=False) | st.text(max_size=2) | st.booleans() | st.none()


@given(numbers, numbers)
def test_constants_differ_when_their_texts_do(a: object, b: object) -> None:
    assert (digest(f"def f(): return {a!r}") == digest(f"def f(): return {b!r}")) == (repr(a) == repr(b))


def test_uses_lists_what_code_reaches_for() -> None:
    found = uses(
        code("""
def f(x):
    import a.b, os.path as p
    from ..c import d as e, g
    global COUNT
    COUNT = helpers.clean(x).later
    settings.depth = [TABLE.keys() for _ in range(3)]
    def inner(y):
        return package.sub.deep(y) + lone
    return inner, super().__init__(), x.attr
""")
    )
    assert {("helpers", "clean"), ("TABLE", "keys"), ("package", "sub", "deep"), ("lone",), ("range",)} <= found.chains
    assert {"later", "attr"} <= found.attributes
    assert found.imports == {Import("a.b", 0, ()), Import("os.path", 0, ()), Import("c", 2, ("d", "g"))}
    assert found.assigns == {"COUNT", "settings.depth"}
