"""Theories of networks with a random bulk: W = J + u v^T / N, where J is a random matrix that does not learn.

The radius g of the bulk is the radius of the disk that the eigenvalues of J fill. The entries of J have the variance g^2 / N.

- Nonlinear networks at N -> infinity (docs/bulk_nonlinear.md): `activity` computes the output and the variance of the activity,
  `fixed_points` computes stationary solutions and their stability.
- Linear networks (docs/bulk.md): `words` is the overlap matrix of words, and says which overlaps are visible. `speed` trains
  networks with bulks of several radii, and says how fast they learn.
- Linear networks by their words (docs/bulk_truncation.md): `truncation` computes what the order of a `BulkOverlaps` leaves out,
  and `learn_to_accuracy` finds the order that a run needs.
- Networks whose whole W was trained (docs/bulk_trained.md): `explained` says how much of what a network does and learns its
  initial W and a low-rank change explain.

This room computes from states, tasks and results of `learn`. It may not import studies or figures.
"""

from overlaps.bulk._activity import activity as activity
from overlaps.bulk._explained import explained as explained
from overlaps.bulk._fixed_points import fixed_points as fixed_points
from overlaps.bulk._learn_to_accuracy import learn_to_accuracy as learn_to_accuracy
from overlaps.bulk._speed import speed as speed
from overlaps.bulk._truncation import (
    Truncation as Truncation,
    truncation as truncation,
)
from overlaps.bulk._words import words as words
