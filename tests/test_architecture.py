"""The layering of the source, held as data: which module may import which, and a few rules that keep rooms apart.

The tables are the architecture page's twin. Where a test fails here, either the import does not belong, or the picture
changes, and then the table and the architecture page change with it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import quasiqueue

PACKAGE = Path(quasiqueue.__file__).parent
LONGEST_FILE = 400

# The floor of each module, or of each room (a folder). A module imports from floors below its own.
FLOORS = {
    "errors": 0,
    "events": 0,
    "settings": 0,
    "_types": 0,
    "_callables": 1,
    "_wire": 1,
    "_main": 2,
    "_worker": 2,
    "_template": 2,
    "_rooms": 3,
    "_runtime": 3,
    "_queue": 4,
    "__init__": 4,
    "testing": 5,
    "cli": 5,
    "observe": 5,
}

# On its own floor a module imports exactly these: one line per module, an empty one where it imports none.
NEIGHBOURS = {
    "_types": "",
    "errors": "",
    "events": "",
    "settings": "errors",
    "_callables": "",
    "_wire.__init__": "",
    "_wire.channel": "_wire.frames",
    "_wire.child": "",
    "_wire.codec": "",
    "_wire.failures": "",
    "_wire.frames": "",
    "_wire.messages": "_wire.codec _wire.frames",
    "_wire.scoreboard": "",
    "_wire.spec": "_callables",
    "_main.__init__": "",
    "_main.backlog": "_main.parcel",
    "_main.births": "_main.policy _main.slot _main.starter _main.worker",
    "_main.collector": "_main.policy _main.settler _main.texts _main.threads",
    "_main.deaths": "_main.ledger _main.policy _main.settler _main.starter _main.worker",
    "_main.dispatcher": "_main.intake _main.ledger _main.parcel _main.policy _main.settler _main.texts _main.worker",
    "_main.feeder": "_main.intake _main.judge _main.policy _main.source _main.threads",
    "_main.intake": "_main.backlog _main.keys _main.parcel _main.recent",
    "_main.judge": "_main.policy _main.source _main.texts",
    "_main.keys": "",
    "_main.ledger": "_main.parcel",
    "_main.limits": "_main.memory _main.policy _main.slot _main.starter _main.texts _main.worker",
    "_main.logbook": "_main.texts",
    "_main.memory": "",
    "_main.overview": "_main.memory _main.tally _main.worker",
    "_main.parcel": "_main.keys",
    "_main.policy": "",
    "_main.recent": "_main.parcel",
    "_main.settler": "_main.intake _main.ledger _main.parcel _main.policy _main.tally _main.texts _main.worker",
    "_main.shutdown": (
        "_main.dispatcher _main.feeder _main.intake _main.settler _main.starter _main.supervisor _main.worker"
    ),
    "_main.signals": "",
    "_main.slot": "_main.policy _main.worker",
    "_main.source": "_main.threads",
    "_main.spawn": "_main.starter",
    "_main.starter": "",
    "_main.supervisor": (
        "_main.births _main.deaths _main.ledger _main.limits _main.policy _main.settler _main.slot _main.starter "
        "_main.tally _main.texts _main.worker"
    ),
    "_main.tally": "",
    "_main.template": "_main.starter _main.worker",
    "_main.texts": "",
    "_main.threads": "",
    "_main.ticker": "",
    "_main.worker": "_main.ledger",
    "_template.__init__": "",
    "_template.child": "",
    "_template.guard": "",
    "_template.process": "_template.child",
    "_worker.__init__": "",
    "_worker.async_loop": "_worker.failures _worker.line _worker.process",
    "_worker.context": "",
    "_worker.entry": "_worker.async_loop _worker.context _worker.line _worker.process _worker.sync_loop",
    "_worker.failures": "",
    "_worker.line": "_worker.process",
    "_worker.process": "",
    "_worker.sync_loop": "_worker.failures _worker.line _worker.process",
    "_rooms": "",
    "_runtime": "_rooms",
    "__init__": "_queue",
    "_queue": "",
    "testing.__init__": "testing.clock testing.faults testing.inline testing.outcomes",
    "testing.bench": "testing.calls testing.clock testing.feeding",
    "testing.calls": "",
    "testing.clock": "",
    "testing.faults": "",
    "testing.feeding": "testing.calls testing.clock",
    "testing.inline": "testing.bench testing.calls testing.clock testing.outcomes",
    "testing.outcomes": "",
}

# Rooms that run in different processes, and rooms whose work only the runtime may connect.
STRANGERS = [
    {"_main", "_worker", "_template"},
    {"_main.feeder", "_main.dispatcher", "_main.supervisor"},
]

# What may be made at a module's top level by a call: none of it can change.
UNCHANGING = {
    "BeforeValidator",
    "CMSG_SPACE",
    "Struct",
    "TypeVar",
    "compile",
    "frozenset",
    "getLogger",
    "iter",  # of an empty tuple: an iterator that is over
    "object",
    "partial",
    "range",
    "str",
    "type",
}
CHANGES = {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update"}


def name_of(path: Path) -> str:
    """Return a file's module name inside the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


