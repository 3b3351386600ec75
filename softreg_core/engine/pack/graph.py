"""A traced program made quicker: operations that do nothing are left out, and products are taken the way round that
the machine is quick at; ADR 0014 says what that gains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.graph import CodeGen
from torch.fx.node import map_arg

__all__ = ["traced_flat"]

aten = torch.ops.aten
_SHAPES = ("aten.view.default", "aten._unsafe_view.default", "aten.expand.default")


def traced_flat(function: Callable[..., tuple[Tensor, ...]], *example: Tensor) -> GraphModule:
    """`function` as a flat list of operations on tensors of the example's shapes; takes and gives tensors, in order."""
    with torch.enable_grad():  # a function may differentiate; the program itself records nothing
        module = make_fx(function)(*example)
    graph = module.graph
    for node in list(graph.nodes):
        same = _same(node)
        if same is not None:
            node.replace_all_uses_with(same)
            graph.erase_node(node)
    for node in list(graph.nodes):
        _turn(node)
        _mask(node)
    graph.eliminate_dead_code()
    _fold(module)
    _join(module)
    graph.eliminate_dead_code()
    for node in list(graph.nodes):
        _reuse(node)
    # Plain arguments and a plain tuple: nesting would be taken apart anew at each call.
    graph.set_codegen(CodeGen())
    module.recompile()
    return module


def _meta(node: Any) -> Any:
    return node.meta.get("val", node.meta.get("tensor_meta")) if isinstance(node, Node) else None


def _same(node: Node) -> Node | None:
    """The argument that an operation hands on as it is; None where it does something."""
    if node.op != "call_function" or not node.args or not isinstance(node.args[0], Node):
        return None
    given = node.args[0]
    if node.target is aten.detach.default:
        return given
    if node.target is aten.mul.Scalar and node.args[1] == 1 and _dtypes_equal(node, given):
        return given
    if node.target is aten.pow.Tensor_Scalar and node.args[1] == 1:
        return given
    if str(node.target) in _SHAPES and _shapes_equal(node, given):
        return given
    if node.target is aten.permute.default and list(node.args[1]) == sorted(node.args[1]):  # type: ignore[arg-type]
        return given
    return None


_OF_SHAPES = {"aten.ones_like.default": 1.0, "aten.zeros_like.default": 0.0}


@torch.no_grad()
def _fold(module: GraphModule) -> None:
    """Compute what depends on shapes only once, and keep it."""
    known: dict[Node, Any] = {}
    for node in list(module.graph.nodes):
        if node.op == "get_attr":
            known[node] = getattr(module, str(node.target))
        if node.op != "call_function" or _is_changing(node):
            continue
        if str(node.target) in _OF_SHAPES and _meta(node) is not None:
            value = _meta(node)
            known[node] = torch.full(value.shape, _OF_SHAPES[str(node.target)], dtype=value.dtype, device=value.device)
        elif str(node.target) == "aten.new_full.default" and _meta(node) is not None:
            value = _meta(node)
            known[node] = torch.full(value.shape, node.args[2], dtype=value.dtype, device=value.device)
        elif all(given in known for given in node.all_input_nodes):
            args, kwargs = map_arg((node.args, node.kwargs), known.__getitem__)
            known[node] = node.target(*args, **kwargs)
    for number, (node, value) in enumerate(known.items()):
        if node.op != "get_attr" and any(user not in known for user in node.users):
            name = f"known_{number}"
            module.register_buffer(name, value)
            with module.graph.inserting_before(node):
                node.replace_all_uses_with(module.graph.get_attr(name))


def _join(module: GraphModule) -> None:
    """Compute once what is computed twice."""
    seen: dict[Any, Node] = {}
    for node in list(module.graph.nodes):
        if node.op != "call_function" or _is_changing(node):
            continue
        key = repr((str(node.target), node.args, node.kwargs))
        if key in seen:
            node.replace_all_uses_with(seen[key])
        else:
            seen[key] = node


def _is_changing(node: Node) -> bool:
    """Whether it works in place, or what it reads is worked on in place later."""
    near = (node, *node.users, *(user for given in node.all_input_nodes for user in given.users))
    return any(isinstance(other.target, OpOverload) and other.target._schema.is_mutable for other in near)  # noqa: SLF001  no other way to ask


def _turn(node: Node) -> None:
    """Of (a^T b)^T make b^T a: with a wide b, as gradients of a weight have it, several times quicker."""
    if not _is_turn(node):
        return
    product = node.args[0]
    if not isinstance(product, Node) or product.target is not aten.bmm.default or len(product.users) > 1:
        return
    left, right = product.args
    if not isinstance(left, Node) or not isinstance(right, Node) or not _is_turn(left):
        return
    graph = node.graph
    with graph.inserting_before(node):
        turned = graph.call_function(aten.transpose.int, (right, 1, 2))
        other = graph.call_function(aten.bmm.default, (turned, left.args[0]))
    node.replace_all_uses_with(other)
    graph.erase_node(node)


def _reuse(node: Node) -> None:
    """Work in the memory of a product that nothing else reads: a new one would have to be fetched first."""
    if node.target is aten.relu.default and _is_free(node.args[0], node):
        node.target = aten.relu_.default
    elif node.target is aten.add.Tensor and not node.kwargs:
        bias, product = node.args[:2]
        if _is_free(product, node) and _is_of(bias, product):
            node.target, node.args = aten.add_.Tensor, (product, bias)
    elif node.target is aten.threshold_backward.default and _is_free(node.args[0], node):
        node.target, node.kwargs = aten.threshold_backward.grad_input, {"grad_input": node.args[0]}


def _is_free(given: Any, user: Node) -> bool:
    """Whether only `user` reads it, and it is nobody's view: a product, or what was made of one in place."""
    if not isinstance(given, Node) or list(given.users) != [user]:
        return False
    targets = (aten.bmm.default, aten.add_.Tensor)
    return given.target in targets and _shapes_equal(given, user) and _dtypes_equal(given, user)


def _is_of(one: Any, other: Any) -> bool:
    return isinstance(one, Node) and one is not other and _dtypes_equal(one, other)


def _mask(node: Node) -> None:
    """A mask of floats made where floats are: truth values in between cost as much as all else of dropout."""
    if node.target is not aten._to_copy.default or not isinstance(node.args[0], Node):  # noqa: SLF001  an operation's name
        return
    truths = node.args[0]
    drawn = truths.args[0] if truths.target is aten.ge.Scalar and len(truths.users) == 1 else None
    if isinstance(drawn, Node) and _shapes_equal(drawn, node) and _dtypes_equal(drawn, node):
        with node.graph.inserting_before(node):
            copied = node.graph.call_function(aten.clone.default, (drawn,))
            made = node.graph.call_function(aten.ge_.Scalar, (copied, truths.args[1]))
        node.replace_all_uses_with(made)
        node.graph.erase_node(node)


def _is_turn(node: Node) -> bool:
    """Whether it swaps the last two of three axes."""
    if node.target is not aten.transpose.int:
        return False
    value = _meta(node)
    axes = {int(axis) % value.dim() for axis in node.args[1:3]} if value is not None else set()  # type: ignore[arg-type]
    return value is not None and value.dim() == 3 and axes == {1, 2}


def _shapes_equal(one: Node, other: Node) -> bool:
    mine, others = _meta(one), _meta(other)
    return mine is not None and others is not None and tuple(mine.shape) == tuple(others.shape)


def _dtypes_equal(one: Node, other: Node) -> bool:
    mine, others = _meta(one), _meta(other)
    return mine is not None and others is not None and mine.dtype == others.dtype
