"""How items become bytes, and sockets and files inside them descriptors.

Two encodings. *Bulk*: a batch of small built-in values is one pickle; it can neither fail nor run anybody's code.
*Single*: everything else is pickled item by item, and unpickled in the worker at the moment the item runs, so an item
that cannot be pickled or unpickled, or that kills the process that tries, is known exactly and hurts nobody else.

Sockets and file objects are replaced by their descriptors' places in the frame; the receiver builds new objects on the
descriptors that came with it. Invariant: a received descriptor ends in exactly one object, or is closed.
"""

import contextlib
import copyreg
import io
import os
import pickle
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

Bytes = bytes | bytearray | memoryview

_ENTRY = struct.Struct("<QH")
_SMALL_PART = 1 << 12
"""Bytes below which copying a piece is cheaper than handing it to the system by itself."""

_FILE_TYPES = (io.FileIO, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper)
"""Objects that travel as descriptors."""

_Reduced = tuple[Callable[..., object], tuple[object, ...]]


def encode_bulk(items: Sequence[object]) -> bytes:
    """Returns a batch of small built-in values as one pickle."""
    return pickle.dumps(items, pickle.HIGHEST_PROTOCOL)


def decode_bulk(data: Bytes) -> list[object]:
    """Returns the batch that `encode_bulk` made."""
    items: list[object] = pickle.loads(data)
    return items


@dataclass(slots=True)
class EncodedItem:
    """One item as bytes.

    Attributes:
        parts: the pickle, in pieces; large bytes objects inside the item are pieces of their own and never copied.
        size: sum of their lengths.
        carried: sockets and files whose descriptors travel with it, in the order in which the pickle names them.
    """

    parts: list[Bytes]
    size: int
    carried: list[Any]

    def descriptors(self) -> list[int]:
        """Returns the descriptors to send along."""
        return [thing.fileno() for thing in self.carried]


class Encoder:
    """Pickles items one by one; each pickle stands for itself.

    Make one for each batch: that is most of the work of pickling a small item. It is not kept for longer, because it
    grows with the largest item that it had.
    """

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self.write = self._parts.append
        """Called by the pickler. Large bytes objects arrive as they are, so nothing of them is copied."""
        self._carrier = _Carrier()
        self._pickler = pickle.Pickler(self, pickle.HIGHEST_PROTOCOL)
        self._pickler.dispatch_table = {**copyreg.dispatch_table, **self._carrier.table}

    def encode(self, item: object) -> EncodedItem:
        """Pickles one item.

        Raises:
            Exception: whatever the item's own methods raise, or pickle about them.
        """
        carried = self._carrier.carried = []
        try:
            self._pickler.dump(item)
            if len(self._parts) == 1:  # nearly all items: no large object among what they consist of
                part = self._parts[0]
                return EncodedItem([part], len(part), carried)
            parts = list(map(_piece, self._parts))
        finally:
            self._parts.clear()
            self._pickler.clear_memo()  # it holds all that the item consists of
        return EncodedItem(parts, sum(map(len, parts)), carried)


def encode_item(item: object) -> EncodedItem:
    """Pickles a single item. Raises as `Encoder.encode` does."""
    return Encoder().encode(item)


def _piece(part: Any) -> Bytes:
    if isinstance(part, bytes):
        return part
    # What numpy and the like give has a length only as bytes. What can be resized must not be, until it is sent.
    return part.raw() if isinstance(part, pickle.PickleBuffer) else bytes(part)


class _Carrier:
    """Reduces sockets and files to their place among the descriptors that travel along; puts them into `carried`."""

    def __init__(self) -> None:
        self.carried: list[Any] = []
        self.table: dict[type, Callable[[Any], _Reduced]] = dict.fromkeys(_FILE_TYPES, self._reduce_file)
        self.table[socket.socket] = self._reduce_socket

    def _place(self, thing: object) -> int:
        self.carried.append(thing)
        return len(self.carried) - 1

    def _reduce_socket(self, sock: socket.socket) -> _Reduced:
        if sock.fileno() < 0:
            raise pickle.PicklingError("a closed socket cannot be given to a worker")
        return rebuild_socket, (self._place(sock), sock.family, sock.type, sock.proto, sock.gettimeout())

    def _reduce_file(self, file: Any) -> _Reduced:
        if isinstance(file, io.TextIOWrapper):
            # One that was not made by `open()` has no `mode`.
            mode = "r+" if file.readable() and file.writable() else "r" if file.readable() else "w"
            return rebuild_text, (self._place(_settled(file)), mode, file.encoding, file.errors)
        buffered = {io.BufferedReader: "rb", io.BufferedWriter: "wb", io.BufferedRandom: "r+b"}.get(type(file))
        place = self._place(_settled(file))
        if buffered is None:
            return rebuild_binary, (place, file.mode, 0)
        return rebuild_binary, (place, buffered, -1)