SOURCES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def floor_of(module: str) -> int | None:
    """Return the floor that a module lies on; None if nobody has given it one."""
    return FLOORS.get(module, FLOORS.get(module.partition(".")[0]))


def is_same_room(one: str, other: str) -> bool:
    """Tell whether two modules lie in one folder of the package."""
    return "." in one and one.partition(".")[0] == other.partition(".")[0]


def imports_of(module: str) -> Iterator[tuple[str, int]]:
    """Yield each module of the package that this one imports, anywhere in it, with the line."""
    path = SOURCES[module]
    folder = module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ["quasiqueue", *folder[: len(folder) - node.level + 1]] if node.level else []
            base += node.module.split(".") if node.module else []
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for name in names:
            if name[0] == "quasiqueue":
                yield nearest_module(name[1:]), node.lineno


def nearest_module(parts: list[str]) -> str:
    """Return the module that a dotted name stands for, or that defines what it stands for."""
    for end in range(len(parts), 0, -1):
        for name in (".".join(parts[:end]), ".".join([*parts[:end], "__init__"])):
            if name in SOURCES:
                return name
    return "__init__"


def where(module: str, line: int) -> str:
    """Return a place as file and line."""
    return f"src/quasiqueue/{SOURCES[module].relative_to(PACKAGE)}:{line}"


def report(faults: list[str]) -> None:
    """Fail with all faults, one per line."""
    assert not faults, "\n" + "\n".join(faults)


def test_every_module_has_a_floor_and_a_line() -> None:
    """A new module is entered into the tables, a deleted one is taken out of them."""
    faults = [
        f"{where(module, 1)}: {module!r} has no floor: give it one in FLOORS"
        for module in SOURCES
        if floor_of(module) is None
    ]
    faults += [
        f"{where(module, 1)}: {module!r} has no line in NEIGHBOURS: add one with the neighbours that it imports"
        for module in SOURCES.keys() - NEIGHBOURS.keys()
    ]
    faults += [
        f"NEIGHBOURS has a line for {module!r}, which is no module: take it out"
        for module in NEIGHBOURS.keys() - SOURCES.keys()
    ]
    report(sorted(faults))


@pytest.mark.parametrize("module", SOURCES)
def test_module_imports_only_from_below_and_its_named_neighbours(module: str) -> None:
    """Whatever a module imports lies on a floor below, or is named in its line, in the same room."""
    floor = floor_of(module)
    assert floor is not None
    named = set(NEIGHBOURS.get(module, "").split())
    faults = []
    for imported, line in imports_of(module):
        theirs = floor_of(imported)
        if theirs is None or theirs > floor:
            faults.append(f"{where(module, line)}: imports {imported!r} from a floor above: turn the dependency round")
        elif theirs == floor and imported not in named:
            faults.append(
                f"{where(module, line)}: imports {imported!r}, which its line in NEIGHBOURS does not name: "
                "do without, or change the table and the architecture page together"
            )
    report(faults)


@pytest.mark.parametrize("module", NEIGHBOURS)
def test_named_neighbours_are_imported(module: str) -> None:
    """The table allows nothing that is not used, so it stays a picture of the code."""
    imported = {name for name, _ in imports_of(module)}
    unused = set(NEIGHBOURS[module].split()) - imported
    report(
        [f"{where(module, 1)}: does not import {name!r} any more: take it out of its line" for name in sorted(unused)]
    )


def test_neighbours_share_a_room() -> None:
    """On one floor, modules import from their own folder; only the files at the top import each other freely."""
    faults = [
        f"the line of {module!r} names {other!r}, which lies in another room: it belongs on a floor below"
        for module, line in NEIGHBOURS.items()
        for other in line.split()
        if "." in module + other and not is_same_room(module, other) and floor_of(module) == 2
    ]
    report(faults)


@pytest.mark.parametrize("strangers", STRANGERS, ids=lambda strangers: "-".join(sorted(strangers)))
def test_strangers_never_import_each_other(strangers: set[str]) -> None:
    """Processes share `_wire` and nothing else; the three rooms that act are connected by the runtime alone."""
    faults = []
    for module in SOURCES:
        mine = {name for name in strangers if module == name or module.startswith(name + ".")}
        for imported, line in imports_of(module) if mine else ():
            theirs = {name for name in strangers - mine if imported == name or imported.startswith(name + ".")}
            faults += [f"{where(module, line)}: imports {imported!r}: have the runtime hand it in" for _ in theirs]
    report(faults)


