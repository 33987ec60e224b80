"""The compose file, run by this machine's container engine under a name of its own, from a copy of the sources."""

import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

from tests.support.ports import wait_until

_ROOT = Path(__file__).parents[2]
_SOURCES = ("Dockerfile", ".dockerignore", "docker-compose.yml", "pyproject.toml", "README.md", "LICENSE")
_PACKAGES = ("cli", "services", "shared")
_PROFILES = ("--profile", "gateway", "--profile", "console")
OWNER = 10001  # the user of the containers


class Composed:
    """A context manager: inside it there is the image, and `up` starts the containers, which are gone at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "site"
        self.name = f"pillarbox-test-{secrets.token_hex(4)}"
        self.folder.mkdir()
        for name in _SOURCES:
            shutil.copy(_ROOT / name, self.folder)
        for name in _PACKAGES:
            shutil.copytree(_ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        file = self.folder / "docker-compose.yml"
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("image: pillarbox\n", f"image: {self.name}\n"), encoding="utf-8")

    def __enter__(self) -> "Composed":
        try:
            self._prepare()
            # As the file has it, but over the network of this machine: that is where the packages are to be had.
            docker("build", "--quiet", "--network", "host", "--tag", self.name, ".", folder=self.folder)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.compose(*_PROFILES, "down", "--volumes", "--remove-orphans", "--timeout", "30")
        finally:
            docker("image", "rm", "--force", self.name, folder=self.folder)

    def compose(self, *arguments: str, stdin: str = "") -> str:
        """`docker compose`; what it printed. Raises AssertionError with that when it fails."""
        variables = {"COMPOSE_PROJECT_NAME": self.name, "PILLARBOX_AMQP_PUBLISH": "127.0.0.1:0"}
        return docker("compose", *arguments, folder=self.folder, stdin=stdin, **variables)

    def up(self) -> None:
        """Start all of it, and wait until the scheduler answers."""
        self.compose(*_PROFILES, "up", "--detach", "--no-build", "--scale", "sender=2")
        self.operator("list", "--timeout", "60s")

    def down(self) -> None:
        """Stop all of it; the volumes stay."""
        self.compose(*_PROFILES, "down", "--timeout", "30")

    def operator(self, *arguments: str, stdin: str = "") -> str:
        """A `pillarbox` command, as the head of the file says; what it printed."""
        return self.compose("run", "--rm", "-T", "operator", *arguments, stdin=stdin)

    def address(self, service: str) -> str:
        """Where this machine reaches the first container of a service."""
        container = self.compose("ps", "--quiet", service).split()[0]
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("inspect", "--format", form, container, folder=self.folder).strip()

    def published(self, service: str, port: int) -> str:
        """The address and port of this machine at which the engine publishes a port of a service."""
        return self.compose("port", service, str(port)).strip()

    def our_address(self) -> str:
        """Where the containers reach this machine."""
        form = "{{(index .IPAM.Config 0).Gateway}}"
        return docker("network", "inspect", "--format", form, f"{self.name}_default", folder=self.folder).strip()

    def wait_for_health(self, *services: str) -> None:
        """Wait until these and no others run, and the engine says of each of their containers that it is healthy."""

        def healthy() -> bool:
            found = self.compose("ps", "--format", "{{.Service}} {{.Health}}").splitlines()
            return set(found) == {f"{service} healthy" for service in services}

        wait_until(healthy, f"{' and '.join(services)} are healthy", 90)

    def _prepare(self) -> None:
        """What the head of the file has one do beforehand."""
        head = (self.folder / "docker-compose.yml").read_text(encoding="utf-8").partition("\nname:")[0]
        commands = [line.removeprefix("#   ") for line in head.splitlines() if re.match(r"#   (?!docker)", line)]
        script = "set -e\n" + "\n".join(commands)
        done = subprocess.run(["sh", "-c", script], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stderr}"


def docker(*arguments: str, folder: Path, stdin: str = "", **variables: str) -> str:
    """A command of the engine; what it printed. Raises AssertionError with that when it fails."""
    done = subprocess.run(
        ["docker", *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
