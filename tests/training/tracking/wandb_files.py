"""What offline runs of Weights & Biases left in a folder."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path


def wandb_records(path: Path) -> Iterator[bytes]:
    """The records of an offline run's file: LevelDB's log format, blocks of 32 KiB, behind a header of 7 bytes."""
    content, at_byte, record = path.read_bytes(), 7, b""
    while at_byte + 7 <= len(content):
        length, kind = struct.unpack_from("<HB", content, at_byte + 4)
        record += content[at_byte + 7 : at_byte + 7 + length]
        at_byte += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            yield record
            record = b""
        if (left := -at_byte % 32768) < 7:  # a block's end has no room for another
            at_byte += left


def wandb_history(folder: Path) -> dict[int, dict[str, float]]:
    """What the offline runs of a folder logged, by step."""
    from wandb.proto.wandb_internal_pb2 import Record

    history: dict[int, dict[str, float]] = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in wandb_records(path):
            items = Record.FromString(data).history.item
            values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}
            if values:
                history.setdefault(values["_step"], {}).update(values)
    return history
