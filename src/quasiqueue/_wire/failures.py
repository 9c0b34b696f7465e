"""Exceptions as text, on both sides: the type, the message and the traceback, each cut to a bearable length.

An exception's own methods are the user's code and may raise or never end in text; what comes out here is text in any
case.
"""

import os
import traceback
from pathlib import Path
from types import TracebackType

_PACKAGE = str(Path(__file__).parent.parent) + os.sep

MAX_MESSAGE = 10_000
MAX_TRACEBACK = 40_000
"""Characters; the end of a traceback says most, so its beginning is cut."""


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
        parts = traceback.format_exception(type(error), error, frames)
        text = "".join(part if len(part) <= MAX_MESSAGE else part[:MAX_MESSAGE] + " [...]\n" for part in parts)
    except BaseException as second:  # as above
        text = f"(its traceback cannot be formatted: {type(second).__name__})\n"
    if len(text) > MAX_TRACEBACK:
        text = "[...]\n" + text[-MAX_TRACEBACK:]
    return type(error).__name__, message, text


def _is_ours(frames: TracebackType) -> bool:
    return frames.tb_frame.f_code.co_filename.startswith(_PACKAGE)
