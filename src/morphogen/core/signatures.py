"""Methods whose keywords are fields of settings that an instance decides: `help` and `inspect.signature` list them."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

from .config import Frozen

Method = TypeVar("Method", bound=Callable[..., Any])
Kinds = Callable[[Any], Sequence[type[Frozen] | None]]  # of an instance, the settings whose fields are keywords


def with_fields(kinds: Kinds) -> Callable[[Method], Method]:
    """Return a decorator of a method with `**keywords`, whose signature on an instance lists the fields of `kinds`."""

    def decorate(method: Method) -> Method:
        return cast("Method", _Described(method, kinds))

    return decorate


class _Described:
    """A function of a class; read from an instance, a method with a signature and a docstring of its own."""

    def __init__(self, function: Callable[..., Any], kinds: Kinds) -> None:
        self._function, self._kinds = function, kinds
        functools.update_wrapper(cast("Any", self), function)

    def __get__(self, instance: Any, owner: type | None = None) -> Callable[..., Any]:
        if instance is None:
            return self._function

        @functools.wraps(self._function)
        def method(*arguments: Any, **keywords: Any) -> Any:
            return self._function(instance, *arguments, **keywords)

        signature, document = _described(self._function, tuple(self._kinds(instance)))
        method.__signature__ = signature  # type: ignore[attr-defined]
        method.__doc__ = document
        return method


@functools.lru_cache(maxsize=64)
def _described(function: Callable[..., Any], kinds: tuple[type[Frozen] | None, ...]) -> tuple[inspect.Signature, str]:
    """Return the signature and the docstring of a method, with the fields in place of `**keywords`."""
    signature = inspect.signature(function, eval_str=True)
    own = [one for one in list(signature.parameters.values())[1:] if one.kind is not inspect.Parameter.VAR_KEYWORD]
    names, lines = {one.name for one in own}, []
    for kind in filter(None, kinds):
        for name, field in kind.model_fields.items():
            if name in names:
                continue
            names.add(name)
            annotation, default = _plain(field.annotation), kind.default(name)
            own.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
            lines.append(f"{name}: {field.description}" if field.description else name)
    document = inspect.cleandoc(function.__doc__ or "")
    fields = "\n".join(textwrap.fill(line, 110, subsequent_indent="    ") for line in lines)
    return signature.replace(parameters=own), f"{document}\n\n{fields}" if fields else document


def _plain(annotation: Any) -> Any:
    """Return a type without what pydantic needs to know of its values."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        return tuple[tuple(map(_plain, get_args(annotation)))]  # type: ignore[misc]
    return annotation
