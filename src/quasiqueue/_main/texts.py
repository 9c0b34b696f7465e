"""Short texts about items and errors, for events and logs."""

import traceback

from ..events import ErrorInfo

MAX_ITEM_TEXT = 200
MAX_MESSAGE = 10_000
MAX_TRACEBACK = 40_000
"""Characters; the end of a traceback says most, so its beginning is cut."""


def item_text(item: object) -> str:
    """Returns an item's repr, cut to 200 characters; its class where the repr itself fails."""
    try:
        text = repr(item)
    except Exception:  # the item's own method
        text = f"<{type(item).__name__} whose repr fails>"
    return text if len(text) <= MAX_ITEM_TEXT else text[: MAX_ITEM_TEXT - 3] + "..."


def error_info(error: BaseException) -> ErrorInfo:
    """Returns an exception of the main process as data: cut to a bearable length, and whatever its own methods do."""
    try:
        message = str(error)[:MAX_MESSAGE]
    except Exception as second:  # the exception is the user's, and so is its __str__
        message = f"(its text cannot be had: __str__ raised {type(second).__name__})"
    try:
        text = "".join(traceback.format_exception(error))
    except Exception as second:  # as above
        text = f"(its traceback cannot be formatted: {type(second).__name__})\n"
    if len(text) > MAX_TRACEBACK:
        text = "[...]\n" + text[-MAX_TRACEBACK:]
    return ErrorInfo(type(error).__name__, message, text)
