"""Objects made of functions that can be sent to another process: they pickle as the call that made them.

Functions made inside a function cannot be pickled, but the name of the outer one and its arguments can.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

__all__ = ["Remade", "recorded"]

CALL = "_call"
"""The attribute in which the call lies."""


class Remade:
    """What a `recorded` function returns: it pickles, and copies, as the call that made it.

    One that was made otherwise pickles in the ordinary way, if its functions can be pickled.
    """

    def __reduce_ex__(self, protocol: int) -> str | tuple[Any, ...]:
        call = vars(self).get(CALL)
        return super().__reduce_ex__(protocol) if call is None else (_made, call)


def recorded(function: Callable[..., Remade]) -> Callable[..., Remade]:
    """The same function; what it returns knows the call, with lists and arrays as they were then.

    The function must stand in a module under its own name. Where it has a cache, `recorded` goes around that: then what
    was pickled comes back as the cached object.
    """

    @wraps(function)
    def make(*args: Any, **kwargs: Any) -> Remade:
        kept = tuple(map(_kept, args)), {name: _kept(value) for name, value in kwargs.items()}
        made = function(*args, **kwargs)
        vars(made).setdefault(CALL, (make, *kept))
        return made

    return make


def _kept(value: Any) -> Any:
    return value.copy() if hasattr(value, "copy") else value


def _made(function: Callable[..., Remade], args: tuple, kwargs: dict[str, Any]) -> Remade:
    return function(*args, **kwargs)
