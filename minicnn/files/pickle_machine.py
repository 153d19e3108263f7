"""The stack machine that `pickle_values` runs pickles on: its stack, its memo, and placeholders of unknown names."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minicnn.files.arrays import DAMAGED
from minicnn.names import short

RESAVE = "in PyTorch, save the state dict alone, `torch.save(model.state_dict(), path)`"

LIMIT = 2**23
"""The longest pickle in bytes: 8 MiB."""
BUDGET = 12 * 2**20
"""Bytes of Python objects that a pickle may create, by the estimate below, plus a quarter of the file's size."""

STEP, TEXT, MEMO = 40, 4, 60  # estimated bytes: of an instruction, of each byte of a text, of a value in the memo


@dataclass(frozen=True)
class Global:
    """A known name. `call` gets the arguments if the pickle calls it; `about` is for the caller."""

    name: str
    call: Callable[..., Any] | None = None
    about: Any = None


class Unknown:
    """The placeholder of a name that is not known, or of what the pickle would have made with it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class OddKey:
    """The placeholder of a key that is neither a text nor a small integer: hashing nested tuples can take very long."""

    __slots__ = ("said",)

    def __init__(self, said: str) -> None:
        self.said = said

    def __repr__(self) -> str:
        return self.said


class Machine:
    """A program and the state of the machine that runs it."""

    def __init__(self, data: bytes, size: int, known: dict[str, Global], persistent: Callable[[Any], Any] | None,
                 python2: bool) -> None:
        self.data, self.position = data, 0
        self.known, self.persistent, self.python2 = known, persistent, python2
        self.unknown: dict[str, Unknown] = {}
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self._marks: list[int] = []
        self._left = BUDGET + size // 4

    def charge(self, cost: int) -> None:
        """Count `cost` bytes; ValueError where the pickle creates more than a file of its size may."""
        self._left -= cost
        if self._left < 0:
            raise ValueError(f"it holds more small values than a checkpoint of its size may: {RESAVE}")

    # The operands of instructions.

    def take(self, count: int) -> bytes:
        """The next bytes of the program."""
        taken = self.data[self.position : self.position + count]
        if len(taken) != count:
            raise ValueError(f"its pickle ends too early, or is longer than {LIMIT >> 20} MiB: {DAMAGED}")
        self.position += count
        return taken

    def number(self, form: str) -> Any:
        """The next number of the program, in the notation of struct."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, length: int) -> str:
        """The next text of that many bytes."""
        taken = self.take(length)
        self.charge(TEXT * length)
        return _utf8(taken)

    def old_text(self, length: int) -> str | bytes:
        """The next text of Python 2, which may hold any bytes."""
        taken = self.take(length)
        if self.python2:
            return taken
        self.charge(TEXT * length)
        try:
            return taken.decode()
        except UnicodeDecodeError:
            return taken

    def line(self) -> str:
        """The text up to the end of the line."""
        end = self.data.find(b"\n", self.position, self.position + 200)
        if end < 0:
            raise ValueError(f"its pickle has a name that does not end: {DAMAGED}")
        return _utf8(self.take(end + 1 - self.position)[:-1])

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the last value from the stack, above the last mark."""
        if len(self.stack) <= (self._marks[-1] if self._marks else 0):
            raise ValueError(f"its pickle reads a value that is not there: {DAMAGED}")
        return self.stack.pop()

    def last(self, kind: type) -> Any:
        """The last value on the stack, which must be a `kind` or an `Unknown`."""
        value = self.pop()
        self.push(value)
        if not isinstance(value, (kind, Unknown)):
            raise ValueError(f"its pickle uses a {type(value).__name__} as a {kind.__name__}: {RESAVE}")
        return value

    def mark(self) -> None:
        """Remember the height of the stack."""
        self._marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        """Take everything above the last mark."""
        if not self._marks:
            raise ValueError(f"its pickle reads values that are not there: {DAMAGED}")
        start = self._marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def several(self, count: int) -> None:
        """The last `count` values become a tuple."""
        values = [self.pop() for _ in range(count)]
        self.push(tuple(values[::-1]))

    def put(self, index: int) -> None:
        """Store the last value in the memo."""
        self.charge(MEMO)
        self.memo[index] = self.last(object)

    def get(self, index: int) -> None:
        """Put a value from the memo on the stack."""
        if index not in self.memo:
            raise ValueError(f"its pickle reads a value that it did not store: {DAMAGED}")
        self.push(self.memo[index])

    def name(self, module: Any, name: Any) -> Any:
        """A known name, or the placeholder of any other; nothing is imported."""
        if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > 200:
            raise ValueError(f"its pickle has a name that is not a text: {RESAVE}")
        whole = f"{module}.{name}"
        return self.known[whole] if whole in self.known else self.placeholder(whole)

    def placeholder(self, name: str) -> Unknown:
        """The one placeholder of that name."""
        if name not in self.unknown:
            self.charge(MEMO + TEXT * len(name))
            self.unknown[name] = Unknown(name)
        return self.unknown[name]

    def make(self, function: Any, arguments: Any) -> None:
        """Call a known function; what an unknown name would make is its placeholder."""
        if isinstance(function, Unknown):
            return self.push(function)
        if not isinstance(function, Global) or function.call is None or not isinstance(arguments, tuple):
            name = short(getattr(function, "name", function))
            raise ValueError(f"its pickle calls {name}, which is not a function: {RESAVE}")
        self.charge(STEP * sum(len(a) for a in arguments if isinstance(a, (list, tuple, dict, str))))
        try:
            self.push(function.call(*arguments))
        except TypeError:
            raise ValueError(f"its pickle calls {function.name} with {len(arguments)} arguments of the wrong number or "
                             f"kind: {DAMAGED}") from None

    def reduce(self) -> None:
        """REDUCE and NEWOBJ: a function, or a class, and its arguments."""
        arguments = self.pop()
        self.make(self.pop(), arguments)

    def new_with_names(self) -> None:
        """NEWOBJ_EX: a class, its arguments, its named arguments."""
        self.pop()
        self.reduce()

    def instance(self) -> None:
        """INST: a class by two lines, its arguments above the mark."""
        function = self.name(self.line(), self.line())
        self.make(function, tuple(self.since_mark()))

    def object(self) -> None:
        """OBJ: a class and its arguments above the mark."""
        function, *arguments = self.since_mark() or [None]
        self.make(function, tuple(arguments))

    def append(self, values: list[Any]) -> None:
        """Add values to the list below."""
        below = self.last(list)
        if not isinstance(below, Unknown):
            below.extend(values)

    def fill_set(self) -> None:
        """ADDITEMS: the values of a set are not kept."""
        self.since_mark()
        self.last(Unknown)

    def frozen_set(self) -> None:
        """FROZENSET: a set, whose values are not kept."""
        self.since_mark()
        self.push(self.placeholder("a set"))

    def extension(self, count: int) -> None:
        """EXT1, 2, 4: a name by its number in a table that the file lacks."""
        self.take(count)
        self.push(self.placeholder("an extension"))

    def set(self, flat: list[Any]) -> None:
        """Add key, value, key, value, … to the dictionary below."""
        target = self.last(dict)
        if len(flat) % 2:
            raise ValueError(f"its pickle has a key without a value: {DAMAGED}")
        if not isinstance(target, Unknown):
            for key, value in zip(flat[::2], flat[1::2], strict=True):
                target[as_key(key)] = value

    def build(self) -> None:
        """Attributes of an object: those of an `Unknown` and of a dictionary are ignored."""
        state, target = self.pop(), self.pop()
        built = getattr(target, "build", None)
        if built is None and not isinstance(target, (Unknown, dict)):
            raise ValueError(f"its pickle gives attributes to a {type(target).__name__}: {RESAVE}")
        self.push(built(state) if built else target)

    def long(self, length: int) -> None:
        """An integer of many digits, as placeholder: nothing needs its value."""
        if length < 0:
            raise ValueError(f"its pickle has an integer of {length} bytes: {DAMAGED}")
        self.take(length)
        self.push(self.placeholder("an integer"))

    def persistent_value(self) -> None:
        """BINPERSID: an object that is kept outside of the pickle."""
        identity = self.pop()
        self.push(self.placeholder("a persistent object") if self.persistent is None else self.persistent(identity))


def as_key(key: Any) -> Any:
    """The key of a dictionary: a text, a short bytes or a small integer is itself, any other a placeholder."""
    if isinstance(key, str) or (isinstance(key, int) and key.bit_length() < 64):
        return key
    if isinstance(key, bytes) and len(key) < 200:
        return key
    return OddKey(short(key))


def _utf8(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise ValueError(f"its pickle has a text that is not UTF-8: {DAMAGED}") from None
