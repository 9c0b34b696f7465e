"""What makes two items the same.

Small built-in values are their own keys and are looked at a block at a time, in C. Everything else is looked at item by
item: unhashable items go by a digest of their pickle, long texts by a digest (so that what is remembered stays small),
sockets, files and whatever holds one directly have no key at all. Invariant: no method of a foreign type but its
`__hash__` and `__eq__` (by way of a dictionary), or its pickling, ever runs here, and what these raise goes no further.
"""

import hashlib
import io
import pickle
import socket
import sys
from collections.abc import Callable, Hashable, Sequence
from itertools import chain

_NUMBERS = frozenset({int, float, bool, complex})
_SMALL_TYPES = _NUMBERS | {str, bytes}
_PLAIN_TYPES = _SMALL_TYPES | {type(None)}
_UNHASHABLE = frozenset({dict, list, set, bytearray})
_MAX_AVERAGE = 256
_LONG_TEXT = 1 << 10
_MAX_SMALL = _LONG_TEXT
"""Bytes; never more than `_LONG_TEXT`, so that a text has the same key in a bulk block and by itself."""


class Shielded:
    """A key of a foreign type: hashed once, and equal to what it can be compared with.

    One whose `__eq__` raises, or gives something that is neither true nor false, is equal to itself only.
    """

    __slots__ = ("_hash", "value")

    def __init__(self, value: Hashable) -> None:
        self.value = value
        self._hash = hash(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        theirs = other.value if isinstance(other, Shielded) else other
        try:
            return self.value is theirs or bool(self.value == theirs)
        except BaseException:  # the user's method: this is asked deep inside a set that holds other items' keys too
            return False


def shielded(value: Hashable) -> Hashable:
    """Returns a key as it is remembered. Raises what its `__hash__` raises."""
    return value if type(value) in _PLAIN_TYPES else Shielded(value)


def bare(key: Hashable) -> Hashable:
    """Returns a key as the user knows it."""
    return key.value if isinstance(key, Shielded) else key


def are_numbers(types: set[type]) -> bool:
    """Tells whether all of these types are numbers: each of those is its own key, and all are small."""
    return types <= _NUMBERS


def is_bulk(items: Sequence[object], types: set[type]) -> bool:
    """Tells whether all items are small built-in values, or tuples of such.

    Args:
        items: a block.
        types: the types that occur in it.

    Returns:
        True if the block can be pickled in one piece and each item can be its own key. 1 KiB is the longest text that
        counts as small, 256 bytes the most that a block's texts may take on average: a batch stays small.
    """
    if are_numbers(types):
        return True
    if tuple in types:
        inner = list(chain.from_iterable(item for item in items if type(item) is tuple))
        types = (types - {tuple}) | set(map(type, inner))
        if not types <= _SMALL_TYPES:
            return False
        items = [item for item in items if type(item) is not tuple] + inner
    elif not types <= _SMALL_TYPES:
        return False
    sizes = list(map(sys.getsizeof, items))
    return not sizes or (max(sizes) <= _MAX_SMALL and sum(sizes) <= _MAX_AVERAGE * len(sizes))


def key_of(item: object) -> Hashable:
    """Returns an item's own identity.

    Returns:
        The item where it is hashable and small, a digest otherwise; None if it is or holds a socket or a file, or can
        neither be hashed nor pickled, and so is never a duplicate.
    """
    if type(item) in _UNHASHABLE:  # most items are rows: what follows would come to the same, by way of an exception
        return _pickle_digest(item)
    if type(item) is bytes:
        return item if len(item) <= _LONG_TEXT else (bytes, _digest(item))
    if type(item) is str:
        return item if len(item) <= _LONG_TEXT else (str, _digest(item.encode("utf-8", "surrogatepass")))
    try:
        if _holds_descriptor(item):
            return None
    except RecursionError:  # tuples in tuples, deeper than anything can be pickled
        return None
    try:
        return shielded(item)
    except BaseException:  # the item's own method may raise anything; its pickle speaks for it then
        return _pickle_digest(item)


def _digest(data: bytes) -> bytes:
    # Today's processors have instructions for SHA-256: it is twice as quick there as what was made to be quick without.
    return hashlib.sha256(data, usedforsecurity=False).digest()[:16]


def _pickle_digest(item: object) -> Hashable:
    try:
        data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
    except BaseException:  # it will fail by name when it is to be sent; until then it is nobody's duplicate
        return None
    return "digest", _digest(data)


def _holds_descriptor(item: object) -> bool:
    if isinstance(item, (socket.socket, io.IOBase)) and not isinstance(item, (io.BytesIO, io.StringIO)):
        return True
    return type(item) is tuple and any(map(_holds_descriptor, item))


def keys_of(items: Sequence[object], key: Callable[[object], Hashable] | None) -> list[Hashable | BaseException]:
    """Returns each item's identity, or the exception that says why the user's `key` could not give it."""
    if key is None:
        return [key_of(item) for item in items]
    return [_asked(key, item) for item in items]


def _asked(key: Callable[[object], Hashable], item: object) -> Hashable | BaseException:
    try:
        return shielded(key(item))
    except BaseException as error:  # the user's function; the item it failed on fails with this
        return error
