"""Plain values out of pickles, without Python's pickle, which runs whatever a file asks for.

A pickle is a program for a small stack machine. This one knows only the instructions that put together numbers, texts,
tuples, lists and dictionaries. It can import nothing: a name like "os.system" is looked up in a dictionary of the few
that the caller has a meaning for, and refused if it is not there. Source: Python's pickletools, which describes every
instruction.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minicnn.io.arrays import DAMAGED, short

LIMIT = 2**23
"""The longest pickle in bytes: 8 MiB."""
BUDGET = 12 * 2**20
"""Bytes of Python objects that a pickle may make, by the machine's own estimate, and a quarter of the file's size."""

_STEP, _TEXT, _MEMO = 40, 4, 60  # the estimate: of an instruction, of each byte of a text, of remembering a value


@dataclass(frozen=True)
class Global:
    """What a name in a pickle means here; `call` gets the arguments if the pickle calls it."""

    name: str
    call: Callable[..., Any] | None = None
    about: Any = None


class Machine:
    """Runs the pickles that stand one after the other in `data`."""

    def __init__(self, data: bytes, size: int, meanings: dict[str, Global], persistent: Callable[[Any], Any]):
        self.data, self.position = data, 0
        self.meanings, self.persistent = meanings, persistent
        self._left = BUDGET + size // 4

    def value(self) -> Any:
        """The next pickle's value. ValueError says what is wrong with it."""
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self.memo: dict[int, Any] = {}
        while True:
            code = self.bytes(1)
            if code == b".":
                result = self.pop()
                self.stack, self.memo = [], {}  # what the result does not hold is freed before arrays are laid out
                return result
            step = _STEPS.get(code)
            if step is None:
                raise ValueError(f"it uses the pickle instruction {code!r}, which state dicts don't need: {RESAVE}")
            self.charge(_STEP)
            step(self)

    def charge(self, cost: int) -> None:
        """ValueError if the pickle makes more than a file of its size may."""
        self._left -= cost
        if self._left < 0:
            raise ValueError(f"it holds more small values than a checkpoint of its size may: {RESAVE}")

    # What the instructions are made of.

    def bytes(self, count: int) -> bytes:
        """The next bytes of the program."""
        taken = self.data[self.position : self.position + count]
        if len(taken) != count:
            raise ValueError(f"its pickle ends too early, or is longer than {LIMIT >> 20} MiB: {DAMAGED}")
        self.position += count
        return taken

    def number(self, form: str) -> Any:
        """The next number of the program, in struct's notation."""
        return struct.unpack(form, self.bytes(struct.calcsize(form)))[0]

    def text(self, length: int) -> str:
        """The next text of that many bytes."""
        taken = self.bytes(length)
        self.charge(_TEXT * length)
        return _utf8(taken)

    def line(self) -> str:
        """The text until the line's end."""
        end = self.data.find(b"\n", self.position, self.position + 200)
        if end < 0:
            raise ValueError(f"its pickle has a name without end: {DAMAGED}")
        return _utf8(self.bytes(end + 1 - self.position)[:-1])

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the last value from the stack, from above the last mark."""
        if len(self.stack) <= (self._marks[-1] if self._marks else 0):
            raise ValueError(f"its pickle takes a value that is not there: {DAMAGED}")
        return self.stack.pop()

    def last(self, kind: type) -> Any:
        """The last value on the stack, of which this is required."""
        value = self.pop()
        self.push(value)
        if not isinstance(value, kind):
            raise ValueError(f"its pickle takes a {type(value).__name__} for a {kind.__name__}: {RESAVE}")
        return value

    def mark(self) -> None:
        """Remember how high the stack is."""
        self._marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        """Take everything above the last mark."""
        if not self._marks:
            raise ValueError(f"its pickle takes values that are not there: {DAMAGED}")
        start = self._marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def several(self, count: int) -> None:
        """The last `count` values become a tuple."""
        values = [self.pop() for _ in range(count)]
        self.push(tuple(values[::-1]))

    def put(self, place: int) -> None:
        """Remember the last value."""
        self.charge(_MEMO)
        self.memo[place] = self.last(object)

    def get(self, place: int) -> None:
        """Put a remembered value on the stack."""
        if place not in self.memo:
            raise ValueError(f"its pickle asks for a value that it did not keep: {DAMAGED}")
        self.push(self.memo[place])

    def name(self, module: Any, name: Any) -> None:
        """The meaning of a name; only what the caller gave a meaning has one."""
        if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > 200:
            raise ValueError(f"its pickle has a name that is no text: {RESAVE}")
        whole = f"{module}.{name}"
        if whole not in self.meanings:
            raise ValueError(f"it refers to {short(whole)}, and names other than those of tensors are refused, because "
                             f"they could run code: {RESAVE}")
        self.push(self.meanings[whole])

    def reduce(self) -> None:
        """Call a name that may be called."""
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or function.call is None or not isinstance(arguments, tuple):
            raise ValueError(f"its pickle calls {short(getattr(function, 'name', function))}, no function: {RESAVE}")
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
        """Attributes of an OrderedDict (`_metadata`), passed over; nothing else may have any."""
        self.pop()
        self.last(dict)


RESAVE = "in PyTorch, save the state dict alone, `torch.save(model.state_dict(), path)`"


def as_key(key: Any) -> Any:
    """The key, if a dictionary of ours may have it: hashing nested tuples could take for ever."""
    if not (isinstance(key, str) or (isinstance(key, int) and key.bit_length() < 64)):
        raise ValueError(f"it holds a dictionary with {short(key)} as a key, not a text: {RESAVE}")
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
