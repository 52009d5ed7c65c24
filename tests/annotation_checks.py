# SPDX-License-Identifier: MIT
"""Keeps annotations true: every call into the package is held against its types and shapes while the tests run."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import Any

import beartype
import jaxtyping
import torch

__all__ = ["checked", "install"]

# an int is a float (PEP 484), as for every Python reader
_TYPECHECKER = beartype.beartype(
    conf=beartype.BeartypeConf(is_pep484_tower=True, violation_type=jaxtyping.TypeCheckError)
)


def checked(item: Any) -> Any:
    """The function (or dataclass) `item`, raising `TypeCheckError` where a call that it accepts breaks an annotation.

    A call that breaks an annotation and that the function refuses itself ends in the function's own words, so tests of
    error messages see what a user sees. While torch compiles, exports or traces, nothing is checked.
    """
    if isinstance(item, type):
        if getattr(item, "_is_protocol", False):
            return typing.runtime_checkable(item)
        # plain classes are checked method by method; a dataclass has an __init__ that no source line shows
        if "__dataclass_fields__" in vars(item) and "__init__" in vars(item):
            item.__init__ = checked(item.__init__)
        return item
    if isinstance(item, classmethod | staticmethod):
        return type(item)(checked(item.__func__))
    if not inspect.isfunction(item) or inspect.isgeneratorfunction(item):
        return item
    guarded = _guarded(item)
    broken, is_compiling = jaxtyping.TypeCheckError, torch.compiler.is_compiling
    is_tracing = torch.fx._symbolic_trace.is_fx_symbolic_tracing

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if is_compiling() or is_tracing():
            return item(*args, **kwargs)
        try:
            return guarded(*args, **dict(kwargs))
        except broken:
            item(*args, **kwargs)
            raise

    # the annotations are strings, and torch.library reads them in the globals of the function it is given
    moved = types.FunctionType(wrapper.__code__, item.__globals__, item.__name__, None, wrapper.__closure__)
    return functools.update_wrapper(moved, item)


def _guarded(item: types.FunctionType) -> Callable[..., Any]:
    """The function with its annotations checked; those without shapes many times as fast as jaxtyping would do it."""
    annotations = {name: _resolved(annotation, item.__globals__) for name, annotation in item.__annotations__.items()}
    if any(map(_has_shape, annotations.values())):
        return jaxtyping.jaxtyped(item, typechecker=_TYPECHECKER)
    twin = types.FunctionType(item.__code__, item.__globals__, item.__name__, item.__defaults__, item.__closure__)
    twin = functools.update_wrapper(twin, item)
    twin.__kwdefaults__, twin.__annotations__ = item.__kwdefaults__, annotations
    return _TYPECHECKER(twin)


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    """What an annotation stands for; Any where one of its names is not defined yet."""
    try:
        hints = typing.get_type_hints(
            types.SimpleNamespace(__annotations__={"": annotation}), names, include_extras=True
        )
    except (NameError, AttributeError):
        return Any
    return hints[""]


def _has_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    # the arguments of a Callable are in a list
    return any(map(_has_shape, hint if isinstance(hint, list) else typing.get_args(hint)))


class _Decorate(ast.NodeTransformer):
    """Adds `@checked` to every function, innermost, and to every class, outermost."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        decorator = ast.Name("__checked__", ast.Load())
        node.decorator_list.append(ast.copy_location(decorator, node))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.decorator_list.insert(0, ast.copy_location(ast.Name("__checked__", ast.Load()), node))
        return node


class _Loader(SourceFileLoader):
    """Compiles a module with its functions decorated; leaves the byte code cache alone."""

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        tree = ast.fix_missing_locations(_Decorate().visit(ast.parse(self.get_data(path), path)))
        return compile(tree, path, "exec", dont_inherit=True)

    def exec_module(self, module: Any) -> None:
        module.__checked__ = checked
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the modules of one package where Python finds them, and gives them the checking loader."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if fullname.split(".")[0] != self.package:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install(package: str) -> Callable[[], None]:
    """Check every module of `package` imported from now on; returns the function that ends it."""
    finder = _Finder(package)
    sys.meta_path.insert(0, finder)
    return lambda: sys.meta_path.remove(finder)
