"""Theories of networks with a random bulk: W = J + u v^T / N, where J is a random matrix that does not learn.

- Networks whose whole W was trained (docs/bulk_trained.md): `explained` says how much of what a network does and learns its
  initial W and a low-rank change explain.

This room computes from states, tasks and results of `learn`. It may not import studies or figures.
"""

from overlaps.bulk._explained import explained as explained
