"""A PostgreSQL server of the tests' own, which can be stopped and started."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest


class Postgres:
    """One server on a free port of this machine; `url` is its database."""

    def __init__(self, initdb: Path) -> None:
        self._program = initdb.with_name("postgres")
        self._root = Path(tempfile.mkdtemp(prefix="pocketnas-postgres-"))  # pytest's own folders are closed to others
        self._become: dict[str, object] = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(self._root, "nobody")
            self._become = {"user": "nobody"}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        made = subprocess.run(
            [initdb, "-D", self._root / "data", "-A", "trust", "-U", "pocketnas", "--no-sync"],
            capture_output=True,
            text=True,
            cwd=self._root,
            **self._become,  # type: ignore[call-overload]
        )
        if made.returncode:
            pytest.skip(f"PostgreSQL cannot be set up here: {made.stderr.strip().splitlines()[-1]}")
        self.url = f"postgresql://pocketnas@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._server = subprocess.Popen(
            [self._program, "-D", self._root / "data", "-p", str(self._port), "-k", "", "-F"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._root,
            **self._become,  # type: ignore[call-overload]
        )
        deadline = time.monotonic() + 30
        ask = [str(self._program.with_name("pg_isready")), "-h", "127.0.0.1", "-p", str(self._port)]
        while subprocess.run(ask, capture_output=True).returncode:
            if time.monotonic() > deadline:
                pytest.skip("the PostgreSQL server did not start")
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT closes connections, SIGQUIT is a crash."""
        self._server.send_signal(how)
        self._server.wait(20)

    def remove(self) -> None:
        """Stop it for good."""
        if self._server.poll() is None:
            self.stop()
        shutil.rmtree(self._root, ignore_errors=True)


def find_initdb() -> Path:
    """The program that makes a server's folder; the test is skipped where there is none."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'psycopg[binary]'")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "-")]
    if not programs[-1].exists():
        pytest.skip("no PostgreSQL server program (initdb) on this machine")
    return programs[-1]
