"""JSON of strangers, read as Go's decoder reads it: that is what their other readers use.

Python's own reader takes what is no JSON (NaN, UTF-16, a byte order mark), and gives strings that
cannot be written again (lone surrogates).
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable

DEPTH_MAX = 100
"""Objects and lists within each other; a provider's reader stops at 128."""

_DIGITS_MAX = 40
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAY_BE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_REPLACEMENT = "\ufffd"


def parse(raw: bytes) -> Any:
    """Return the value that *raw* holds; raise `ValueError` for what is not JSON, or goes too far.

    What is not UTF-8, and each lone surrogate, becomes U+FFFD. Of a key that comes twice the last
    value counts; two objects are merged.
    """
    value = _read(raw)
    return _without_surrogates(value) if _MAY_BE_SURROGATE.search(raw) else value


def parse_exact(raw: bytes) -> Any:
    """Return what `parse` does, but raise `ValueError` where it would replace something."""
    raw.decode()
    value = _read(raw)
    if _MAY_BE_SURROGATE.search(raw) and value != _without_surrogates(value):
        raise ValueError("it holds half a surrogate pair")
    return value


def _read(raw: bytes) -> Any:
    if raw.startswith(_BYTE_ORDER_MARK):
        raise ValueError("it begins with a byte order mark")
    try:
        value = json.loads(
            raw.decode("utf-8", "replace"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_fraction,
            parse_constant=_refuse,
        )
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX:
        _check_depth(value)
    return value


_TOO_DEEP = f"it is nested more than {DEPTH_MAX} deep"


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        before = found.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            value = _object([*before.items(), *value.items()])
        found[key] = value
    return found


def _integer(digits: str) -> int:
    # Python refuses integers of very many digits in words of its own.
    if len(digits) > _DIGITS_MAX:
        raise ValueError(f"it holds a number of {len(digits):,} digits")
    return int(digits)


def _fraction(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"it holds the number {text:.40}, which is too large")
    return number


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which JSON does not have")


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEPTH_MAX):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _inside(value: Any) -> Iterable[Any]:
    inner = value.values() if isinstance(value, dict) else value
    return (item for item in inner if isinstance(item, dict | list))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub(_REPLACEMENT, value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(v) for key, v in value.items()}
    return value
