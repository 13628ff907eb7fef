"""A small space's worth of blocks, and a real sshd on loopback."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from latency_tables.blocks import Block
from latency_tables.onnx_models import NamedModel

STEM = Block("conv", 16, 3, 8, 3, 2, activation="relu")
SMALL = Block("mbconv", 8, 8, 8, 3, 1, 16, 0, "relu", True)
LARGE = Block("mbconv", 8, 8, 8, 5, 1, 32, 8, "relu", True)
POOL = Block("pool", 8, 8, 8)
LINEAR = Block("linear", 1, 8, 4)
BLOCKS = (STEM, SMALL, LARGE, POOL, LINEAR)


def network(*middle: Block) -> tuple[Block, ...]:
    """A network with `middle` between a fixed stem and head."""
    return (STEM, *middle, POOL, LINEAR)


@pytest.fixture
def models() -> tuple[NamedModel, ...]:
    """Two networks."""
    return (NamedModel("one", network(SMALL)), NamedModel("two", network(SMALL, LARGE)))


@dataclass(frozen=True)
class Sshd:
    """A running sshd: what `ssh://` reaches it, and the process."""

    url: str
    process: "subprocess.Popen[bytes]"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Debian's sshd on a port of its own with a key of its own; skipped where there is none."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no openssh-server and client on this machine")
    folder = tmp_path_factory.mktemp("sshd")
    folder.chmod(0o700)
    for key in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    port = _free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
    )
    (folder / "ssh_config").write_text(
        f"Host *\n IdentityFile {folder}/user_key\n IdentitiesOnly yes\n StrictHostKeyChecking no\n"
        f" UserKnownHostsFile {folder}/known_hosts\n LogLevel ERROR\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where a system's sshd separates its privileges
    process = subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "sshd_config")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _wait_for(port, process)
        user = getpass.getuser()
        yield Sshd(f"ssh://{user}@127.0.0.1:{port}?python={sys.executable}&config={folder}/ssh_config", process)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(100):
        if process.poll() is not None:
            said = process.stderr.read().decode() if process.stderr else ""
            pytest.skip(f"sshd does not start here: {said.strip()[-200:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.skip("sshd did not open its port within 5 s")
