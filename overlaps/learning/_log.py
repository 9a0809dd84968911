"""The log of a run: one file for each record, and the memory of the rule after it, from which a killed run goes on.

A file is written under another name, synced and renamed: it is there as a whole or not at all. It begins with a checksum of
all the rest, so that a file that was damaged later is noticed.
"""

import dataclasses
import io
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from overlaps._support import warn
from overlaps.learning._record import Record

FOLDER = "log"
ROWS, MEMORY = ".rows", ".memory"


class Log:
    """The records of the phases of a run, in a folder. `claim` keeps other processes from writing, before a file is removed."""

    def __init__(self, folder: Path, claim: Callable[[], None]):
        self.folder, self._claim = folder, claim

    def append(self, records: Sequence[tuple[int, int, Record]]) -> None:
        """Add records, each with its phase and its number in the phase. Of each phase the last one alone has a memory."""
        files: list[tuple[Path, bytes, bool]] = []
        for place, (phase, number, record) in enumerate(records):
            name, later = self._name(phase, number), records[place + 1 :]
            last = not later or later[0][0] != phase
            if last:  # the memory first: the rows say that the record is there
                files.append((name.with_suffix(MEMORY), _memory(record), False))
            files.append((name.with_suffix(ROWS), _rows(record), last))
        prepare({path: content for path, content, _ in files})
        for path, content, settled in files:
            write(path, content, settled, prepared=True)
            if settled:  # the memory before this one is kept, in case that this one gets damaged
                for old in sorted(self.folder.glob(f"{path.name.partition('-')[0]}-*{MEMORY}"))[:-2]:
                    old.unlink(missing_ok=True)

    def read(self, phase: int) -> tuple[list[Record], bytes]:
        """The records of a phase up to the last one whose memory is whole, and this memory.

        Warns if something that was written is damaged, or missing between records.
        """
        records, memory, damage = self._read(phase)
        if damage:
            self._claim()
            records, memory, damage = self._read(phase)  # again: another process may have mended it
        if damage:
            warn(f"The store {str(self.folder.parent)!r} is damaged ({damage}). The run goes on from what is whole before it.")
            self._cut(phase, len(records))
        return records, memory

    def _read(self, phase: int) -> tuple[list[Record], bytes, str]:
        records: list[Record] = []
        names = sorted(self.folder.glob(f"{phase:03d}-*{ROWS}"))
        damage = ""
        for number, name in enumerate(names):
            if name.stem != self._name(phase, number).name:
                damage = f"{self._name(phase, number).name}{ROWS} is missing"
                break
            try:
                records.append(_record(checked(name)))
            except Exception as error:  # whatever a damaged file leads to
                damage = f"{name.name}: {error}"
                break
        memory = b""
        while records:
            name = self._name(phase, len(records) - 1).with_suffix(MEMORY)
            try:
                content = io.BytesIO(checked(name))
                records[-1] = dataclasses.replace(records[-1], parameters=np.load(content))
                memory = content.read()
                break
            except FileNotFoundError:  # the kill came while several records were written
                records.pop()
            except Exception as error:
                damage = damage or f"{name.name}: {error}"
                records.pop()
        return records, memory, damage

    def _cut(self, phase: int, number: int) -> None:
        """Remove the records of a phase from `number` on, and all later phases."""
        for name in self.folder.glob("*-*"):
            if name.suffix in (ROWS, MEMORY) and name.stem >= self._name(phase, number).name:
                name.unlink(missing_ok=True)

    def _name(self, phase: int, number: int) -> Path:
        return self.folder / f"{phase:03d}-{number:06d}"


def recalled(memory: bytes, like: Any) -> Any:
    """The memory of a rule, from its bytes and from a memory of the same structure."""
    loaded = eqx.tree_deserialise_leaves(io.BytesIO(memory), _plain(like))
    return jax.tree.map(
        lambda leaf, new: jax.random.wrap_key_data(new, impl=jax.random.key_impl(leaf)) if _is_key(leaf) else new, like, loaded
    )


def write(path: Path, content: bytes, settled: bool = True, prepared: bool = False) -> None:
    """Write a file such that it is there as a whole, or as it was before.

    `settled`: whether its name must be on disk on return; else that of the next file that is written to the folder will do.
    `prepared`: whether `prepare` wrote the content before.
    """
    if not prepared:
        prepare({path: content})
    _unfinished(path).replace(path)
    if settled:
        sync(path.parent)


def prepare(contents: Mapping[Path, bytes]) -> None:
    """Write the contents of files to disk, under other names, until `write` gives them theirs."""
    for path, content in contents.items():
        _unfinished(path).write_bytes(content)
    sync_all([_unfinished(path) for path in contents])


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def sync_all(paths: Sequence[Path]) -> None:
    """Wait until files, and the names in folders, are on disk. Doing so at the same time is faster than one after the other."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(sync, paths))


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rows(record: Record) -> bytes:
    """A record without the parameters and the memory, which the last one alone needs."""
    fields = {
        field.name: getattr(record, field.name)
        for field in dataclasses.fields(record)
        if field.name not in ("memory", "parameters")
    }
    values = fields.pop("values")
    arrays = {name: np.asarray(value) for name, value in fields.items() if isinstance(value, np.ndarray | np.generic)}
    header = {
        "fields": {name: value for name, value in fields.items() if name not in arrays},
        "arrays": list(arrays),
        "values": list(values),
    }
    content = io.BytesIO()
    for array in (*arrays.values(), *values.values()):
        np.save(content, array, allow_pickle=False)
    return with_checksum(json.dumps(header).encode() + b"\n" + content.getvalue())


def _record(content: bytes) -> Record:
    line, _, payload = content.partition(b"\n")
    header, file = json.loads(line), io.BytesIO(payload)
    arrays, values = ({name: np.load(file, allow_pickle=False) for name in header[kind]} for kind in ("arrays", "values"))
    arrays = dict(arrays)
    return Record(values=values, parameters=np.empty(0), **header["fields"], **arrays)


def _memory(record: Record) -> bytes:
    content = io.BytesIO()
    np.save(content, record.parameters, allow_pickle=False)
    eqx.tree_serialise_leaves(content, _plain(record.memory))
    return with_checksum(content.getvalue())


def with_checksum(content: bytes) -> bytes:
    """The content of a file whose damage `checked` will notice."""
    return f"{zlib.crc32(content):08x}\n".encode() + content


def checked(name: Path) -> bytes:
    """What a file holds after its checksum; raises ValueError if it is not whole."""
    checksum, _, content = name.read_bytes().partition(b"\n")
    if checksum != f"{zlib.crc32(content):08x}".encode():
        raise ValueError("its checksum is wrong")
    return content


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(tree: Any) -> Any:
    """The tree with the numbers of random keys in place of keys."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)
