"""Turns an exception into data: what a journal record says of an item that did not succeed.

Exceptions never travel: one that cannot be pickled, or whose own methods raise, must not take anything with it.
"""

import os
import traceback
from pathlib import Path
from types import TracebackType

from .._wire.codec import Bytes
from .._wire.messages import RecordKind, pack_values
from ..errors import Reject, Retry

_PACKAGE = str(Path(__file__).parent.parent) + os.sep

MAX_MESSAGE = 10_000
MAX_TRACEBACK = 40_000
"""Characters; the end of a traceback says most, so its beginning is cut."""


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


def error_text(error: BaseException) -> tuple[str, str, str]:
    """Returns an exception's type, message and traceback as text, each cut to a bearable length.

    The traceback begins with the user's code: the frames of ours that led there say nothing to the user.
    """
    try:
        message = str(error)[:MAX_MESSAGE]
    except BaseException as second:  # the exception is the user's, and so is its __str__
        message = f"(its text cannot be had: __str__ raised {type(second).__name__})"
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None and _is_ours(frames):
        frames = frames.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except BaseException as second:  # as above
        text = f"(its traceback cannot be formatted: {type(second).__name__})\n"
    if len(text) > MAX_TRACEBACK:
        text = "[...]\n" + text[-MAX_TRACEBACK:]
    return type(error).__name__, message, text


def _is_ours(frames: TracebackType) -> bool:
    return frames.tb_frame.f_code.co_filename.startswith(_PACKAGE)
