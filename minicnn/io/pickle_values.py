"""Plain values from pickles, without Python's pickle, which runs any code that a file names.

A pickle is a program for a small stack machine. The machine here supports only the instructions that build numbers,
strings, tuples, lists and dictionaries. It imports nothing: a name like "os.system" is looked up in the caller's table
of known names and refused if it is missing. Source: Python's pickletools, which documents every instruction.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minicnn.io.arrays import DAMAGED
from minicnn.names import short

LIMIT = 2**23
"""The longest pickle in bytes: 8 MiB."""
BUDGET = 12 * 2**20
"""Bytes of Python objects that a pickle may create, by the estimate below, plus a quarter of the file's size."""

_STEP, _TEXT, _MEMO = 40, 4, 60  # estimated bytes: of an instruction, of each byte of a text, of a value in the memo


@dataclass(frozen=True)
class Global:
    """A known name. `call` gets the arguments if the pickle calls it; `about` is for the caller."""

    name: str
    call: Callable[..., Any] | None = None
    about: Any = None


class Machine:
    """Runs the pickles that follow each other in `data`."""

    def __init__(self, data: bytes, size: int, known: dict[str, Global], persistent: Callable[[Any], Any]):
        self.data, self.position = data, 0
        self.known, self.persistent = known, persistent
        self._left = BUDGET + size // 4

    def value(self) -> Any:
        """The value of the next pickle. ValueError where it is damaged or not supported."""
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self.memo: dict[int, Any] = {}
        while True:
            code = self.bytes(1)
            if code == b".":
                result = self.pop()
                self.stack, self.memo = [], {}  # frees all but the result before arrays are allocated
                return result
            step = _STEPS.get(code)
            if step is None:
                raise ValueError(f"it uses the pickle instruction {code!r}, which state dicts do not use: {RESAVE}")
            self.charge(_STEP)
            step(self)

    def charge(self, cost: int) -> None:
        """Count `cost` bytes; ValueError where the pickle creates more than a file of its size may."""
        self._left -= cost
        if self._left < 0:
            raise ValueError(f"it holds more small values than a checkpoint of its size may: {RESAVE}")

    # The operands of instructions.

    def bytes(self, count: int) -> bytes:
        """The next bytes of the program."""
        taken = self.data[self.position : self.position + count]
        if len(taken) != count:
            raise ValueError(f"its pickle ends too early, or is longer than {LIMIT >> 20} MiB: {DAMAGED}")
        self.position += count
        return taken

    def number(self, form: str) -> Any:
        """The next number of the program, in the notation of struct."""
        return struct.unpack(form, self.bytes(struct.calcsize(form)))[0]

    def text(self, length: int) -> str:
        """The next text of that many bytes."""
        taken = self.bytes(length)
        self.charge(_TEXT * length)
        return _utf8(taken)

    def line(self) -> str:
        """The text up to the end of the line."""
        end = self.data.find(b"\n", self.position, self.position + 200)
        if end < 0:
            raise ValueError(f"its pickle has a name that does not end: {DAMAGED}")
        return _utf8(self.bytes(end + 1 - self.position)[:-1])

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the last value from the stack, above the last mark."""
        if len(self.stack) <= (self._marks[-1] if self._marks else 0):
            raise ValueError(f"its pickle reads a value that is not there: {DAMAGED}")
        return self.stack.pop()

    def last(self, kind: type) -> Any:
        """The last value on the stack, which must be a `kind`."""
        value = self.pop()
        self.push(value)
        if not isinstance(value, kind):
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
        self.charge(_MEMO)
        self.memo[index] = self.last(object)

    def get(self, index: int) -> None:
        """Put a value from the memo on the stack."""
        if index not in self.memo:
            raise ValueError(f"its pickle reads a value that it did not store: {DAMAGED}")
        self.push(self.memo[index])

    def name(self, module: Any, name: Any) -> None:
        """Put a known name on the stack; ValueError for any other."""
        if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > 200:
            raise ValueError(f"its pickle has a name that is not a text: {RESAVE}")
        whole = f"{module}.{name}"
        if whole not in self.known:
            raise ValueError(f"it refers to {short(whole)}, and names other than those of tensors are refused, because "
                             f"they could run code: {RESAVE}")
        self.push(self.known[whole])

    def reduce(self) -> None:
        """Call a known function."""
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or function.call is None or not isinstance(arguments, tuple):
            name = short(getattr(function, "name", function))
            raise ValueError(f"its pickle calls {name}, which is not a function: {RESAVE}")
        self.charge(_STEP * sum(len(a) for a in arguments if isinstance(a, (list, tuple, dict, str))))
        try:
            self.push(function.call(*arguments))
        except TypeError:
            raise ValueError(f"its pickle calls {function.name} with {len(arguments)} arguments of the wrong number or "
                             f"kind: {DAMAGED}") from None

    def append(self, values: list[Any]) -> None:
        """Add values to the list below."""
        self.last(list).extend(values)

    def set(self, flat: list[Any]) -> None:
        """Add key, value, key, value, … to the dictionary below."""
        target = self.last(dict)
        if len(flat) % 2:
            raise ValueError(f"its pickle has a key without a value: {DAMAGED}")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            target[as_key(key)] = value

    def build(self) -> None:
        """Attributes of an OrderedDict (`_metadata`), which are ignored; nothing else may have any."""
        self.pop()
        self.last(dict)


RESAVE = "in PyTorch, save the state dict alone, `torch.save(model.state_dict(), path)`"


def as_key(key: Any) -> Any:
    """The key of a dictionary, a text or a small integer: hashing nested tuples could take very long."""
    if not (isinstance(key, str) or (isinstance(key, int) and key.bit_length() < 64)):
        raise ValueError(f"it holds a dictionary with {short(key)} as a key, which is not a text: {RESAVE}")
    return key


def _utf8(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise ValueError(f"its pickle has a text that is not UTF-8: {DAMAGED}") from None


def _proto(m: Machine) -> None:
    version = m.number("<B")
    if version > 5:
        raise ValueError(f"its pickle has protocol {version}, and 2 to 5 can be read: {DAMAGED}")


_STEPS: dict[bytes, Callable[[Machine], Any]] = {
    b"\x80": _proto,                                                               # PROTO
    b"\x95": lambda m: m.bytes(8),                                                 # FRAME: a hint for fast readers
    b"N": lambda m: m.push(None),                                                  # NONE
    b"\x88": lambda m: m.push(True),                                               # NEWTRUE
    b"\x89": lambda m: m.push(False),                                              # NEWFALSE
    b"K": lambda m: m.push(m.number("<B")),                                        # BININT1
    b"M": lambda m: m.push(m.number("<H")),                                        # BININT2
    b"J": lambda m: m.push(m.number("<i")),                                        # BININT
    b"\x8a": lambda m: m.push(int.from_bytes(m.bytes(m.number("<B")), "little", signed=True)),   # LONG1
    b"G": lambda m: m.push(m.number(">d")),                                        # BINFLOAT
    b"X": lambda m: m.push(m.text(m.number("<I"))),                                # BINUNICODE
    b"\x8c": lambda m: m.push(m.text(m.number("<B"))),                             # SHORT_BINUNICODE
    b"U": lambda m: m.push(m.text(m.number("<B"))),                                # SHORT_BINSTRING, Python 2's
    b")": lambda m: m.push(()),                                                    # EMPTY_TUPLE
    b"\x85": lambda m: m.several(1),                                               # TUPLE1
    b"\x86": lambda m: m.several(2),                                               # TUPLE2
    b"\x87": lambda m: m.several(3),                                               # TUPLE3
    b"(": Machine.mark,                                                            # MARK
    b"t": lambda m: m.push(tuple(m.since_mark())),                                 # TUPLE
    b"]": lambda m: m.push([]),                                                    # EMPTY_LIST
    b"a": lambda m: m.append([m.pop()]),                                           # APPEND
    b"e": lambda m: m.append(m.since_mark()),                                      # APPENDS
    b"}": lambda m: m.push({}),                                                    # EMPTY_DICT
    b"s": lambda m: m.set([m.pop(), m.pop()][::-1]),                               # SETITEM
    b"u": lambda m: m.set(m.since_mark()),                                         # SETITEMS
    b"q": lambda m: m.put(m.number("<B")),                                         # BINPUT
    b"r": lambda m: m.put(m.number("<I")),                                         # LONG_BINPUT
    b"\x94": lambda m: m.put(len(m.memo)),                                         # MEMOIZE
    b"h": lambda m: m.get(m.number("<B")),                                         # BINGET
    b"j": lambda m: m.get(m.number("<I")),                                         # LONG_BINGET
    b"c": lambda m: m.name(m.line(), m.line()),                                    # GLOBAL
    b"\x93": lambda m: m.name(*[m.pop(), m.pop()][::-1]),                          # STACK_GLOBAL
    b"Q": lambda m: m.push(m.persistent(m.pop())),                                 # BINPERSID
    b"R": Machine.reduce,                                                          # REDUCE
    b"b": Machine.build,                                                           # BUILD
}  # fmt: skip
