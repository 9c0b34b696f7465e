"""Short texts about items and errors, for events and logs."""

from .._wire.failures import error_text
from ..events import ErrorInfo

MAX_ITEM_TEXT = 200


def item_text(item: object) -> str:
    """Returns an item's repr, cut to 200 characters; its class where the repr itself fails."""
    try:
        text = repr(item)
    except Exception:  # the item's own method
        text = f"<{type(item).__name__} whose repr fails>"
    return text if len(text) <= MAX_ITEM_TEXT else text[: MAX_ITEM_TEXT - 3] + "..."


def error_info(error: BaseException) -> ErrorInfo:
    """Returns an exception of the main process as data."""
    return ErrorInfo(*error_text(error))
