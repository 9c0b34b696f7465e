"""How items become bytes, and sockets and files in them descriptors; no descriptor is lost or leaked."""

import array
import contextlib
import gzip
import io
import os
import pickle
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quasiqueue._wire.codec import (
    EncodedItem,
    Encoder,
    ItemBlob,
    decode_bulk,
    encode_bulk,
    encode_item,
    pack_singles,
    unpack_singles,
)

from .support import open_descriptors

SMALL = st.one_of(
    st.integers(), st.floats(allow_nan=False), st.booleans(), st.text(max_size=20), st.binary(max_size=20)
)


def travelled(encoded: EncodedItem) -> object:
    """Give an item the way through a line: bytes, and copies of its descriptors."""
    return arrived(encoded).decode()


def arrived(encoded: EncodedItem) -> ItemBlob:
    return ItemBlob(b"".join(encoded.parts), [os.dup(number) for number in encoded.descriptors()])


class Stateful:
    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stateful) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


class Buffered:
    """Pickles as numpy's arrays do: as a buffer."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: int) -> tuple[object, ...]:
        assert protocol >= 5
        return Buffered, (pickle.PickleBuffer(array.array("d", [1.0]) if not self.data else self.data),)


class Raises:
    def __reduce__(self) -> tuple[object, ...]:
        raise LookupError("no pickle of me")


class Unloadable:
    def __reduce__(self) -> tuple[object, ...]:
        return int, ("not a number",)


class Opens:
    """Holds a socket deep inside, in the arguments and in the state of its pickle."""

    def __init__(self, first: socket.socket, second: socket.socket) -> None:
        self.pair = [first, {"second": second}]


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    pair = socket.socketpair()
    yield pair
    for end in pair:
        end.close()


@given(st.lists(st.one_of(SMALL, st.tuples(SMALL, SMALL))))
def test_bulk_gives_back_what_it_was_given(items: list[object]) -> None:
    """A batch of small built-in values is one pickle, types included."""
    back = decode_bulk(encode_bulk(items))
    assert back == items
    assert list(map(type, back)) == list(map(type, items))


@given(st.lists(st.recursive(SMALL, lambda inner: st.lists(inner, max_size=3), max_leaves=6), max_size=8))
def test_singles_give_back_what_they_were_given(items: list[object]) -> None:
    """Each item is found in the body again, in order, by the table of sizes in front of it."""
    body = memoryview(b"".join(pack_singles([encode_item(item) for item in items])))
    assert [blob.decode() for blob in unpack_singles(body, len(items), [])] == items


def test_descriptors_are_dealt_out_in_the_items_order(sockets: tuple[socket.socket, socket.socket]) -> None:
    """Of the descriptors of a frame each item gets as many as it carries, its own."""
    encoded = [encode_item(1), encode_item([*sockets]), encode_item("none"), encode_item(sockets[0])]
    body = memoryview(b"".join(pack_singles(encoded)))
    blobs = unpack_singles(body, 4, [10, 11, 12])
    assert [blob.descriptors for blob in blobs] == [[], [10, 11], [], [12]]


def test_items_of_one_batch_are_pickled_each_by_itself(sockets: tuple[socket.socket, socket.socket]) -> None:
    """What one item shares with another is in both pickles; one that fails, or carries a socket, leaves no trace."""
    encoder = Encoder()
    shared = ["shared"]
    first, second = encoder.encode([shared, "a"]), encoder.encode([shared, "b", shared])
    with pytest.raises(LookupError):
        encoder.encode([shared, b"x" * 1_000_000, sockets[0], Raises()])
    third, fourth = encoder.encode([sockets[1], shared]), encoder.encode(shared)
    assert [item.carried for item in (first, second, third, fourth)] == [[], [], [sockets[1]], []]
    assert [travelled(item) for item in (first, second, fourth)] == [
        [shared, "a"],
        [shared, "b", shared],
        shared,
    ]
    assert [item.size for item in (first, second, third, fourth)] == [
        encode_item(item).size for item in ([shared, "a"], [shared, "b", shared], [sockets[1], shared], shared)
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_encoded_item_is_not_kept_alive(fails: bool) -> None:
    """Neither one that was pickled nor one that could not be: its sockets, say, must close with it."""
    encoder = Encoder()
    item = Stateful([Raises()] if fails else [])
    ended = weakref.ref(item)
    with contextlib.suppress(LookupError):
        encoder.encode(item)
    del item
    assert ended() is None


def test_small_pieces_are_sent_as_one() -> None:
    """Only what is large goes to the system by itself, uncopied."""
    large = b"x" * 100_000
    parts = pack_singles([encode_item(item) for item in ({"a": 1}, {"b": 2}, {"large": large}, {"c": 3}, {"d": 4})])
    assert [part is large for part in parts] == [False, True, False]


def test_socket_arrives_as_the_same_socket(sockets: tuple[socket.socket, socket.socket]) -> None:
    """Family, type, protocol and time limit are those of the original, and what is sent comes out at the other end."""
    sockets[0].settimeout(2.5)
    copy = travelled(encode_item(sockets[0]))
    assert isinstance(copy, socket.socket)
    assert (copy.family, copy.type, copy.proto) == (sockets[0].family, sockets[0].type, sockets[0].proto)
    assert copy.gettimeout() == 2.5
    copy.sendall(b"hello")
    assert sockets[1].recv(10) == b"hello"
    copy.close()


@pytest.mark.parametrize("timeout", [None, 0.0, 1.0])
def test_time_limit_of_a_socket_travels(sockets: tuple[socket.socket, socket.socket], timeout: float | None) -> None:
    """Blocking, non-blocking and limited sockets stay that."""
    sockets[0].settimeout(timeout)
    copy = travelled(encode_item(sockets[0]))
    assert isinstance(copy, socket.socket)
    assert copy.gettimeout() == timeout
    copy.close()


def test_datagram_and_listening_sockets_travel() -> None:
    """A UDP socket, and a listening TCP socket that a worker may accept on."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        copies = travelled(encode_item([datagrams, server]))
        assert isinstance(copies, list)
        assert [copy.type for copy in copies] == [socket.SOCK_DGRAM, socket.SOCK_STREAM]
        with copies[1], socket.create_connection(server.getsockname()) as client:
            accepted, _ = copies[1].accept()
            assert accepted.getpeername() == client.getsockname()
            accepted.close()
        copies[0].close()


