"""The modules that code belongs to and imports: whose they are, and their source, found without running any of their code."""

import contextlib
import dis
import importlib.util
import os
import sys
import sysconfig
import types
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

LIBRARIES = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(__file__).parents[1]))
SITE = {"site-packages", "dist-packages"}  # the names of folders of installed libraries
SCRIPTS = {"__main__", "__mp_main__"}  # the names of the module that Python runs; its file may be that of a launcher


def is_installed(module: str) -> bool:
    """Whether a module belongs to Python or to an installed library. If not, it is the user's own."""
    top = module.partition(".")[0]
    if top in SCRIPTS:
        return False
    files = (contents(sys.modules.get(name)).get("__file__") for name in (module, top))
    return top in sys.stdlib_module_names or any(is_of_library(file) for file in files if file)


def is_of_library(file: str) -> bool:
    """Whether a file belongs to Python or to an installed library."""
    return file.startswith(("<frozen", *(path + os.sep for path in LIBRARIES))) or not SITE.isdisjoint(Path(file).parts)


def imported_names(code: types.CodeType, names: dict[str, Any]) -> Iterator[str]:
    """The full names of the modules that code imports, with those that they are in, and of what it takes from them."""
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("EXTENDED_ARG", "CACHE")]
    for place, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            level, taken = steps[place - 2].argval, steps[place - 1].argval
            try:
                name = importlib.util.resolve_name("." * level + step.argval, _package(names))
            except ImportError:  # a relative import outside of a package, as when the function is called
                continue
            parts = name.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))
            yield from (f"{name}.{one}" for one in taken or () if one != "*")


def _package(names: dict[str, Any]) -> str:
    """The package of the module with these names, as Python finds it for relative imports."""
    package = names.get("__package__")
    if package is None:
        package = getattr(names.get("__spec__"), "parent", None)
    if package is None:
        name = names.get("__name__", "")
        package = name if "__path__" in names else name.rpartition(".")[0]
    return package


def source_of(module: str | types.ModuleType) -> Any:
    """The source of an own module, "installed" for one of a library, or None if there is no such module.

    None of its code runs.
    """
    if isinstance(module, types.ModuleType):
        return _source(contents(module).get("__file__"), contents(module).get("__loader__"))
    top = module.partition(".")[0]
    if top in SCRIPTS:
        return _source(contents(sys.modules.get(top)).get("__file__"), None)
    try:
        spec = _spec(top)
        if top in sys.stdlib_module_names or (spec is not None and is_of_library(spec.origin or "")):
            return "installed"
        spec = _spec(module)
    except (ImportError, ValueError, AttributeError):  # of a name that no module can have
        return None
    return None if spec is None else _source(spec.origin, spec.loader)


def _spec(name: str) -> ModuleSpec | None:
    """Where an import would find a module. importlib.util.find_spec would import the packages around it."""
    loaded = contents(sys.modules.get(name)).get("__spec__")
    if loaded is not None:
        return loaded
    around = name.rpartition(".")[0]
    folders = _folders(around) if around else None
    if around and not folders:
        return None
    for finder in sys.meta_path:
        with contextlib.suppress(KeyError):  # of a folder without a file in a package that is not imported
            spec = finder.find_spec(name, folders)
            if spec is not None:
                return spec
    return None


def _folders(package: str) -> list[str]:
    """The folders in which the modules of a package are."""
    spec = _spec(package)
    if spec is not None:
        return list(spec.submodule_search_locations or ())
    around, _, last = package.rpartition(".")  # a folder in a package that is not imported
    folders = [os.path.join(one, last) for one in (_folders(around) if around else sys.path)]
    return [one for one in folders if os.path.isdir(one)]


def _source(file: str | None, loader: Any) -> Any:
    """What is in the file of a module; "no file" for one without."""
    with contextlib.suppress(OSError, TypeError):
        return Path(file).read_bytes()  # pyright: ignore[reportArgumentType]
    with contextlib.suppress(Exception):  # a file in an archive, if it is one
        return loader.get_data(file)
    return "no file"


def contents(module: Any) -> dict[str, Any]:
    """The names in a module. Unlike getattr, this runs none of its code."""
    return getattr(module, "__dict__", {})
