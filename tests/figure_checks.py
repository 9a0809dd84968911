"""Checks of the looks of a figure: does a text or a legend lie over something else?"""

import itertools

import numpy as np

SLACK = 1.5  # pixels by which neighbours may overlap


def _boxes(figure):
    """The boxes of all that may not overlap: legends, titles, texts above the Axes, Axes, and what stands beside them."""
    draw = figure.canvas.get_renderer()
    places = list(figure.axes)
    for ax in figure.axes:
        places += ax.child_axes
    for legend in figure.legends:
        yield "legend of the figure", legend.get_window_extent(draw)
    for number, ax in enumerate(places):
        if not ax.axison:
            continue
        name = f"Axes {number}"
        yield name, ax.get_window_extent(draw)
        if ax.get_legend() is not None:
            yield f"legend of {name}", ax.get_legend().get_window_extent(draw)
        inside = ax.get_window_extent(draw)
        above = [text for text in ax.texts if text.get_text() and text.get_window_extent(draw).y0 >= inside.y1 - 3]
        for text in [ax.title, *above]:
            if text.get_text():
                yield f"text {text.get_text()!r} of {name}", text.get_window_extent(draw)
        for axis in (ax.xaxis, ax.yaxis):
            if axis.label.get_text():
                yield f"label {axis.label.get_text()!r} of {name}", axis.label.get_window_extent(draw)


def _tick_labels(figure):
    draw = figure.canvas.get_renderer()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
            low, high = sorted(axis.get_view_interval())
            ticks = axis.get_major_ticks()
            labels = [
                label
                for tick in ticks
                for label in (tick.label1, tick.label2)
                if label.get_visible() and label.get_text() and low <= tick.get_loc() <= high
            ]
            yield [(label.get_text(), label.get_window_extent(draw)) for label in labels]


def _overlap(one, other):
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width > SLACK and height > SLACK


def faults(figure):
    """What is wrong with a figure, in words: boxes that overlap, or that leave the figure. Draws the figure."""
    figure.canvas.draw()
    boxes = [(name, box) for name, box in _boxes(figure) if box.width > 0 and box.height > 0]
    found = [f"{one} over {other}" for (one, a), (other, b) in itertools.combinations(boxes, 2) if _overlap(a, b)]
    for labels in _tick_labels(figure):
        found += [f"tick {one} over tick {other}" for (one, a), (other, b) in itertools.pairwise(labels) if _overlap(a, b)]
    width, height = figure.canvas.get_width_height(physical=True)
    for name, box in boxes:
        if np.any(np.array([box.x0, box.y0, width - box.x1, height - box.y1]) < -SLACK):
            found.append(f"{name} leaves the figure")
    return found
