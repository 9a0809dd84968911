"""Train a rank-1 network in theory and in full, and compare: the ten lines of the README."""

import overlaps as ov

net = ov.Overlaps.random(0, rank=1)  # the overlaps of random vectors of 500 neurons; 0 is the seed
task = ov.tasks.exponential_filter(rate=0.2, horizon=20.0)  # respond to a pulse with exp(-0.2 t); times in units of tau
rnn = ov.RNN(phi="linear", dt=0.05)  # linear neurons, Euler steps of 0.05
rule = ov.GradientDescent(learning_rate=5e-3, steps=2000)

theory = ov.learn(net, task, rnn, rule)  # trains a symmetric 4 x 4 matrix: ten different numbers, no neurons
simulation = ov.learn(net.sample(100, key=1), task, rnn, rule)  # trains 100 neurons with the same overlaps
print(abs(theory.sigma - simulation.sigma).max().item())  # 3e-14: for linear networks the theory is exact

ov.plots.plot_comparison(theory, simulation).savefig("quickstart.png")
