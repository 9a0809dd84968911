"""Digests of things without a name: what changes what they do changes them, and nothing else does."""

import base64
import cProfile
import dataclasses
import functools
import importlib
import logging
import sys
import tempfile
import threading
import time
import types
import zipfile
import zlib
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import overlaps as ov
from overlaps.learning._describe import comparable, describe, difference, equal, restore
from overlaps.learning._digest import digest

NET, A, RNN = ov.Overlaps.random(0), ov.tasks.exponential_filter(horizon=4.0), ov.RNN(dt=0.1)


def captured(thing):
    return lambda rate: optax.chain(thing, optax.sgd(rate))


def scaled(function, factor):
    @functools.wraps(function)
    def wrapper(x):
        return factor * function(x)

    return wrapper


def with_rule(slope):
    @jax.custom_jvp
    def rate(h):
        return jnp.tanh(h)

    rate.defjvp(lambda primals, tangents: (jnp.tanh(primals[0]), slope * tangents[0]))
    return rate


def jitted(place):
    return jax.jit(lambda x, n: x, static_argnums=place)


def with_method(factor):
    class Called:
        def __call__(self, h):
            return self.scaled(h)

        if factor == 1.0:

            def scaled(self, h):
                return jnp.tanh(h)
        else:

            def scaled(self, h):
                return 0.5 * jnp.tanh(h)

    return Called()


def with_attribute(factor):
    return type("Called", (), {"factor": factor, "__call__": lambda self, h: self.factor * h})()


def with_base(factor):
    base = type("Base", (), {"factor": factor})
    return type("Called", (base,), {"__call__": lambda self, h: self.factor * h})()


def with_slots(factor):
    @dataclasses.dataclass(slots=True)
    class Called:
        values: np.ndarray

    held = Called(np.where(np.arange(10_001) == 5000, factor, 0.0))
    return lambda h: held.values[5000] * h


def with_array(factor):
    held = xr.DataArray(np.where(np.arange(10_001) == 5000, factor, 0.0), dims="x")
    return lambda h: float(held[5000]) * h


def with_configuration(factor):
    held: Any = type("Configuration", (), {"factor": factor})
    return lambda h: held.factor * h


def with_generator(seed):
    held = np.random.default_rng(seed)
    return lambda h: held.uniform() * h


def with_key(kind):
    held = jax.random.key(1, impl=kind)
    return lambda h: jax.random.normal(held) * h


class LinearFilter:
    """A class of a user with the name of one of the library."""

    def __init__(self, rate):
        self.rate = rate


