"""Sweeps: one call that trains networks at many settings, in blocks, and writes them to one store on disk.

This room knows `learn`, its arguments and its Datasets. It may not know what kind of state or task it has, nor how a rule is
carried out, nor which kind of executor runs the blocks.
"""

from overlaps.sweeps._script import (
    Script as Script,
    summary as summary,
)
from overlaps.sweeps._stop import begin_worker as begin_worker
from overlaps.sweeps._sweep import sweep as sweep
