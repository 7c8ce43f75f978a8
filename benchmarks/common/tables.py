"""A table of figures: a row for each thing measured, a column for each who was."""

from __future__ import annotations

import sys


class Table:
    """Figures by row and column; each is also said on standard error when it comes."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, float]] = {}
        self.units: dict[str, str] = {}

    def put(self, row: str, column: str, value: float, unit: str) -> None:
        """Keep a figure."""
        self.rows.setdefault(row, {})[column] = value
        self.units[row] = unit
        print(f"  {column}: {row.strip()} {value:,.3g} {unit}", file=sys.stderr, flush=True)

    def get(self, row: str, column: str) -> float | None:
        """Return a figure, or None where none was taken."""
        return self.rows.get(row, {}).get(column)

    def show(self, columns: list[str]) -> None:
        """Print the table."""
        width = max(map(len, self.rows), default=0)
        print(f"{'':{width}}  {'unit':>12}  " + "  ".join(f"{name:>12}" for name in columns))
        for row, values in self.rows.items():
            cells = "  ".join(f"{values[name]:12,.3g}" if name in values else f"{'-':>12}" for name in columns)
            print(f"{row:{width}}  {self.units[row]:>12}  {cells}")
