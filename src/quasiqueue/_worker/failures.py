"""Turns an exception into data: what a journal record says of an item that did not succeed.

Exceptions never travel: one that cannot be pickled, or whose own methods raise, must not take anything with it.
"""

from .._wire.codec import Bytes
from .._wire.failures import error_text
from .._wire.messages import RecordKind, pack_values
from ..errors import Reject, Retry


def describe(error: BaseException) -> tuple[RecordKind, Bytes]:
    """Returns what the reader's exception means for its item.

    Args:
        error: what the reader raised.

    Returns:
        The record's kind and its payload: (type, message, traceback), for a retry (delay,).
    """
    if isinstance(error, Retry):
        return RecordKind.RETRY, b"".join(pack_values(float(error.delay)))
    kind = RecordKind.REJECTED if isinstance(error, Reject) else RecordKind.FAILED
    return kind, b"".join(pack_values(*error_text(error)))