def test_sockets_deep_inside_an_object_travel(sockets: tuple[socket.socket, socket.socket]) -> None:
    """However deep they lie, each takes its own place among the descriptors."""
    encoded = encode_item(Opens(*sockets))
    assert encoded.carried == [sockets[0], sockets[1]]
    copy = travelled(encoded)
    assert isinstance(copy, Opens)
    first, second = copy.pair[0], copy.pair[1]["second"]
    first.sendall(b"to second")
    assert sockets[1].recv(20) == b"to second"
    second.sendall(b"to first")
    assert sockets[0].recv(20) == b"to first"
    first.close()
    second.close()


def test_the_same_socket_twice_is_one_descriptor(sockets: tuple[socket.socket, socket.socket]) -> None:
    """An item that holds a socket in two places still holds one socket."""
    encoded = encode_item([sockets[0], sockets[0]])
    assert len(encoded.carried) == 1
    copy = travelled(encoded)
    assert isinstance(copy, list)
    assert copy[0] is copy[1]
    copy[0].close()


def test_closed_socket_is_refused(sockets: tuple[socket.socket, socket.socket]) -> None:
    """The message says that it is closed."""
    sockets[0].close()
    with pytest.raises(pickle.PicklingError, match=r"^a closed socket cannot be given to a worker$"):
        encode_item(sockets[0])


