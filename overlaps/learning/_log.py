"""The log of a run: one file for each record, and the memory of the rule after it, from which a killed run goes on.

A file is written under another name, synced and renamed: it is there as a whole or not at all. Its first line is a JSON header
with a checksum of the rest, so that a file that was damaged later is noticed.
"""

import dataclasses
import io
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from overlaps._support import warn
from overlaps.learning._record import Record

ROWS, MEMORY = ".rows", ".memory"


class Log:
    """The records of the phases of a run, in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def append(self, records: Sequence[tuple[int, int, Record]]) -> None:
        """Add records, each with its phase and its number in the phase. Of each phase the last one alone has a memory."""
        for place, (phase, number, record) in enumerate(records):
            name, later = self._name(phase, number), records[place + 1 :]
            if later and later[0][0] == phase:
                write(name.with_suffix(ROWS), _record_bytes(record), settled=False)
                continue
            # The memory first: the rows say that the record is there.
            write(name.with_suffix(MEMORY), _packed({}, _plain(record.memory)), settled=False)
            write(name.with_suffix(ROWS), _record_bytes(record))
            # The memory before this one is kept, in case that this one gets damaged.
            for old in sorted(self.folder.glob(f"{phase:03d}-*{MEMORY}"))[:-2]:
                old.unlink()

    def read(self, phase: int) -> tuple[list[Record], bytes]:
        """The records of a phase up to the last one whose memory is whole, and this memory.

        Warns if something that was written is damaged.
        """
        records: list[Record] = []
        damage = ""
        for name in sorted(self.folder.glob(f"{phase:03d}-*{ROWS}")):
            try:
                records.append(_record(name.read_bytes()))
            except (OSError, ValueError) as error:
                damage = f"{name.name}: {error}"
                break
        memory = b""
        while records:
            name = self._name(phase, len(records) - 1).with_suffix(MEMORY)
            try:
                memory = name.read_bytes()
                _header(memory)
                break
            except FileNotFoundError:  # the kill came while several records were written
                records.pop()
            except (OSError, ValueError) as error:
                damage = damage or f"{name.name}: {error}"
                records.pop()
        if damage:
            warn(f"The store {str(self.folder.parent)!r} is damaged ({damage}). The run goes on from what is whole before it.")
            self._cut(phase, len(records))
        return records, memory

    def _cut(self, phase: int, number: int) -> None:
        """Remove the records of a phase from `number` on, and all later phases."""
        for name in self.folder.glob("*-*"):
            if name.suffix in (ROWS, MEMORY) and name.stem >= self._name(phase, number).name:
                name.unlink(missing_ok=True)

    def _name(self, phase: int, number: int) -> Path:
        return self.folder / f"{phase:03d}-{number:06d}"


def recalled(memory: bytes, like: Any) -> Any:
    """The memory of a rule, from its bytes and from a memory of the same structure."""
    _, payload = _header(memory)
    loaded = eqx.tree_deserialise_leaves(io.BytesIO(payload), _plain(like))
    return jax.tree.map(lambda leaf, new: jax.random.wrap_key_data(new) if _is_key(leaf) else new, like, loaded)


def write(path: Path, content: bytes, settled: bool = True) -> None:
    """Write a file such that it is there as a whole, or as it was before.

    `settled`: whether its name must be on disk on return; else that of the next file that is written to the folder will do.
    """
    unfinished = path.with_name(f"{path.name}.part")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    if not settled:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _packed(header: dict[str, Any], tree: Any) -> bytes:
    payload = io.BytesIO()
    eqx.tree_serialise_leaves(payload, tree)
    content = payload.getvalue()
    return json.dumps({**header, "checksum": zlib.crc32(content)}).encode() + b"\n" + content


def _header(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the rest of a file; raises ValueError for one that is not whole."""
    line, _, payload = content.partition(b"\n")
    header = json.loads(line)
    if zlib.crc32(payload) != header.get("checksum"):
        raise ValueError("its checksum is wrong")
    return header, payload


def _record(content: bytes) -> Record:
    header, payload = _header(content)
    shapes = {**header["arrays"], **header["values"]}
    like = [np.empty(shape, dtype) for dtype, shape in shapes.values()]
    arrays = dict(zip(shapes, eqx.tree_deserialise_leaves(io.BytesIO(payload), like), strict=True))
    values = {name: arrays[name] for name in header["values"]}
    return Record(values=values, **header["fields"], **{name: arrays[name] for name in header["arrays"]})


def _record_bytes(record: Record) -> bytes:
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record) if field.name != "memory"}
    values = fields.pop("values")
    arrays = {name: np.asarray(value) for name, value in fields.items() if isinstance(value, np.ndarray | np.generic)}
    header = {
        "fields": {name: value for name, value in fields.items() if name not in arrays},
        "arrays": {name: _shape(array) for name, array in arrays.items()},
        "values": {name: _shape(array) for name, array in values.items()},
    }
    return _packed(header, [*arrays.values(), *values.values()])


def _shape(array: np.ndarray) -> tuple[str, tuple[int, ...]]:
    return array.dtype.str, array.shape


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(tree: Any) -> Any:
    """The tree with the numbers of random keys in place of keys."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)
