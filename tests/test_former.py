"""Former module names: they lead to where modules are, with a warning, and to nothing else."""

import importlib
import sys

import pytest

from muad.former import MOVED


@pytest.fixture(autouse=True)
def _forget() -> None:
    for name in [f"muad.{former}" for former in MOVED] + ["muad.data"]:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("former", sorted(MOVED))
def test_a_former_name_has_what_the_module_has(former: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"muad\.{former} is muad\.{MOVED[former]} now"):
        found = importlib.import_module(f"muad.{former}")
    now = importlib.import_module(f"muad.{MOVED[former]}")
    names = [name for name in vars(now) if not name.startswith("_")]
    assert names or hasattr(now, "__path__")
    assert all(getattr(found, name) is getattr(now, name) for name in names)
    assert now.__spec__ is not None
    assert now.__spec__.name == now.__name__ == f"muad.{MOVED[former]}"


def test_the_warning_points_at_the_import_statement() -> None:
    with pytest.warns(DeprecationWarning, match="next release") as caught:
        from muad.data.transforms import Preprocessing
    assert Preprocessing.__module__ == "muad.images.preprocessing"
    assert {warning.filename for warning in caught} == {__file__}


def test_modules_of_a_moved_package_are_found() -> None:
    with pytest.warns(DeprecationWarning, match="goes with the next release"):
        found = importlib.import_module("muad.data.toy_factory.products")
    assert found.PRODUCTS is importlib.import_module("muad.toy_factory.products").PRODUCTS


def test_what_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"muad\.nothing"):
        importlib.import_module("muad.nothing")
