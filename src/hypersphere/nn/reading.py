# SPDX-License-Identifier: MIT
"""Whose weights the code of a module computes with, instead of calling the layer: read from its source."""

from __future__ import annotations

import ast
import contextlib
import fnmatch
import functools
import inspect
import re
import textwrap
import tokenize
from collections.abc import Iterable, Sequence
from types import FunctionType, ModuleType
from typing import Any

from torch import nn

__all__ = ["reads_weight"]

Path = tuple[str, ...]
"""Attributes, or shell patterns of them, from a module to one inside; "**" is any number, "-" a container of it."""

# what may be asked of a weight without computing with it
_FACTS = re.compile(
    "dtype|device|layout|type|shape|size|ndim|dim|stride|numel|itemsize|data_ptr|get_device|new_[a-z]+|is_[a-z_]+"
    "|requires_grad_?"
)
# functions that ask no more, and methods that take no more from an argument
_ASKING = {"hasattr", "isinstance", "len", "print", "type"}
_LIKE = {"to", "type_as"}
# what gives what a module holds; where in that an element stands, and in how many containers
_HELD: dict[str, Path] = {
    "children": ("*", "-"),
    "items": ("*", "-", "-"),
    "modules": ("**", "-"),
    "named_children": ("*", "-", "-"),
    "named_modules": ("**", "-", "-"),
    "values": ("*", "-"),
}
_SAME = {"iter", "list", "reversed", "sorted", "tuple"}
_PAIRS = {"enumerate", "zip"}


def reads_weight(holder: nn.Module, path: Path) -> bool:
    """Whether the forward pass of a module takes `.weight` of a layer inside it, and so would pass a conversion by.

    Followed are attributes, subscripts, loops, names given in a function, properties, methods and functions of Python
    that are called, what methods return, and super(). What a weight is asked beside its numbers (`dtype`, `shape`)
    does not count. Code whose source is not at hand counts as reading nothing, and so does what code reaches in ways
    that are not followed: through objects that are no modules, say, or a list of functions.

    Args:
        holder: the module whose code is read.
        path: attributes from it to the layer.

    Example:
        >>> reads_weight(nn.MultiheadAttention(4, 2), ("out_proj",)), reads_weight(nn.Sequential(), ("0",))
        (True, False)
    """
    kind: Any = type(holder)
    # looks at weights of its layers, to know whether they may take a short way, and computes with none
    if _forward(kind) is nn.TransformerEncoder.forward:
        return False
    return any(_fits(pattern, path) for pattern in _weights_read(kind))


def _fits(pattern: Path, path: Path) -> bool:
    if not pattern or not path:
        return set(pattern) <= {"**"} and not path
    if pattern[0] == "**":
        return _fits(pattern[1:], path) or _fits(pattern, path[1:])
    return fnmatch.fnmatchcase(path[0], pattern[0]) and _fits(pattern[1:], path[1:])


@functools.lru_cache(maxsize=1024)
def _weights_read(kind: Any) -> frozenset[Path]:
    """Paths to all layers whose weight is taken in the forward pass of a class."""
    found: set[Path] = set()
    seen: set[object] = set()
    waiting = [_Call(kind, _forward(kind))]
    while waiting:
        call = waiting.pop()
        if call.key in seen or len(seen) > 500:
            continue
        seen.add(call.key)
        body = _Body(call)
        found |= body.read
        waiting += body.calls
    return frozenset(found)


def _forward(kind: type) -> object:
    """As it stands in the class: that of a scripted module may not be taken from there."""
    return inspect.getattr_static(kind, "forward", None)


class _Call:
    """A function, the class whose `self` it works on, and which of its parameters stand for what lies inside that."""

    def __init__(
        self,
        kind: Any,
        function: Any,
        given: dict[str, frozenset[Path]] | None = None,
        within: tuple[FunctionType, ...] = (),
    ) -> None:
        self.kind, self.function, self.within = kind, _bare(function), within
        self.tree = _parsed(self.function) if isinstance(self.function, FunctionType) else None
        names = self.parameters
        # a method knows itself; a function only what it was given
        self.given = {names[0]: frozenset({()})} if given is None and names else dict(given or {})
        self.key = id(self.function), tuple(sorted(self.given.items()))

    @property
    def parameters(self) -> list[str]:
        """Names of the positional parameters."""
        return _parameters(self.tree) if self.tree else []

    @property
    def statements(self) -> list[ast.stmt]:
        """What it does; a lambda returns."""
        if isinstance(self.tree, ast.Lambda):
            return [ast.Return(self.tree.body)]
        return self.tree.body if self.tree else []


