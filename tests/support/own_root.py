"""A file tree of a server's own, in which it runs as if it were installed on a machine where there is nothing else.

For servers whose Debian packages exclude each other, or are of another release: their files come from the folders in
which `make test` unpacks them. Paths and users that a server has compiled in are those of the tree; the machine's own
are never touched. Only root can start a program in a tree of its own.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cli.guarded import GuardedProcess

_UNPACKED = Path(__file__).parents[2] / ".cache"
UNPACKED, UNPACKED_OF_TRIXIE = _UNPACKED / "debian", _UNPACKED / "trixie"
_FILE = re.compile(r"(/\S+) \(0x")  # `libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f…)`
_FIRST_USER = 64900  # and those that follow: numbers that Debian gives to nobody


class OwnRoot:
    """The tree, in a temporary folder; a context manager."""

    def __init__(self, package: Path, programs: Sequence[str], users: Mapping[str, str]) -> None:
        """`programs` are paths in the unpacked package, or of this machine; `users` are names with their homes.

        Each user has a group of the same name.
        """
        self.path = Path(tempfile.mkdtemp(prefix=f"pillarbox-{package.name}-"))
        self._package = package
        self._programs = programs
        self._users = {name: (_FIRST_USER + number, home) for number, (name, home) in enumerate(users.items())}

    def __enter__(self) -> "OwnRoot":
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def make_folder(self, path: str, owner: str = "") -> Path:
        """A folder in the tree: root's, or that of one of its users."""
        folder = self.path / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        if owner:
            os.chown(folder, self._users[owner][0], self._users[owner][0])
        return folder

    def write(self, path: str, content: str | bytes, owner: str = "") -> None:
        """A file in the tree, which its owner alone can change."""
        file = self.make_folder(str(Path(path).parent)) / Path(path).name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        if owner:
            file.chmod(0o600)
            os.chown(file, self._users[owner][0], self._users[owner][0])

    def start(self, *command: str, output: Path) -> GuardedProcess:
        """Run a program of the tree, as root, in the tree."""
        with output.open("wb") as file:
            return GuardedProcess(["chroot", self.path, *command], output=file, env={"PATH": "/usr/sbin:/usr/bin"})

    def _build(self) -> None:
        assert os.geteuid() == 0, "only root can start a server in a file tree of its own"
        assert self._package.is_dir(), f"{self._package} is not there: `make test` unpacks it"
        self.path.chmod(0o755)
        for folder in ("usr/lib", "usr/bin", "etc", "dev", "tmp"):
            self.make_folder(folder)
        (self.path / "tmp").chmod(0o1777)
        for link, target in (("lib", "usr/lib"), ("lib64", "usr/lib"), ("bin", "usr/bin")):
            (self.path / link).symlink_to(target)
        # An ordinary file does: it reads as empty, and to make devices is forbidden in many containers.
        (self.path / "dev" / "null").touch()
        (self.path / "dev" / "null").chmod(0o666)
        for program in self._programs:
            self._install(program.lstrip("/"))
        everybody = {"root": (0, "/"), **self._users}
        self.write(
            "etc/passwd", "".join(f"{name}:x:{no}:{no}::{home}:/bin/sh\n" for name, (no, home) in everybody.items())
        )
        self.write("etc/group", "".join(f"{name}:x:{number}:\n" for name, (number, _) in everybody.items()))

    def _install(self, path: str) -> None:
        source = self._package / path
        if not source.exists():
            source = Path("/") / path
        wrapped = source.with_name(f"{source.name}.elf")  # in a package of another release, behind a script
        program = wrapped if wrapped.exists() else source
        shutil.copyfile(program, self.make_folder(str(Path(path).parent)) / source.name)
        (self.path / path).chmod(0o755)  # not what it was: nothing in a temporary folder may be setuid
        for library in self._libraries_of(program):
            target = self.path / "usr/lib" / library.name
            # The first to come serve all: those of the package, which are not older than this machine's.
            if not target.exists():
                shutil.copyfile(library, target)
                target.chmod(0o755)

    def _libraries_of(self, program: Path) -> list[Path]:
        """What the program is linked with, the loader too."""
        folders = list((self._package / "usr/lib").glob("*-linux-*"))
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LD_LIBRARY_PATH": ":".join(map(str, folders))}
        loaders = [loader for folder in folders for loader in folder.glob("ld-linux*.so.*")]
        lister = [loaders[0], "--list"] if loaders else ["ldd"]
        listed = subprocess.run([*lister, program], env=environment, check=True, capture_output=True, text=True).stdout
        return [Path(file) for file in _FILE.findall(listed)]
