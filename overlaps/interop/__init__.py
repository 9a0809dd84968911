"""Networks from other programs, above all trained PyTorch networks: in, out, and down to low rank.

The page docs/interop.md has the equations of all conventions. PyTorch is not needed: arrays come from a mapping or a file.

- `from_state_dict` turns the arrays of a trained network into a `Network` or a `DenseNetwork`, with its `RNN`.
- `to_state_dict` turns a network into the arrays of a convention, and `to_torch` into a PyTorch module that can be trained.
- `low_rank` finds the low-rank part of a trained matrix W, and says what is lost without the rest.

This room reads and writes arrays of other programs. It may not know tasks, learning rules or studies.
"""

from overlaps.interop._export import to_state_dict as to_state_dict
from overlaps.interop._import import from_state_dict as from_state_dict
from overlaps.interop._low_rank import low_rank as low_rank
from overlaps.interop._torch import to_torch as to_torch
