"""What makes two items the same.

Small built-in values are their own keys and are looked at a block at a time, in C. Everything else is looked at item by
item: unhashable items go by a digest of their pickle, long texts by a digest (so that what is remembered stays small),
sockets, files and whatever holds one directly have no key at all. Invariant: no method of a foreign type but its
`__hash__` and `__eq__` (by way of a dictionary), or its pickling, ever runs here.
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
_MAX_SMALL = 1 << 14
_MAX_AVERAGE = 256
_LONG_TEXT = 1 << 10


def is_bulk(items: Sequence[object], types: set[type]) -> bool:
    """Tells whether all items are small built-in values, or tuples of such.

    Args:
        items: a block.
        types: the types that occur in it.

    Returns:
        True if the block can be pickled in one piece and each item can be its own key. 16 KiB is the longest text that
        counts as small, 256 bytes the most that a block's texts may take on average: a batch stays small.
    """
    if types <= _NUMBERS:
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
    if _holds_descriptor(item):
        return None
    if type(item) in (str, bytes) and len(item) > _LONG_TEXT:  # type: ignore[arg-type]  # the two have a length
        data = item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogatepass")
        return type(item), hashlib.blake2b(data, digest_size=16).digest()
    try:
        hash(item)
        item == item  # noqa: B015 - an __eq__ that raises would do so inside our dictionary
    except Exception:  # the item's own methods may raise anything; its pickle speaks for it then
        return _digest(item)
    return item


def _digest(item: object) -> Hashable:
    try:
        data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
    except Exception:  # it will fail by name when it is to be sent; until then it is nobody's duplicate
        return None
    return "digest", hashlib.blake2b(data, digest_size=16).digest()


def _holds_descriptor(item: object) -> bool:
    if isinstance(item, (socket.socket, io.IOBase)) and not isinstance(item, (io.BytesIO, io.StringIO)):
        return True
    return type(item) is tuple and any(map(_holds_descriptor, item))


def keys_of(items: Sequence[object], key: Callable[[object], Hashable] | None) -> list[Hashable | Exception]:
    """Returns each item's identity, or the exception that says why the user's `key` could not give it."""
    if key is None:
        return [key_of(item) for item in items]
    return [_asked(key, item) for item in items]


def _asked(key: Callable[[object], Hashable], item: object) -> Hashable | Exception:
    try:
        value = key(item)
        hash(value)
    except Exception as error:  # the user's function; the item it failed on fails with this
        return error
    return value
