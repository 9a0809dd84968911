"""How many combinations of overlaps gradient flow can reveal, by exact arithmetic modulo a prime.

The outputs of a linear network are its Markov parameters h_0 = zm and h_k = zu vu^(k-1) vm. A task is a quadratic loss in them,
so that the flow it causes is a combination, with coefficients that the targets set, of the fields G' = -(S_k G + G S_k) with
S_k = 2 dh_k/dG. A direction of overlap space is null under all tasks and protocols exactly if it changes no output h and no
repeated Lie derivative L_a h, L_a L_b h, ... along such fields. These are polynomials in G with whole coefficients. Take the
rank of their derivatives modulo a prime, at a whole-numbered G. It is at most the rank over the rational numbers at this G,
which is at most the rank at almost every G. So it proves a lower bound of what is revealed.

Derivatives come from nilpotent numbers: arrays (2^n, ...) hold the coefficients of the products of e_0 ... e_(n-1), e_i^2 = 0.
"""

import itertools

import numpy as np

PRIME = 1_000_003


def product(one, other):
    result = np.zeros((len(one), *np.broadcast_shapes(one.shape[1:-2], other.shape[1:-2]), one.shape[-2], other.shape[-1]), int)
    for whole in range(len(one)):
        for part in range(whole + 1):
            if part & whole == part:
                result[whole] = (result[whole] + one[part] @ other[whole ^ part]) % PRIME
    return result


def transposed(array):
    return array.swapaxes(-1, -2)


class Network:
    def __init__(self, inputs, rank, outputs):
        self.size, self.markov_parameters = inputs + 2 * rank + outputs, 2 * rank + 1
        ends = np.cumsum([0, inputs, rank, rank, outputs])
        self.m, self.u, self.v, self.z = (slice(*pair) for pair in itertools.pairwise(ends))

    def outputs(self, gram):
        left, vm, vu = gram[..., self.z, self.u], gram[..., self.v, self.m], gram[..., self.v, self.u]
        found = [gram[..., self.z, self.m]]
        for _ in range(self.markov_parameters - 1):
            found.append(product(left, vm))
            left = product(left, vu)
        return found

    def field(self, gram, weights):
        """-(S G + G S) for the sum of weights[k] * h_k over k."""
        zu, vm, vu = gram[..., self.z, self.u], gram[..., self.v, self.m], gram[..., self.v, self.u]
        lefts, rights = [zu], [vm]
        for _ in range(self.markov_parameters - 2):
            lefts.append(product(lefts[-1], vu))
            rights.append(product(vu, rights[-1]))
        slope = np.zeros_like(gram)
        slope[0, ..., self.z, self.m] += weights[0]
        for k, weight in enumerate(weights[1:]):
            constant = np.zeros((len(gram), *[1] * (gram.ndim - 3), *weight.shape), int)
            constant[0] = weight
            slope[..., self.z, self.u] += product(constant, transposed(rights[k]))
            slope[..., self.v, self.m] += product(transposed(lefts[k]), constant)
            for a in range(k):
                both = product(product(transposed(lefts[a]), constant), transposed(rights[k - 1 - a]))
                slope[..., self.v, self.u] += both
        slope = (slope + transposed(slope)) % PRIME
        return -(product(slope, gram) + product(gram, slope)) % PRIME


def revealed(inputs, rank, outputs, levels=3, fields=12, seed=0):
    """The ranks of the outputs, with their first Lie derivatives, with their second ones, ... at a random whole-numbered G."""
    rng, network = np.random.default_rng(seed), Network(inputs, rank, outputs)
    start = rng.integers(1, 50, (network.size,) * 2)
    rows, columns = np.triu_indices(network.size)
    steps = np.zeros((len(rows), network.size, network.size), int)
    steps[range(len(rows)), rows, columns] = steps[range(len(rows)), columns, rows] = 1
    derivatives, ranks = [], []
    for level in range(levels):
        for _ in range(fields * level or 1):
            gram = np.zeros((2 ** (1 + level), *steps.shape), int)
            gram[0], gram[1] = start + start.T, steps
            for place in range(level):
                weights = rng.integers(0, PRIME, (network.markov_parameters, outputs, inputs))
                change = network.field(gram, weights)
                with_step = np.flatnonzero(np.arange(len(gram)) & (2 << place))
                gram[with_step] = (gram[with_step] + change[with_step ^ (2 << place)]) % PRIME
            derivatives += [each[-1].reshape(len(rows), -1).T for each in network.outputs(gram)]
        ranks.append(matrix_rank(np.concatenate(derivatives)))
    return ranks


def matrix_rank(matrix):
    matrix, rank = matrix % PRIME, 0
    for column in range(matrix.shape[1]):
        pivots = rank + np.flatnonzero(matrix[rank:, column])
        if len(pivots):
            matrix[[rank, pivots[0]]] = matrix[[pivots[0], rank]]
            matrix[rank] = matrix[rank] * pow(int(matrix[rank, column]), -1, PRIME) % PRIME
            below = matrix[rank + 1 :, column, None]
            matrix[rank + 1 :] = (matrix[rank + 1 :] - below * matrix[rank]) % PRIME
            rank += 1
    return rank