def _parameters(tree: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[str]:
    return [one.arg for one in (*tree.args.posonlyargs, *tree.args.args)]


def _bare(function: Any) -> Any:
    """The function inside decorators; one that says it wraps itself, as it is."""
    try:
        return inspect.unwrap(function)
    except ValueError:
        return function


@functools.lru_cache(maxsize=1024)
def _parsed(function: FunctionType) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | None:
    """The function as a tree; None where there is no source, or another one than it was made from."""
    try:
        found = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, ValueError, SyntaxError, IndexError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
        return found
    # an assignment or call in which it stands
    lambdas = [node for node in ast.walk(found) if isinstance(node, ast.Lambda)]
    return lambdas[0] if len(lambdas) == 1 else None


class _Body(ast.NodeVisitor):
    """One function read: the paths of names in it, the weights it takes, the functions it calls."""

    def __init__(self, call: _Call) -> None:
        self.call = call
        self.names: dict[str, set[Path]] = {name: set(paths) for name, paths in call.given.items()}
        self.read: set[Path] = set()
        self.given: set[Path] = set()
        self.calls: list[_Call] = []
        self.local: dict[str, ast.FunctionDef | ast.Lambda] = {}
        # twice, as a name may be given below where it is used: in a loop, or for all that a comprehension makes
        for _ in range(2):
            for statement in call.statements:
                # one expression may be nested deeper than Python can follow, as machines write them
                with contextlib.suppress(RecursionError):
                    self.visit(statement)

    # --------------------------------------------------------------------------------------------- what a node leads to

    def paths(self, node: ast.AST) -> set[Path]:
        """Modules that an expression may stand for."""
        match node:
            case ast.Name(id=name):
                return self.names.get(name, set())
            case ast.Attribute(value=value, attr=attribute):
                owners = self.paths(value)
                found = self.returned(attribute) if () in owners else None
                return _inside(owners, attribute) if found is None else found
            case ast.Subscript(value=value, slice=ast.Slice()) | ast.NamedExpr(value=value):
                return self.paths(value)
            case ast.Subscript(value=value, slice=ast.Constant(value=str() as name)):
                found = self.paths(value)
                written = {path for path in found if path[-1:] == ("-",)}
                return _elements(written) | _inside(found - written, name)
            case ast.Subscript(value=value):
                return _elements(self.paths(value))
            case ast.IfExp(body=body, orelse=other) | ast.BinOp(left=body, op=ast.Add(), right=other):
                return self.paths(body) | self.paths(other)
            case ast.BoolOp(values=nodes):
                return set().union(*map(self.paths, nodes))
            case ast.Tuple(elts=nodes) | ast.List(elts=nodes) | ast.Dict(values=nodes):
                return _inside(set().union(*map(self._part, nodes)), "-")
            case ast.ListComp(elt=part) | ast.SetComp(elt=part) | ast.GeneratorExp(elt=part) | ast.DictComp(value=part):
                return _inside(self.paths(part), "-")
            case ast.Call():
                return self._called(node)
        return set()

    def _part(self, node: ast.AST) -> set[Path]:
        return _elements(self.paths(node.value)) if isinstance(node, ast.Starred) else self.paths(node)

    def _called(self, node: ast.Call) -> set[Path]:
        match node:
            case ast.Call(func=ast.Name(id="getattr"), args=[of, ast.Constant(value=str() as name), *_]):
                return _inside(self.paths(of), name)
            case ast.Call(func=ast.Name(id="getattr"), args=[of, ast.JoinedStr(values=values), *_]):
                return _inside(self.paths(of), "".join(_text(value) for value in values))
            case ast.Call(func=ast.Name(id="getattr"), args=[of, *_]):
                return _inside(self.paths(of), "*")
            case ast.Call(func=ast.Name(id="next"), args=[of, *_]):
                return _elements(self.paths(of))
            case ast.Call(func=ast.Name(id=name), args=[of, *_]) if name in _SAME:
                return self.paths(of)
            case ast.Call(func=ast.Name(id=name), args=nodes) if name in _PAIRS:
                return _inside(_elements(set().union(*map(self.paths, nodes))), "-", "-")
            case ast.Call(func=ast.Attribute(value=of, attr="get_submodule"), args=[ast.Constant(value=str() as name)]):
                return _inside(self.paths(of), *name.split("."))
            case ast.Call(func=ast.Attribute(value=of, attr=name)) if name in _HELD:
                return _inside(self.paths(of), *_HELD[name])
            case ast.Call(func=ast.Attribute(value=of, attr=name)) if () in self.paths(of):
                return self.returned(name) or set()
        return set()

    def returned(self, name: str) -> set[Path] | None:
        """What a method or property of the class gives, by all its returns; None where there is none of the name."""
        found = _member(self.call.kind.__mro__, name)[0]
        if not isinstance(found, FunctionType) or len(self.call.within) > 8:
            return None
        call = _Call(self.call.kind, found, within=(*self.call.within, found))
        if found in self.call.within:
            return set()
        return _Body(call).given

    def bind(self, target: ast.AST, value: ast.AST, *, loop: bool = False) -> None:
        """Give a name, or several, to a value or, in a loop, to each element of it."""
        if isinstance(target, ast.Tuple | ast.List) and len(parts := _side_by_side(value, loop)) == len(target.elts):
            for name, part in zip(target.elts, parts, strict=True):
                self.bind(name, part, loop=loop)
        else:
            found = self.paths(value)
            self._name(target, _elements(found) if loop else found)

    def _name(self, target: ast.AST, found: set[Path]) -> None:
        match target:
            case ast.Name(id=name):
                self.names.setdefault(name, set()).update(found)
            case ast.Starred(value=inner):
                self._name(inner, _inside(found, "-"))
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                for one in targets:
                    self._name(one, _elements(found))

    # ------------------------------------------------------------------------------------------------- what a node does

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name) and isinstance(node.value, ast.Lambda):
                self.local[target.id] = node.value
            self.bind(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.bind(node.target, node.value)
            self.visit(node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.bind(node.target, node.value)
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.bind(node.target, node.value)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.given |= self.paths(node.value)
            self.visit(node.value)

    def visit_For(self, node: ast.For) -> None:
        self.bind(node.target, node.iter, loop=True)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.bind(node.target, node.iter, loop=True)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.local[node.name] = node
        # what it returns is not what the function around it does
        given = set(self.given)
        self.generic_visit(node)
        self.given = given

    def visit_Compare(self, node: ast.Compare) -> None:
        # whether there is a weight
        given = all(isinstance(kind, ast.Is | ast.IsNot) for kind in node.ops)
        for part in (node.left, *node.comparators):
            self.visit(_owner(part) if given and _is_weight(part) else part)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if _is_weight(node.value) and _FACTS.fullmatch(node.attr):
            self.visit(_owner(node.value))
            return
        owners = self.paths(node.value)
        if node.attr == "weight" and isinstance(node.ctx, ast.Load):
            self.read |= owners
        if () in owners:
            self._follow(node.attr, self.call.kind.__mro__)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        match node.func, node.args:
            case ast.Name(id=name), [of, *_] if name in _ASKING and _is_weight(of):
                self.visit(_owner(of))
                return
            case ast.Attribute(value=of, attr=name), [like, *_] if name in _LIKE and _is_weight(like):
                self.visit(of)
                self.visit(_owner(like))
                return
            case ast.Attribute(value=ast.Name(id="init") | ast.Attribute(attr="init")), _:
                # draws weights anew
                return
            case ast.Name(id="getattr"), [of, ast.Constant(value="weight"), *_]:
                self.read |= self.paths(of)
            case ast.Name(id="map"), [ast.Lambda() as one, of, *_]:
                self._hand(one, [ast.Subscript(of, ast.Constant(0))])
            case ast.Name(id=name), _ if name in self.local:
                self._hand(self.local[name], node.args)
            case ast.Attribute(value=ast.Name(id=name), attr="append" | "add" | "insert"), [*_, part]:
                self.names.setdefault(name, set()).update(_inside(self.paths(part), "-"))
            case ast.Attribute(value=ast.Name(id=name), attr="extend"), [some]:
                self.names.setdefault(name, set()).update(self.paths(some))
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=name), _:
                kinds = self.call.kind.__mro__
                places = [number for number, one in enumerate(kinds) if self._stands_in(one)]
                self._follow(name, kinds[places[0] + 1 :] if places else ())
            case ast.Attribute(value=of, attr=name), _ if () in self.paths(of):
                self._follow(name, self.call.kind.__mro__, node.args, node.keywords)
            case function, _:
                self._enter(self._resolved(function), node.args, node.keywords, 0)
        # a method that is handed on, with what it is to be called with
        for number, argument in enumerate(node.args):
            if isinstance(argument, ast.Attribute) and () in self.paths(argument.value):
                self._follow(argument.attr, self.call.kind.__mro__, node.args[number + 1 :])
        self.generic_visit(node)

    def _resolved(self, node: ast.AST) -> object:
        """A function that a name stands for, by itself or in modules and classes; None for all else."""
        match node:
            case ast.Name(id=name):
                return getattr(self.call.function, "__globals__", {}).get(name)
            case ast.Attribute(value=value, attr=name):
                owner = self._resolved(value)
                return vars(owner).get(name) if isinstance(owner, ModuleType | type) else None
        return None

    def _hand(self, function: ast.FunctionDef | ast.Lambda, arguments: list[ast.expr]) -> None:
        """Give the parameters of a function that stands in this one to what it is called with."""
        for name, value in zip(_parameters(function), arguments, strict=False):
            self.names.setdefault(name, set()).update(self.paths(value))

    def _stands_in(self, kind: type) -> bool:
        bare = (_bare(one) for one in vars(kind).values() if isinstance(one, FunctionType))
        return any(one is self.call.function for one in bare)

    def _follow(
        self,
        name: str,
        kinds: Iterable[type],
        arguments: list[ast.expr] | None = None,
        keywords: Sequence[ast.keyword] = (),
    ) -> None:
        """A method or property of the class itself, by the first class that has it."""
        found, skipped = _member(kinds, name)
        if not isinstance(found, FunctionType):
            return
        if skipped:
            self.calls.append(_Call(self.call.kind, found))
        if arguments is not None:
            self._enter(found, arguments, keywords, skipped)

    def _enter(
        self, function: object, arguments: list[ast.expr], keywords: Sequence[ast.keyword], skipped: int
    ) -> None:
        """A function that is handed the module or what lies inside it; `skipped` of its parameters are the module."""
        function = getattr(function, "__func__", function)
        if not isinstance(function, FunctionType) or str(function.__module__).split(".")[0] == "torch":
            return
        call = _Call(self.call.kind, function, {})
        given: dict[str, ast.expr] = dict(zip(call.parameters[skipped:], arguments, strict=False))
        given |= {one.arg: one.value for one in keywords if one.arg is not None}
        handed = {name: frozenset(self.paths(value)) for name, value in given.items() if self.paths(value)}
        if handed:
            own = {call.parameters[0]: frozenset({()})} if skipped and call.parameters else {}
            self.calls.append(_Call(self.call.kind, function, own | handed))


def _member(kinds: Iterable[type], name: str) -> tuple[object, int]:
    """A method or property as a function, by the first class that has it, and how many parameters are the module."""
    given = next((vars(kind)[name] for kind in kinds if name in vars(kind) and kind is not nn.Module), None)
    match given:
        case property(fget=found) | functools.cached_property(func=found) | classmethod(__func__=found):
            return found, 1
        case staticmethod(__func__=found):
            return found, 0
    return given, 1


def _inside(paths: Iterable[Path], *attributes: str) -> set[Path]:
    """Paths that go on."""
    return _bounded({(*path, *attributes) for path in paths})


def _elements(paths: Iterable[Path]) -> set[Path]:
    """Each element of containers: of modules, or written out."""
    return _bounded({path[:-1] if path[-1:] == ("-",) else (*path, "*") for path in paths})


def _bounded(paths: set[Path]) -> set[Path]:
    """The paths, where recursion makes them long or many, by what they have in common: that they lead inside."""
    return {("**",)} if len(paths) > 50 or any(len(path) > 12 for path in paths) else paths


def _is_weight(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr="weight"):
            return True
        case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value="weight"), *_]):
            return True
    return False


def _owner(node: Any) -> ast.AST:
    """The node whose weight a node is."""
    found: ast.AST = node.value if isinstance(node, ast.Attribute) else node.args[0]
    return found


def _text(node: ast.AST) -> str:
    """A part of a name that is put together, as a pattern."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "*"


def _side_by_side(value: ast.AST, loop: bool) -> list[ast.AST]:
    """What stands for each of several names that are given at once, where the code says it part by part."""
    match value:
        case ast.Tuple(elts=parts) | ast.List(elts=parts) if not loop:
            return [] if any(isinstance(part, ast.Starred) for part in parts) else list(parts)
        case ast.Call(func=ast.Name(id="zip"), args=parts) if loop:
            return list(parts)
        case ast.Call(func=ast.Name(id="enumerate"), args=[part, *_]) if loop:
            return [ast.Constant(value=0), part]
    return []
