"""One block of a sweep: a pure function of plain data, which any process can compute."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from overlaps._support import argument_error
from overlaps.learning import VERSION
from overlaps.sweeps._fingerprint import Fingerprint
from overlaps.sweeps._points import Points, Region
from overlaps.sweeps._runs import Outcome, Setup, begun, built, filled, grouped, run
from overlaps.sweeps._store import DESCRIPTION, Store, report, to_do
from overlaps.sweeps._variables import FAILED, Kept, ends_of, values_of

Place = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Block:
    """What a process needs to compute a block of a sweep. `call` differs between calls of `sweep`.

    `full`: the number of points of a whole block. `labels`: checksums of the coordinates that all points share. `expected`: a
    point, by its place in the block, and the fingerprint of what the caller's `build` makes there, where it is known.
    """

    build: Callable[..., Any]
    points: Points
    region: Region
    store: str
    saves: int
    rows: Mapping[str, int]
    kept: Mapping[str, Kept]
    labels: Mapping[str, int]
    full: int
    call: str
    version: str = VERSION
    expected: tuple[Place, Fingerprint] | None = None

    def checked_by(self, place: Place) -> "Block":
        """The block with what `build` makes at one of its points, so that other processes can tell whether theirs does."""
        made = built(self.build, self.points.at(place))
        return dataclasses.replace(self, expected=(place, made.fingerprint())) if isinstance(made, Setup) else self


def compute(block: Block) -> dict[str, int]:
    """Compute the points of a block that are missing, and write them. Returns how many points have which status.

    Raises ValueError if this process has another version of the library than the caller, or makes other networks.
    """
    if block.version != VERSION:
        came = f"this process has {VERSION} and the caller has {block.version}"
        raise argument_error("executor", "have the version of overlaps that the caller has", came)
    store = Store(block.store)
    status = store.read("status", block.region)
    missing = to_do(status)
    if not missing.any():  # a process has done the block, and died before it could say so
        return report(status)
    if missing.all():
        values = {name: np.full((*status.shape, *one.shape), one.fill, one.dtype) for name, one in block.kept.items()}
        values |= {name: np.full(status.shape, "", object) for name in ("error", DESCRIPTION)}
    else:
        values = {name: store.read(name, block.region) for name in block.kept}
        values |= {name: store.read(name, block.region).astype(object) for name in ("error", DESCRIPTION)}
    setups: dict[Place, Setup] = {}
    for place in (place for place in block.points.places() if missing[place]):
        made = built(block.build, block.points.at(place))
        if isinstance(made, Setup):
            setups[place] = made
        else:
            status[place], values["error"][place] = FAILED, made
    _compare(setups, block)
    for group in grouped(setups):
        _run_group({place: setups[place] for place in group}, block, status, values)
    computed = [place for place in setups if status[place] != FAILED]
    if computed and not (values[DESCRIPTION] != "").any():
        values[DESCRIPTION][computed[0]] = setups[computed[0]].description()
    store.write(block.region, values, status)
    return report(status)


def _compare(setups: Mapping[Place, Setup], block: Block) -> None:
    """Raise ValueError if `build` makes another network here than in the process of the caller."""
    if block.expected is None:
        return
    place, expected = block.expected
    if place in setups and not setups[place].fingerprint().fits(expected):
        came = f"at {block.points.at(place)} a process makes another network than the caller"
        mend = "Start its workers again, after each change of a module, and let `build` take random numbers from the point."
        raise argument_error("executor", "run the `build` of the caller", came, mend)


def _run_group(setups: Mapping[Place, Setup], block: Block, status: np.ndarray, values: dict[str, np.ndarray]) -> None:
    """Run setups that fit, and enter status and values of their points."""
    size = filled(len(setups), block.full)
    outcome = run(list(setups.values()), block.saves, size)
    if outcome.error:  # it may be that of one network alone
        alone = {place: begun(setup).error for place, setup in setups.items()}
        for place in [place for place, error in alone.items() if error]:
            status[place], values["error"][place] = FAILED, alone[place]
        setups = {place: setup for place, setup in setups.items() if not alone[place]}
        if not setups:
            return
        outcome = run(list(setups.values()), block.saves, size) if any(alone.values()) else outcome
    try:
        found = values_of(outcome, block.kept, block.rows, block.labels, len(setups))
    except ValueError as error:
        outcome = Outcome(None, f"ValueError: {error}")
        found = {}
    if outcome.error:
        for place in setups:
            status[place], values["error"][place] = FAILED, outcome.error
        return
    ends, texts = ends_of(found)
    for index, place in enumerate(setups):
        status[place], values["error"][place] = ends[index], texts[index]
        for name, one in found.items():
            values[name][place] = one[index]
