"""Peers: each is installed from the registry into an environment of its own, once."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".venv-peers"
REQUIREMENTS = {
    "mlflow": ("mlflow==3.17.2",),
    "fasttrackml": ("fasttrackml==0.6.0",),
    "mlserver": ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop<0.22"),  # its start fails on later ones
    "bentoml": ("bentoml==1.4.39",),
    "litserve": ("litserve==0.2.19",),
    "ray": ("ray[serve]==2.60.0",),
}
SERVE_SKLEARN = ("mlflow", "mlserver", "bentoml", "litserve", "ray")


def peer(name: str) -> Path:
    """Return a peer's environment, which is made if it is missing or of other versions.

    Who serves a scikit-learn model gets the scikit-learn that this environment trains it with.
    """
    wanted = list(REQUIREMENTS[name])
    if name in SERVE_SKLEARN:
        wanted.append(f"scikit-learn=={version('scikit-learn')}")
    folder = FOLDER / name
    ready = folder / "ready"
    said = "\n".join(wanted)
    if not ready.exists() or ready.read_text() not in {"", said}:
        if not ready.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", *wanted], check=True)
        ready.write_text(said)
    return folder