def test_no_import_cycles() -> None:
    """Modules can be put into an order in which each imports only those before it."""
    waiting = {module: {name for name, _ in imports_of(module)} for module in SOURCES}
    while ready := [module for module, imported in waiting.items() if not imported & waiting.keys()]:
        for module in ready:
            del waiting[module]
    report([f"{where(module, 1)}: is part of an import cycle with others listed here" for module in sorted(waiting)])


@pytest.mark.parametrize("module", SOURCES)
def test_file_is_short_enough(module: str) -> None:
    """A file of 400 lines or more is several rooms."""
    lines = len(SOURCES[module].read_text().splitlines())
    assert lines < LONGEST_FILE, f"{where(module, lines)}: has {lines} lines: split it below {LONGEST_FILE}"


@pytest.mark.parametrize("module", SOURCES)
def test_module_keeps_no_state(module: str) -> None:
    """At the top level and in class bodies stand constants, loggers and types: nothing that a run could change."""
    tree = ast.parse(SOURCES[module].read_text())
    report([f"{where(module, line)}: {fault}" for line, fault in state_in(tree)])


def state_in(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the lines of a module that keep state which outlives a call and belongs to no instance."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield node.lineno, f"changes the global {node.names[0]!r}: keep it in an instance"
    bodies = [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    for body in bodies:
        for name, value in assignments(body):
            is_class = isinstance(body, ast.ClassDef)
            if isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
                if name in {"__all__", "__slots__"}:
                    continue
                if is_class or name != name.upper() or is_empty(value) or is_changed(tree, name):
                    yield value.lineno, f"{name} can change: make it a tuple or frozenset, or keep it in an instance"
            elif isinstance(value, ast.Call) and not is_class:
                called = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "?")
                if called not in UNCHANGING:
                    yield value.lineno, f"{name} is an instance, made by {called}(): make it where it is used"


def assignments(body: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """Yield what is assigned in a body itself, its `if` branches included."""
    waiting: list[ast.stmt] = list(body.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.If):
            waiting += [*node.body, *node.orelse]
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield ast.unparse(node.target), node.value
        elif isinstance(node, ast.Assign):
            yield from ((ast.unparse(target), node.value) for target in node.targets)


def is_empty(value: ast.expr) -> bool:
    """Tell whether a display holds nothing: an empty constant would be of no use."""
    return not any(getattr(value, field, ()) for field in ("elts", "keys", "generators"))


def is_changed(tree: ast.Module, name: str) -> bool:
    """Tell whether any line of a module changes the object with this name."""
    for node in ast.walk(tree):
        is_stored = isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)
        is_called = isinstance(node, ast.Attribute) and node.attr in CHANGES
        if (is_stored or is_called) and isinstance(node.value, ast.Name) and node.value.id == name:
            return True
    return False


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("SIZES = {'a': 1}", []),
        ("WORDS = ('a', 'b')\nKINDS = frozenset({1})", []),
        ("cache = {}", [1]),
        ("CACHE = {}", [1]),
        ("CACHE = {1: 2}\ndef f():\n    CACHE[3] = 4", [1]),
        ("NAMES = ['a']\ndef f():\n    NAMES.append('b')", [1]),
        ("queue = Queue()", [1]),
        ("class A:\n    seen = []", [2]),
        ("class A:\n    seen: list = field(default_factory=list)", []),
        ("count = 0\ndef f():\n    global count\n    count += 1", [3]),
        ("if True:\n    lock = threading.Lock()", [2]),
    ],
)
def test_rule_about_state_sees_what_it_should(text: str, lines: list[int]) -> None:
    """The rule itself is tested: what keeps state is found, what cannot change is not."""
    assert [line for line, _ in state_in(ast.parse(text))] == lines


def test_public_names_are_sorted_and_exported_once() -> None:
    """`__all__` names things that exist, in ruff's order, each once, and all that `__init__` imports."""
    names = quasiqueue.__all__
    constants = sorted(name for name in names if name.isupper())
    classes = sorted(name for name in names if name[0].isupper() and not name.isupper())
    functions = sorted(name for name in names if not name[0].isupper())
    assert names == [*constants, *classes, *functions]
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(quasiqueue, name)] == []
    tree = ast.parse(SOURCES["__init__"].read_text())
    imported = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(imported) == sorted(names)


def test_public_names_are_defined_in_one_place() -> None:
    """Each public class and function says which module it comes from, and is that module's own."""
    for name in quasiqueue.__all__:
        thing = getattr(quasiqueue, name)
        if isinstance(thing, type):
            assert thing.__module__.startswith("quasiqueue"), name
            assert thing.__name__ == name
