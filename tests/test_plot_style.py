"""The style of the figures, and the colours of overlaps as readers see them who do not see red or green."""

import itertools
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

import overlaps as ov

FAMILIES = [pair.label for pair in ov.Overlaps.random(0).layout.pairs]
# Machado, Oliveira and Fernandes (2009), severity 1: what is left of linear RGB without one of the three kinds of cones.
SEEN = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # of linear sRGB


def lab(colour, cones):
    """CIE L*a*b* of a colour, as these cones see it: distances of 2 are just noticed, those of 10 at a glance."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(np.array(cones) @ linear, 0, 1) / XYZ.sum(1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def closest(colours, cones):
    return min(np.linalg.norm(lab(one, cones) - lab(other, cones)) for one, other in itertools.combinations(colours, 2))


@pytest.mark.parametrize("cones", SEEN.values(), ids=SEEN)
def test_colours_can_be_told_apart(cones):
    colours = [ov.plots.overlap_colour(name) for name in FAMILIES]
    assert closest(colours, cones) > 15
    with ov.plots.style():
        cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    assert closest(cycle, cones) > 15


def test_the_check_finds_red_beside_green():
    red_and_green = ["#A03020", "#606020"]
    assert closest(red_and_green, SEEN["deuteranopia"]) < 15 < 40 < closest(red_and_green, SEEN["all cones"])


def test_an_overlap_has_one_colour_and_a_family_one_hue():
    colour = ov.plots.overlap_colour
    assert colour("uz") == colour("zu") == colour("z1u1") == colour("z1 u1") == colour("u1z")
    assert colour("v1u2") == colour("u2v1") != colour("v2u1") == colour("u1v2")
    assert colour("u1u2") == colour("u2u1")
    for sizes in ({"rank": 2}, {"inputs": 2, "rank": 3, "outputs": 2}, {"inputs": 2, "rank": 2, "bias": True}):
        layout = ov.Overlaps.random(0, **sizes).layout
        looks = [str(ov.plots.overlap_style(pair.label)) for pair in layout.pairs]
        if max(layout.counts.values()) < 3:
            assert len(set(looks)) == len(looks)
    assert {ov.plots.overlap_style(name)["linestyle"] for name in FAMILIES} == {"-"}
    constants = ("zb", "vb", "bu", "mb", "bb", "zh", "vh", "hu", "mh", "bh", "hh")
    assert len({str(ov.plots.overlap_style(name)) for name in (*FAMILIES, *constants)}) == 21


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "docs/images").glob("*.png")), ids=lambda path: path.stem)
def test_pictures_of_the_site_are_small_and_as_wide_as_it_shows_them(path):
    content = path.read_bytes()
    width = int.from_bytes(content[16:20], "big")  # in the header of a PNG file
    assert len(content) < 150_000
    assert 700 <= width <= 1400


@pytest.mark.parametrize("name", ["u", "loss", "zu1x", "xu", "", None, 3])
def test_what_is_no_overlap_has_no_colour(name):
    with pytest.raises(ValueError, match="`name` must be the label of an overlap"):
        ov.plots.overlap_colour(name)


def test_the_style_holds_inside_alone():
    before = mpl.rcParams["font.size"], mpl.rcParams["pdf.fonttype"]
    with ov.plots.style():
        assert (mpl.rcParams["font.size"], mpl.rcParams["pdf.fonttype"], mpl.rcParams["svg.fonttype"]) == (8, 42, "none")
        width = plt.figure().get_figwidth()
        plt.close("all")
        assert width == 3.4
    assert (mpl.rcParams["font.size"], mpl.rcParams["pdf.fonttype"]) == before
