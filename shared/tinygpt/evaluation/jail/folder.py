"""The working folder: whether it is over its limits, and how to remove it with anything that code put there."""

import os
import stat
from collections.abc import Mapping


def too_full(folder: str, limits: Mapping[str, float]) -> str:
    """Which limit the folder is over; "" if none. Stops at the first entry that is over the limit."""
    size = entries = 0
    unread = [folder]
    while unread:
        try:
            with os.scandir(unread.pop()) as listing:
                for entry in listing:
                    entries += 1
                    if entries > limits["folder_entries"]:
                        return f"made more than {limits['folder_entries']:,} files"
                    found = entry.stat(follow_symlinks=False)
                    size += found.st_blocks * 512
                    if stat.S_ISDIR(found.st_mode):
                        unread.append(entry.path)
        except FileNotFoundError:
            continue  # removed while being looked at
        except OSError as error:
            return f"made a folder that can't be looked into: {error.strerror}"
    if size > limits["folder_bytes"]:
        return f"wrote more than {limits['folder_bytes']:,} bytes of files"
    return ""


def remove(folder: str) -> None:
    """Remove a folder and its content. Not recursive, because nesting may be deeper than the stack or a path allows."""
    number = 0
    folders = [folder]
    while folders:
        current = folders[-1]
        os.chmod(current, 0o700)  # noqa: PTH101
        nested = []
        with os.scandir(current) as listing:
            for entry in listing:
                if entry.is_dir(follow_symlinks=False):
                    nested.append(entry.path)
                else:
                    os.unlink(entry.path)  # noqa: PTH108
        if not nested:
            os.rmdir(current)  # noqa: PTH106
            folders.pop()
        for path in nested:
            if current == folder:
                folders.append(path)
            else:
                number += 1
                os.chmod(path, 0o700)  # noqa: PTH101
                shallow = f"{folder}/.{number}"
                while os.path.lexists(shallow):
                    number += 1
                    shallow = f"{folder}/.{number}"
                os.rename(path, shallow)  # noqa: PTH104
                folders.append(shallow)