MAKERS = {
    "a schedule of optax": (lambda d: lambda rate: optax.sgd(optax.exponential_decay(1e-2, 10, d)), 0.5, 0.9),
    "a schedule that was made before": (
        lambda d: captured(optax.scale_by_schedule(optax.exponential_decay(1.0, 9, d))),
        0.5,
        0.9,
    ),
    "a piecewise schedule": (
        lambda c: captured(optax.scale_by_schedule(optax.piecewise_constant_schedule(1.0, {9: c}))),
        0.5,
        0.1,
    ),
    "a transformation of optax": (lambda momentum: captured(optax.trace(momentum)), 0.5, 0.9),
    "a chain of optax": (lambda c: captured(optax.chain(optax.add_decayed_weights(c))), 0.5, 0.1),
    "a function that is wrapped": (lambda factor: scaled(jnp.tanh, factor), 1.0, 0.5),
    "a derivative of one's own": (with_rule, 1.0, 0.5),
    "static arguments": (jitted, 0, 1),
    "code of a method": (with_method, 1.0, 0.5),
    "an attribute of a class": (with_attribute, 1.0, 0.5),
    "an attribute of a base class": (with_base, 1.0, 0.5),
    "a class in a closure": (with_configuration, 1.0, 0.5),
    "slots": (with_slots, 1.0, 0.5),
    "a long array of xarray": (with_array, 1.0, 0.5),
    "a dict": (lambda factor: (lambda held: lambda h: held["factor"] * h)({"factor": factor}), 1.0, 0.5),
    "a namespace": (lambda factor: (lambda held: lambda h: held.factor * h)(types.SimpleNamespace(factor=factor)), 1.0, 0.5),
    "a default argument": (lambda factor: lambda h, factor=factor: factor * h, 1.0, 0.5),
    "a keyword of a partial": (lambda factor: functools.partial(lambda h, factor: factor * h, factor=factor), 1.0, 0.5),
    "a complex array": (lambda factor: (lambda held: lambda h: held[0].real * h)(np.array([factor + 0j])), 1.0, 0.5),
    "an array of objects": (lambda factor: (lambda held: lambda h: held[0] * h)(np.array([factor], object)), 1.0, 0.5),
    "an int and a float": (lambda power: lambda h: h**power, 2, 2.0),
    "the seed of a generator": (with_generator, 0, 1),
    "the kind of a key": (with_key, "rbg", "unsafe_rbg"),
    "a class with a name of the library": (LinearFilter, 1.0, 0.5),
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_does_another_thing_has_another_digest(name):
    make, one, other = MAKERS[name]
    assert digest(make(one)) == digest(make(one)) != digest(make(other))
    assert describe(make(one))["digest"] == digest(make(one))  # none of them counts as a thing with a name


@pytest.fixture
def library(tmp_path, monkeypatch):
    (tmp_path / "my_library").mkdir()
    (tmp_path / "my_library" / "__init__.py").write_text("from my_library import inner\n")
    source = "import optax\nMOMENTUM = 0.5\nOTHER = 1\ndef helper(rate):\n    return optax.sgd(rate, momentum=MOMENTUM)\n"
    (tmp_path / "my_library" / "inner.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("my_library")
    for name in ("my_library", "my_library.inner"):
        sys.modules.pop(name, None)


def test_digests_follow_functions_into_modules_of_the_user(library, monkeypatch):
    inner = library.inner
    functions = [
        eval("lambda rate: my_library.inner.helper(rate)", {"__name__": "user", "my_library": library}),
        eval("lambda rate: inner.helper(rate)", {"__name__": "user", "inner": inner}),
        eval("lambda rate: helper(rate)", {"__name__": "user", "helper": inner.helper}),
        eval("lambda rate: [inner.helper(rate) for _ in range(2)][0]", {"__name__": "user", "inner": inner}),
    ]
    before = [digest(one) for one in functions]
    monkeypatch.setattr(inner, "OTHER", 2)
    assert [digest(one) for one in functions] == before
    monkeypatch.setattr(inner, "MOMENTUM", 0.9)
    for one, other in zip(functions, before, strict=True):
        assert digest(one) != other


def test_digests_know_the_source_of_modules_that_a_function_imports_or_hands_on(library):
    def imports(rate):
        import my_library.inner  # pyright: ignore[reportMissingImports]

        return my_library.inner.helper(rate)

    hands_on = eval("lambda rate: vars(inner)['helper'](rate)", {"inner": library.inner})
    before = digest(imports), digest(hands_on)
    with open(library.inner.__file__, "a") as file:
        file.write("MOMENTUM = 0.9\n")
    assert digest(imports) != before[0]
    assert digest(hands_on) != before[1]


PACKAGE = {
    "mine/__init__.py": "raise SystemExit('a digest ran this file')",
    "mine/losses.py": "FACTOR = 1.0",
    "mine/deep/inner.py": "FACTOR = 1.0",
    "mine/deep/deeper/innermost.py": "FACTOR = 1.0",
}
IMPORTS = {
    "import mine.losses": "mine/losses.py",
    "from mine import losses": "mine/losses.py",
    "from mine.losses import FACTOR": "mine/losses.py",
    "from .losses import FACTOR": "mine/losses.py",
    "from . import losses": "mine/losses.py",
    "from .deep import inner": "mine/deep/inner.py",
    "from .deep.deeper import innermost": "mine/deep/deeper/innermost.py",
    "from . import deep": "mine/__init__.py",
}


@pytest.mark.parametrize("line", IMPORTS)
@pytest.mark.parametrize("known", [{"__package__": "mine"}, {"__name__": "mine.user"}])
def test_digests_know_what_a_function_imports_without_running_it(tmp_path, monkeypatch, line, known):
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = dict(known)
    exec(f"def function(h):\n    {line}", names)
    before = digest(names["function"])
    assert digest(names["function"]) == before
    (tmp_path / "mine" / "unused.py").write_text("FACTOR = 1.0")
    assert digest(names["function"]) == before
    (tmp_path / IMPORTS[line]).write_text("FACTOR = 2.0\nraise SystemExit('a digest ran this file')")
    assert digest(names["function"]) != before
    assert "mine" not in sys.modules


def test_digests_know_the_source_of_modules_in_archives(tmp_path, monkeypatch):
    found = []
    for factor in (1, 2):
        path = tmp_path / str(factor) / "mine.zip"
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archived.py", f"FACTOR = {factor}")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(path)
            names: dict[str, Any] = {}
            exec("def function(h):\n    import archived", names)
            found.append(digest(names["function"]))
    assert found[0] != found[1]


def test_a_relative_import_outside_of_a_package_has_a_digest():
    names: dict[str, Any] = {"__name__": "alone"}
    exec("def function(h):\n    from .losses import FACTOR", names)
    assert digest(names["function"]) == digest(names["function"])


def test_digests_do_not_ask_modules_for_names_that_they_make_when_asked(monkeypatch):
    def asked(name):
        raise SystemExit("a digest ran this function")

    lazy: Any = types.ModuleType("lazy")
    lazy.__getattr__ = asked
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    function = eval("lambda h: lazy.thing(h)", {"lazy": lazy})
    assert digest(function) == digest(function)


@pytest.mark.parametrize("name", ["__main__", "__mp_main__"])
def test_classes_of_a_script_are_those_of_the_user(monkeypatch, name):
    launcher = types.ModuleType(name)
    launcher.__file__ = cProfile.__file__  # as under python -m cProfile script.py
    monkeypatch.setitem(sys.modules, name, launcher)
    one, other = (type("Phi", (), {"__module__": name, "factor": factor})() for factor in (1.0, 2.0))
    assert digest(one) != digest(other)


VALUES = [0, 1, 1.0, True, False, -0.0, 0.0, None, "1", b"1", "a", b"a", 1 + 0j, ..., 10**5000, "\ud800", "", b"", (), [], {}]


@pytest.mark.parametrize("held", [lambda x: x, lambda x: [x], lambda x: (x, 1), lambda x: {1: [x]}, lambda x: [x, len]])
def test_plain_values_are_told_apart_alone_and_inside_of_others(held):
    assert len({digest(held(one)) for one in VALUES}) == len(VALUES)


def test_digests_do_not_depend_on_what_is_held_twice():
    def text():
        return "".join(["a", "b c"])  # another object each time

    once, twice = text(), [(1.5, text()), (1.5, text())]
    assert digest([(1.5, once)] * 2) == digest(twice)
    assert digest([[[[(1.5, once)] * 2]]]) == digest([[[twice]]])
    assert digest({"a": 1, "b": [1]}) != digest({"b": [1], "a": 1}) != digest({"a": [1], "b": 1})
    tree = ["x"]
    for _ in range(100):
        tree = [tree, tree]
    assert digest(tree) == digest(tree)


def test_digests_of_many_numbers_are_quick():
    numbers = [float(one) for one in range(10**6)]
    pairs = {one: (one, float(one)) for one in range(3 * 10**5)}
    start = time.process_time()
    digest([numbers, pairs])
    assert time.process_time() - start < 1.5  # 0.2 s; 4.6 s if each number has a digest of its own


def test_what_differs_in_each_process_is_hidden():
    for make in (threading.Thread, tempfile.NamedTemporaryFile, tempfile.TemporaryDirectory):
        one, other = make(), make()
        assert digest(one) == digest(other) != digest([])
        for thing in (one, other):
            getattr(thing, "cleanup", getattr(thing, "close", lambda: None))()
    threads = [threading.Thread(target=lambda: None) for _ in range(2)]
    threads[0].start()
    threads[0].join()
    assert digest(threads[0]) == digest(threads[1])


def test_a_deleted_array_has_a_digest():
    for array in (jnp.ones(3), jax.random.key(0)):
        array.delete()
        assert digest([array]) == digest([array])


tanh = 1.0  # has the name of an attribute that the function below reads of another module
log = logging.getLogger("digests")


def logs(h):
    log.debug("h")
    return jnp.tanh(h)


class Remembers:
    """An object with a value that is computed when it is first asked for."""

    @functools.cached_property
    def factor(self):
        return 2.0

    def __call__(self, h):
        return self.factor * h


def test_digests_stay_when_nothing_changed(monkeypatch):
    things = [
        logs,
        Remembers(),
        jax.jit(lambda h: jnp.tanh(h)),
        scaled(jax.vmap(lambda h: h), 2.0),
        with_array(1.0),
        with_rule(1.0),
    ]
    before = [digest(one) for one in things]
    monkeypatch.setattr(sys.modules[__name__], "tanh", 2.0)
    for thing in things:
        thing(jnp.ones(2))
    assert [digest(one) for one in things] == before
    schedule = captured(optax.scale_by_schedule(optax.warmup_cosine_decay_schedule(0, 1, 10, 100)))
    first = digest(schedule)
    optimizer = schedule(0.1)
    optimizer.update(jnp.ones(3), optimizer.init(jnp.ones(3)), jnp.ones(3))
    assert digest(schedule) == first


def test_digests_of_rings_and_of_what_cannot_be_taken_apart():
    ring = []
    ring.append(ring)
    assert digest(ring) == digest(ring) != digest([[]])
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert digest(deep) == "nested too deeply"
    with pytest.raises(ValueError, match="`store` must be None for a run that uses objects nested in hundreds of others"):
        ov.learn(
            NET, A, RNN, ov.GradientDescent(1e-2, 3, captured(optax.identity()._replace(init=lambda _: deep))), store="unused"
        )
    hidden = (one for one in range(3))
    assert digest(hidden) == digest(hidden)


def test_numbers_that_json_does_not_know_are_described():
    for array in (np.array([1 + 2j]), np.array(["2026-01-01"], "M8[D]"), np.array([b"a"])):
        described = describe({"a": array})
        np.testing.assert_array_equal(restore(described)["a"], array)
        assert described["a"]["dtype"] == array.dtype.str


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_of_another_kind_are_described_with_their_kind(kind):
    keys = jax.random.split(jax.random.key(1, impl=kind), 2)
    described = describe(keys)
    numbers = np.asarray(jax.random.key_data(keys)).tolist()
    if kind == "threefry2x32":
        assert described == numbers
    else:
        assert described == {"random_key": kind, "numbers": numbers}
        assert jax.random.key_impl(restore(described)) == jax.random.key_impl(keys)
        np.testing.assert_array_equal(jax.random.key_data(restore(described)), numbers)


def test_equal_rules_are_equal_however_they_are_written():
    def same(one, other):
        return equal(*(comparable(describe(rule)) for rule in (one, other)))

    descent, flow = functools.partial(ov.GradientDescent, 1e-2, 30), ov.GradientFlow
    assert same(descent(rates={"m": 0, "u": 0.5}), descent(rates={"u": 0.5, "m": 0}))
    assert same(descent(rates={}), descent())
    assert not same(descent(rates={"m": 0}), descent())
    assert same(flow(), flow(solver=diffrax.Tsit5()))
    assert not same(flow(), flow(solver=diffrax.Dopri8()))
    assert equal([float("nan")], [float("nan")])


def test_arrays_are_compared_by_their_numbers():
    array = np.arange(2000.0)
    fast = describe(array) | {"packed": base64.b64encode(zlib.compress(array.tobytes(), 1)).decode()}
    assert fast != describe(array)
    assert comparable(fast) == comparable(describe(array)) != comparable(describe(array + 1))


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        ([1, 2], [1, 2, 3], ("task", "a list of 2", "a list of 3")),
        ({"a": None}, {"a": 1}, ("task.a", "None", "1")),
        ({"a": float("nan"), "b": 1}, {"a": float("nan"), "b": 2}, ("task.b", "1", "2")),
        (
            {"opaque": "<function f>", "digest": "1"},
            {"opaque": "<function f>", "digest": "2"},
            ("task.digest", '"<function f>"', "one with other code, or with other values that its code refers to,"),
        ),
    ],
)
def test_a_difference_can_be_read(there, here, expected):
    assert difference("task", there, here) == expected


def test_texts_beside_digests_do_not_count():
    one, other = {"opaque": "{'a', 'b'}", "digest": "1"}, {"opaque": "{'b', 'a'}", "digest": "1"}
    assert equal([one], [other])
    assert not equal([one], [one | {"digest": "2"}])


def test_of_long_texts_the_part_that_differs_is_shown():
    _, there, here = difference("x", "a" * 100 + "b", "a" * 100 + "c")
    assert there.endswith('b"')
    assert here.endswith('c"')
