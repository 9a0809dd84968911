"""What the command line saves when Ctrl-C or a divergence ends it early."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from tqdm.auto import tqdm

import overlaps as ov
from overlaps.__main__ import main

pytestmark = pytest.mark.slow

STEPS = 300
SMALL = ["--neurons", "12", "--steps", str(STEPS), "--seed", "3"]
# Ctrl-C at a given place: after so many steps of the run of that number, 0 for theory and 1 for the network.
INTERRUPTED = """
import signal, sys, jax
from tqdm.auto import tqdm
jax.config.update("jax_enable_x64", True)
from overlaps.__main__ import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent may have it ignored
update, finished = tqdm.update, []

def interrupt(bar, n=1):
    update(bar, n)
    if bar.n >= bar.total:
        finished.append(bar)
    elif len(finished) == 1 and bar.n >= bar.total / 2:
        signal.raise_signal(signal.SIGINT)

tqdm.update = interrupt
main(sys.argv[1:])
"""


def interrupt_at(monkeypatch, run, share):
    """Let Ctrl-C happen in run number `run` (from 0), when the fraction `share` of its progress bar is done."""
    update, finished = tqdm.update, []

    def interrupt(bar, n=1):
        update(bar, n)
        if len(finished) == run and bar.n >= share * bar.total:
            raise KeyboardInterrupt
        if bar.n >= bar.total:
            finished.append(bar)

    monkeypatch.setattr(tqdm, "update", interrupt)


def the_last_line(text):
    """The last line of what was written, without the progress bars, which end with a carriage return."""
    assert "Traceback" not in text
    return text.strip().splitlines()[-1].split("\r")[-1]


def test_a_signal_ends_the_program_with_130_and_what_it_saved_goes_on(tmp_path):
    command = [sys.executable, "-c", INTERRUPTED, *SMALL, "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    theory, network = (xr.load_dataset(tmp_path / f"{name}.nc") for name in ("theory", "network"))
    step = int(network["step"][-1])
    assert STEPS / 2 <= step < STEPS
    assert the_last_line(done.stderr) == (
        f"python -m overlaps: Interrupted. Saved: {tmp_path / 'theory.nc'} (step {STEPS} of {STEPS}), "
        f"{tmp_path / 'network.nc'} (step {step} of {STEPS})."
    )
    # The network goes on from the file to where the theory, which is exact here, has come in one go.
    task, rnn = ov.tasks.exponential_filter(rate=0.2, horizon=20.0), ov.RNN(dt=0.05)
    rest = ov.learn(ov.final_state(network), task, rnn, ov.GradientDescent(5e-3, STEPS - step))
    np.testing.assert_allclose(rest["sigma"][-1], theory["sigma"][-1], rtol=0, atol=1e-12)
    assert ov.final_state(network).n == 12


def test_an_interrupt_of_the_theory_saves_its_part(tmp_path, monkeypatch, capsys):
    interrupt_at(monkeypatch, run=0, share=0.3)
    with pytest.raises(SystemExit) as stop:
        main([*SMALL, "--output", str(tmp_path)])
    assert stop.value.code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["theory.nc"]
    theory = xr.load_dataset(tmp_path / "theory.nc")
    assert f"theory.nc (step {theory['step'].values[-1]} of {STEPS})" in the_last_line(capsys.readouterr().err)
    monkeypatch.undo()
    network = ov.Overlaps.random(3, n=12).sample(12, 4)
    whole = ov.learn(
        network.overlaps(), ov.tasks.exponential_filter(), ov.RNN(dt=0.05), ov.GradientDescent(5e-3, STEPS), STEPS + 1
    )
    np.testing.assert_allclose(theory["sigma"], whole["sigma"][theory["step"].values], rtol=0, atol=1e-13)


def test_an_interrupt_before_the_first_steps_saves_nothing_and_one_at_the_end_both(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ov, "learn", _interrupted)
    with pytest.raises(SystemExit) as stop:
        main([*SMALL, "--output", str(tmp_path)])
    assert stop.value.code == 130
    assert the_last_line(capsys.readouterr().err).endswith("Interrupted. Nothing is saved: no steps were recorded yet.")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setattr(ov.plots, "plot_comparison", _interrupted)
    with pytest.raises(SystemExit) as stop:
        main([*SMALL, "--output", str(tmp_path)])
    assert stop.value.code == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network.nc", "overlaps.nc", "theory.nc"]


def _interrupted(*_, **__):
    raise KeyboardInterrupt


def test_what_diverges_is_saved_too(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*SMALL, "--learning-rate", "5", "--output", str(tmp_path)])
    assert stop.value.code == 2
    theory = xr.load_dataset(tmp_path / "theory.nc")
    line = the_last_line(capsys.readouterr().err)
    assert "Learning stopped: at step" in line
    assert line.endswith(f"Saved: {tmp_path / 'theory.nc'} (step {theory['step'].values[-1]} of {STEPS}).")


@pytest.mark.parametrize("share", [0.1, 0.6])  # after the theory, and after the networks of one size
def test_an_interrupted_validation_says_that_it_saves_nothing(share, tmp_path, monkeypatch, capsys):
    interrupt_at(monkeypatch, 0, share)
    small = ["--preset", "filter", "--sizes", "12", "20", "--seeds", "2"]
    with pytest.raises(SystemExit) as stop:
        main(["validate", *small, "--output", str(tmp_path)])
    assert stop.value.code == 130
    assert the_last_line(capsys.readouterr().err) == (
        "python -m overlaps validate: Interrupted. "
        "Nothing is saved: a validation has no result before all of its networks are trained."
    )
    assert list(tmp_path.iterdir()) == []
