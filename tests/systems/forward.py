"""Forward passes of trained networks as their programs compute them, in plain NumPy, one function for each convention.

All take arrays under the names of the convention, inputs (trials, time, I) and alpha = dt / tau, and return outputs
(trials, time, O). The formulas are those of docs/interop.md.
"""

import numpy as np


def over_time(step, start, inputs):
    """The outputs of a loop: `step` maps a hidden state and a sample to the next hidden state and the output."""
    hidden, outputs = np.broadcast_to(start, (len(inputs), np.size(start))), []
    for sample in np.moveaxis(inputs, 1, 0):
        hidden, output = step(hidden, sample)
        outputs.append(output)
    return np.stack(outputs, 1)


def vectors(d, inputs, alpha, phi=np.tanh, over=None):
    n = len(d["m"])
    recurrent, readout = over or (n, n)

    def step(h, x):
        h = h + alpha * (-h + phi(h) @ d["v"] @ d["u"].T / recurrent + x @ d["m"].T + d.get("b", 0))
        return h, phi(h) @ d["z"] / readout + d.get("c", 0)

    return over_time(step, d.get("h0", np.zeros(n)), inputs)


def weights(d, inputs, alpha, phi=np.tanh, over=(1, 1)):
    def step(h, x):
        h = h + alpha * (-h + phi(h) @ d["W"].T / over[0] + x @ d["m"].T + d.get("b", 0))
        return h, phi(h) @ d["z"] / over[1] + d.get("c", 0)

    return over_time(step, d.get("h0", np.zeros(len(d["W"]))), inputs)


def scaled(d, inputs, alpha, phi=np.tanh, over=None):
    """The conventions "low_rank" and "full_rank"."""
    n = len(d["wo"])
    recurrent, readout = over or (n if "m" in d else 1, n)
    W = (d["m"] @ d["n"].T if "m" in d else d["wrec"]) / recurrent
    wi = (d["wi"].T * d.get("si", 1)).T
    bias = d.get("b", 0)

    def step(h, x):
        h = h + alpha * (-h + phi(h + bias) @ W.T + x @ wi)
        return h, phi(h + bias) @ (d["wo"] * d.get("so", 1)) / readout

    return over_time(step, d.get("h0", np.zeros(n)), inputs)


def torch_rnn(d, inputs, phi=np.tanh):
    def step(r, x):
        r = phi(x @ d["weight_ih_l0"].T + d.get("bias_ih_l0", 0) + r @ d["weight_hh_l0"].T + d.get("bias_hh_l0", 0))
        return r, r @ d["weight"].T + d.get("bias", 0)

    return over_time(step, np.zeros(len(d["weight_hh_l0"])), inputs)


def input2h(d, inputs, alpha, phi, leak):
    def step(hidden, x):
        rates = phi(hidden) if leak == "activity" else hidden
        drive = x @ d["input2h.weight"].T + d["input2h.bias"] + rates @ d["h2h.weight"].T + d["h2h.bias"]
        if leak == "rates":
            hidden = (1 - alpha) * hidden + alpha * phi(drive)
        elif leak == "inside":
            hidden = phi((1 - alpha) * hidden + alpha * drive)
        else:
            hidden = (1 - alpha) * hidden + alpha * drive
        return hidden, (phi(hidden) if leak == "activity" else hidden) @ d["fc.weight"].T + d["fc.bias"]

    return over_time(step, np.zeros(len(d["h2h.weight"])), inputs)