@pytest.mark.parametrize(
    ("mode", "buffering", "kind"),
    [
        ("rb", -1, io.BufferedReader),
        ("wb", -1, io.BufferedWriter),
        ("ab", -1, io.BufferedWriter),
        ("r+b", -1, io.BufferedRandom),
        ("w+b", -1, io.BufferedRandom),
        ("rb", 0, io.FileIO),
        ("wb", 0, io.FileIO),
        ("r+b", 0, io.FileIO),
        ("r", -1, io.TextIOWrapper),
        ("w", -1, io.TextIOWrapper),
        ("a", -1, io.TextIOWrapper),
        ("r+", -1, io.TextIOWrapper),
        ("w+", -1, io.TextIOWrapper),
    ],
)
def test_every_kind_of_file_travels(tmp_path: Path, mode: str, buffering: int, kind: type) -> None:
    """A file arrives as its own kind, able to do what it could, at the position where it was; nothing is truncated."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    text = "b" not in mode
    with open(path, mode, buffering) as file:
        if file.readable() and not mode.startswith("w"):
            file.read(4)
        elif file.writable():
            file.write("abcd" if text else b"abcd")
        copy = travelled(encode_item(file))
        assert type(copy) is kind
        assert isinstance(copy, io.IOBase)
        assert (copy.readable(), copy.writable()) == (file.readable(), file.writable())
        assert copy.tell() == file.tell()
        if copy.readable():
            expected = b"" if mode.startswith("w") else b"456789"
            assert copy.read() == (expected.decode() if text else expected)
        if copy.writable():
            copy.write("end" if text else b"end")
        copy.close()
    start = b"abcd" if mode.startswith("w") else b"0123456789abcd" if mode.startswith("a") else b"0123456789"
    assert path.read_bytes() == start + (b"end" if mode[0] in "wa" or "+" in mode else b"")


def test_exclusively_created_file_travels(tmp_path: Path) -> None:
    """Mode "x" is about the opening; what was opened can be written."""
    with open(tmp_path / "new", "x") as file:
        copy = travelled(encode_item(file))
        assert isinstance(copy, io.TextIOWrapper)
        copy.write("written")
        copy.close()
    assert (tmp_path / "new").read_text() == "written"


def test_text_file_goes_on_where_its_reader_stopped(tmp_path: Path) -> None:
    """The text layer reads ahead; the copy begins behind the last character taken, with the same encoding."""
    path = tmp_path / "text"
    path.write_text("grün\nblau\nrot\n" * 2000, encoding="utf-8")
    with open(path, encoding="utf-8", errors="replace") as file:
        assert file.read(7) == "grün\nbl"
        copy = travelled(encode_item(file))
    assert isinstance(copy, io.TextIOWrapper)
    assert (copy.encoding, copy.errors) == ("utf-8", "replace")
    assert copy.readline() == "au\n"
    assert copy.readline() == "rot\n"
    copy.close()


def test_text_layer_made_by_hand_travels() -> None:
    """A text layer that `open()` did not make, such as the output of a subprocess, travels too."""
    command = [sys.executable, "-c", "print('hello')"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        copy = travelled(encode_item(process.stdout))
        assert isinstance(copy, io.TextIOWrapper)
        assert copy.read() == "hello\n"
        copy.close()


def test_pipe_travels() -> None:
    """A file that cannot be positioned travels as it is."""
    read, write = os.pipe()
    with open(read, "rb") as reader, open(write, "wb") as writer:
        copies = travelled(encode_item((reader, writer)))
        assert isinstance(copies, tuple)
        copies[1].write(b"through")
        copies[1].close()
        writer.close()
        assert copies[0].read() == b"through"
        copies[0].close()


class Raw(io.RawIOBase):
    def readable(self) -> bool:
        return True


@pytest.mark.parametrize("kind", ["BytesIO", "GzipFile", "Raw"])
def test_file_without_a_descriptor_of_its_own_is_refused(tmp_path: Path, kind: str) -> None:
    """What lies on memory, on another program's code or on a compressed file cannot travel as a descriptor."""
    with gzip.open(tmp_path / "packed", "wb") as packed:
        packed.write(b"text")
    beneath = {
        "BytesIO": lambda: io.TextIOWrapper(io.BytesIO(b"text")),
        "GzipFile": lambda: gzip.open(tmp_path / "packed", "rt"),  # noqa: SIM115
        "Raw": lambda: io.BufferedReader(Raw()),
    }
    with (
        beneath[kind]() as file,
        pytest.raises(pickle.PicklingError, match=f"^only files that lie on a descriptor can travel, .* a {kind}$"),
    ):
        encode_item(file)


def test_closed_file_is_refused(tmp_path: Path) -> None:
    """It raises, rather than to send somebody else's descriptor."""
    file = open(tmp_path / "file", "wb")  # noqa: SIM115
    file.close()
    with pytest.raises(ValueError, match="closed file"):
        encode_item(file)


@pytest.mark.parametrize(
    ("item", "error"),
    [(Raises(), LookupError), ((number for number in range(3)), TypeError), (open, None), (io.StringIO("text"), None)],
)
def test_item_that_cannot_be_pickled_raises(item: object, error: type[Exception] | None) -> None:
    """Whatever the item's own methods raise comes out; files in memory and functions by name are no trouble."""
    if error is None:
        assert type(travelled(encode_item(item))) is type(item)
        return
    with pytest.raises(error):
        encode_item(item)


