"""Names that users import, kinds that specs promise, and errors that cross processes."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import softreg_core
from softreg_core import errors
from softreg_core.engine.optimizer import OPTIMIZERS
from softreg_core.losses.registry import BASES, DIVERGENCES
from softreg_core.nets.registry import NETS
from softreg_core.spec import loss, net, optimizer
from softreg_core.spec.loss import LossSpec

ROOT = Path(softreg_core.__file__).parents[1]
MODULES = sorted(
    info.name for info in pkgutil.walk_packages(softreg_core.__path__, "softreg_core.") if "__main__" not in info.name
)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports_and_has_what_it_announces(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", ()):
        assert getattr(module, public) is not None


def kinds(union):
    members = get_args(get_args(union)[0]) if get_args(union) else (union,)
    return {member.model_fields["kind"].default for member in members}


@pytest.mark.parametrize(
    ("union", "builders"),
    [
        (loss.BaseSpec, BASES),
        (loss.DivergenceSpec, DIVERGENCES),
        (net.NetSpec, NETS),
        (optimizer.OptimizerSpec, OPTIMIZERS),
    ],
    ids=["bases", "divergences", "nets", "optimizers"],
)
def test_every_kind_in_the_spec_has_a_builder_and_the_other_way_round(union, builders):
    assert kinds(union) == set(builders)


def test_every_loss_has_a_method_card_and_no_card_is_of_a_loss_that_does_not_exist():
    cards = {path.stem for path in (ROOT / "docs" / "methods").glob("*.md")}
    assert cards == kinds(loss.BaseSpec) | kinds(loss.DivergenceSpec)


def test_every_base_and_divergence_is_built_or_refused_with_a_reason():
    from pydantic import ValidationError

    from softreg_core.losses import build_loss

    for base in kinds(loss.BaseSpec):
        for divergence in kinds(loss.DivergenceSpec):
            document = {"base": {"kind": base}, "divergence": {"kind": divergence}}
            if base == "cross_entropy":
                with pytest.raises(ValidationError, match="goes with base half_squared_error"):
                    LossSpec.model_validate(document)
            else:
                build_loss(LossSpec.model_validate(document))


def everything_below(cls):
    return [cls, *(found for child in cls.__subclasses__() for found in everything_below(child))]


CORE_ERRORS = [cls for cls in everything_below(errors.SoftregError) if cls.__module__ == "softreg_core.errors"]
ARGUMENTS = {
    errors.SpecError: ("two problems", (errors.Problem("/a", "b"), errors.Problem("/c", "d"))),
    errors.DataError: ("bad cell", "missing", 3, "age"),
    errors.NonFiniteLossError: ("gone", 7, "base", 1),
}


@pytest.mark.parametrize("cls", CORE_ERRORS, ids=lambda cls: cls.__name__)
def test_errors_cross_a_process_boundary_whole(cls):
    error = cls(*ARGUMENTS.get(cls, ("what happened",)))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes; process pools send errors so
    assert type(again) is cls
    assert str(again) == error.message
    assert again.details() == error.details()


def test_error_codes_are_unique_and_the_docstring_shows_the_whole_tree():
    codes = [cls.code for cls in CORE_ERRORS]
    assert len(set(codes)) == len(codes)
    assert set(re.findall(r"\w+Error", errors.__doc__)) == {cls.__name__ for cls in CORE_ERRORS}


def test_the_root_and_the_job_language_do_not_load_torch():
    program = (
        "import sys, softreg_core, softreg_core.spec.presets, softreg_core.errors, softreg_core.keyed; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_an_unknown_name_of_the_root_is_an_attribute_error():
    with pytest.raises(AttributeError, match="lod"):
        softreg_core.lod  # noqa: B018
