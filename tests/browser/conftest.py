"""A real Chromium, and a server on loopback for it to look at."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "ui")]

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
LIMIT_S = 90


class Browser:
    """Starts a fresh Chromium for each look at a page."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._looks = 0

    def dom(self, url: str, *options: str) -> tuple[str, str]:
        """Return the document after loading, and what the browser had to say about it."""
        done = self._run("--dump-dom", "--virtual-time-budget=8000", "--enable-logging=stderr", *options, url)
        return done.stdout, done.stderr

    def screenshot(self, url: str, *options: str) -> bytes:
        """Return the page as a PNG."""
        path = self._folder / f"look-{self._looks}.png"
        self._run(f"--screenshot={path}", *options, url)
        return path.read_bytes()

    def _run(self, *options: str) -> subprocess.CompletedProcess[str]:
        self._looks += 1
        profile = self._folder / f"profile-{self._looks}"
        command = [self._program, *QUIET, f"--user-data-dir={profile}", *options]
        environment = {**os.environ, "HOME": str(self._folder), "no_proxy": "*"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, env=environment)
        shutil.rmtree(profile, ignore_errors=True)
        assert done.returncode == 0, done.stderr
        return done


class Site:
    """Pages by path, each with its headers; remembers what was asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, dict[str, str]]] = {}
        self.asked: list[str] = []
        self.address = ""

    def put(self, path: str, body: str, **headers: str) -> str:
        """Return the address of a page that is there from now on."""
        self.pages[path] = (body, {name.replace("_", "-"): value for name, value in headers.items()})
        return self.address + path


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        reason = "NO BROWSER: the page was not looked at. Install Debian's package chromium."
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return Browser(program, tmp_path_factory.mktemp("chromium"))


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            body, headers = made.pages.get(self.path, ("", {}))
            self.send_response(200 if self.path in made.pages else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()