@pytest.mark.parametrize("mode", ["rb", "r", "r+b", "r+"])
def test_file_can_be_sent_again(tmp_path: Path, mode: str) -> None:
    """An item that is retried is encoded a second time; its file is still at the same position, here and there."""
    (tmp_path / "file").write_text("0123456789")
    with open(tmp_path / "file", mode) as file:
        file.read(4)
        for _ in range(3):
            copy = travelled(encode_item(file))
            assert isinstance(copy, io.IOBase)
            assert (file.tell(), copy.tell()) == (4, 4)
            copy.close()
        assert file.read() == ("456789" if isinstance(file, io.TextIOWrapper) else b"456789")


def test_text_position_that_is_no_byte_position_is_refused(tmp_path: Path) -> None:
    """In the middle of a text whose decoder has a state, nobody could go on; at its start anybody can."""
    (tmp_path / "text").write_bytes(b"\xfe\xff" + "some text".encode("utf-16-be"))
    with open(tmp_path / "text", encoding="utf-16") as file:
        copy = travelled(encode_item(file))
        assert isinstance(copy, io.TextIOWrapper)
        assert copy.read() == "some text"
        copy.close()
        file.seek(0)
        file.read(3)
        with pytest.raises(pickle.PicklingError, match=r"^a utf-16 text .* cannot travel$"):
            encode_item(file)


def test_item_that_cannot_be_unpickled_raises_where_it_is_unpickled(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    """The sender knows nothing of it; the receiver's descriptors are closed all the same."""
    blob = arrived(encode_item([Unloadable(), sockets[0]]))
    with pytest.raises(ValueError, match="invalid literal"):
        blob.decode()
    assert blob.descriptors == []


def test_descriptors_that_an_item_does_not_use_are_closed() -> None:
    """A blob that is decoded without taking them, and one that is discarded, twice even, leave nothing open."""
    before = open_descriptors()
    blob = ItemBlob(pickle.dumps("plain"), [os.open("/dev/null", os.O_RDONLY) for _ in range(3)])
    assert blob.decode() == "plain"
    assert open_descriptors() == before
    blob = ItemBlob(b"", [os.open("/dev/null", os.O_RDONLY) for _ in range(3)])
    blob.discard()
    blob.discard()
    assert open_descriptors() == before


def test_large_bytes_are_not_copied() -> None:
    """A large bytes object inside an item is handed to the socket as it is."""
    large = b"x" * 5_000_000
    encoded = encode_item({"data": large, "more": 1})
    assert [part for part in encoded.parts if part is large] == [large]
    assert encoded.size == sum(map(len, encoded.parts))
    assert pickle.loads(b"".join(encoded.parts)) == {"data": large, "more": 1}


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_buffers_travel(size: int) -> None:
    """Objects that pickle as buffers, as numpy's arrays do, may be of any size."""
    copy = pickle.loads(b"".join(encode_item(Buffered(b"x" * size)).parts))
    assert isinstance(copy, Buffered)
    assert copy.data == b"x" * size


def test_buffers_count_in_bytes() -> None:
    """A buffer whose elements are larger than a byte counts with all its bytes."""
    encoded = encode_item(pickle.PickleBuffer(array.array("d", range(20_000))))
    assert encoded.size == len(b"".join(encoded.parts))
    assert pickle.loads(b"".join(encoded.parts)) == array.array("d", range(20_000)).tobytes()


def test_bytearray_may_grow_after_it_was_encoded() -> None:
    """What waits to be sent must not change its length, so a bytearray is taken as it is at this moment."""
    item = bytearray(b"x" * 1_000_000)
    encoded = encode_item(item)
    item += b"more"
    assert pickle.loads(b"".join(encoded.parts)) == b"x" * 1_000_000


def test_registered_reducers_are_used() -> None:
    """What `copyreg` knows of other types goes on to hold."""
    import copyreg

    def reduce(value: Stateful) -> tuple[object, ...]:
        return Stateful, (("reduced", value.value),)

    copyreg.pickle(Stateful, reduce)
    try:
        encoded = encode_item(Stateful(1))
    finally:
        del copyreg.dispatch_table[Stateful]
    assert pickle.loads(b"".join(encoded.parts)) == Stateful(("reduced", 1))


def test_user_functions_with_our_names_are_not_taken_for_ours(sockets: tuple[socket.socket, socket.socket]) -> None:
    """An item with a socket may also name any other global."""
    copy = travelled(encode_item((sockets[0], os.path.join, Stateful)))
    assert isinstance(copy, tuple)
    assert copy[1:] == (os.path.join, Stateful)
    copy[0].close()