def _settled(file: Any) -> Any:
    """Brings the descriptor's position to where the file object's user is: buffers do not travel."""
    raw = file
    for layer in ("buffer", "raw"):
        raw = getattr(raw, layer, raw)
    if not isinstance(raw, io.FileIO):  # a descriptor deeper down, as gzip has one, holds something else
        kind = type(raw).__name__
        raise pickle.PicklingError(f"only files that lie on a descriptor can travel, and this one lies on a {kind}")
    if file.writable():
        file.flush()
    if file.seekable():
        position = file.tell()
        if position >> 63:  # a text's position is a number of bytes only where its decoder has no state
            raise pickle.PicklingError(
                f"a {file.encoding} text in the middle of which its decoder has a state cannot travel"
            )
        file.seek(0, os.SEEK_END)  # there and back, so that the file object's own buffer is empty: it may be sent again
        file.seek(position)
    return file


def rebuild_socket(descriptor: int, family: int, kind: int, proto: int, timeout: float | None) -> socket.socket:
    """Builds the socket object on a received descriptor."""
    sock = socket.socket(family, kind, proto, fileno=descriptor)
    sock.settimeout(timeout)
    return sock


def rebuild_binary(descriptor: int, mode: str, buffering: int) -> object:
    """Builds the binary file object on a received descriptor."""
    return open(descriptor, mode, buffering)


def rebuild_text(descriptor: int, mode: str, encoding: str, errors: str | None) -> object:
    """Builds the text file object on a received descriptor."""
    return open(descriptor, mode, encoding=encoding, errors=errors)


_REBUILDERS = {function.__name__: function for function in (rebuild_socket, rebuild_binary, rebuild_text)}


class _Unpickler(pickle.Unpickler):
    """Gives the rebuilding functions the descriptors that came with the item."""

    def __init__(self, data: Bytes, descriptors: list[int]) -> None:
        super().__init__(io.BytesIO(data))
        self._descriptors = descriptors

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if module_name != __name__ or global_name not in _REBUILDERS:
            return super().find_class(module_name, global_name)
        # What is returned lands in the unpickler's memo. It must not refer to the unpickler: in such a cycle the item's
        # sockets would stay open until the garbage collector comes by.
        return _taking(_REBUILDERS[global_name], self._descriptors)


def _taking(rebuild: Callable[..., object], descriptors: list[int]) -> Callable[..., object]:
    def take(place: int, *rest: object) -> object:
        descriptor, descriptors[place] = descriptors[place], -1
        return rebuild(descriptor, *rest)

    return take


@dataclass(slots=True)
class ItemBlob:
    """One received item, not yet unpickled, with the descriptors that are its own."""

    data: Bytes
    descriptors: list[int]

    def decode(self) -> object:
        """Unpickles the item. Descriptors that it did not use are closed.

        Raises:
            Exception: whatever the item's own methods raise, or pickle about them.
        """
        if not self.descriptors:
            return pickle.loads(self.data)
        try:
            return _Unpickler(self.data, self.descriptors).load()
        finally:
            self.discard()

    def discard(self) -> None:
        """Closes the descriptors that no object owns."""
        for descriptor in self.descriptors:
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self.descriptors = []


def pack_singles(items: Sequence[EncodedItem]) -> list[Bytes]:
    """Returns items as a table of sizes and their pickles, in pieces ready to send."""
    table = b"".join([_ENTRY.pack(item.size, len(item.carried)) for item in items])
    return _joined([table, *chain.from_iterable(item.parts for item in items)])


def _joined(parts: Iterable[Bytes]) -> list[Bytes]:
    """Returns the same bytes in fewer pieces."""
    joined: list[Bytes] = []
    small: list[Bytes] = []
    for part in parts:
        if len(part) < _SMALL_PART:
            small.append(part)
            continue
        if small:
            joined.append(b"".join(small))
            small = []
        joined.append(part)
    return [*joined, b"".join(small)] if small else joined


def unpack_singles(body: memoryview, count: int, descriptors: Sequence[int]) -> list[ItemBlob]:
    """Returns what `pack_singles` packed. The blobs are views of `body`, which must stay as it is."""
    blobs = []
    at, mine = count * _ENTRY.size, 0
    for size, carried in _ENTRY.iter_unpack(body[:at]):
        blobs.append(ItemBlob(body[at : at + size], list(descriptors[mine : mine + carried]) if carried else []))
        at += size
        mine += carried
    return blobs
