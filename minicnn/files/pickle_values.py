"""Plain values from pickles, without Python's pickle, which runs any code that a file names.

A pickle is a program for a small stack machine. The machine here builds numbers, texts, bytes, tuples, lists and
dictionaries. It imports nothing: a name like "os.system" is looked up in the caller's table of known names, and any
other becomes an `Unknown`, a placeholder that does nothing when the pickle calls it, fills it or gives it attributes.
So a file can hold anything beside its arrays. Source: Python's pickletools, which documents every instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicnn.files.arrays import DAMAGED
from minicnn.files.pickle_machine import LIMIT, RESAVE, STEP, Global, Machine, OddKey, Unknown, as_key

__all__ = ["LIMIT", "RESAVE", "Global", "OddKey", "Reader", "Unknown", "as_key"]


class Reader(Machine):
    """The values of the pickles that follow each other in `data`, from a file of `size` bytes.

    known: {name: its Global}   persistent(identity): the object that is kept outside of the pickle
    python2: texts of Python 2 are kept as bytes, as `pickle.load(encoding="bytes")` does
    """

    def __init__(self, data: bytes, size: int, known: dict[str, Global], persistent: Callable[[Any], Any] | None = None,
                 *, python2: bool = False) -> None:
        super().__init__(data, size, known, persistent, python2)

    def value(self) -> Any:
        """The value of the next pickle. ValueError where it is damaged or not supported."""
        self.stack, self._marks, self.memo = [], [], {}
        while True:
            code = self.take(1)
            if code == b".":
                result = self.pop()
                self.stack, self.memo = [], {}  # frees all but the result before arrays are allocated
                return result
            step = _STEPS.get(code)
            if step is None:
                raise ValueError(f"it uses the pickle instruction {code!r}, which state dicts do not use: {RESAVE}")
            self.charge(STEP)
            step(self)


def _proto(m: Machine) -> None:
    version = m.number("<B")
    if version > 5:
        raise ValueError(f"its pickle has protocol {version}, and 2 to 5 can be read: {DAMAGED}")


_STEPS: dict[bytes, Callable[[Machine], Any]] = {
    b"\x80": _proto,                                                               # PROTO
    b"\x95": lambda m: m.take(8),                                                 # FRAME: a hint for fast readers
    b"0": Machine.pop,                                                             # POP
    b"1": Machine.since_mark,                                                      # POP_MARK
    b"N": lambda m: m.push(None),                                                  # NONE
    b"\x88": lambda m: m.push(True),                                               # NEWTRUE
    b"\x89": lambda m: m.push(False),                                              # NEWFALSE
    b"K": lambda m: m.push(m.number("<B")),                                        # BININT1
    b"M": lambda m: m.push(m.number("<H")),                                        # BININT2
    b"J": lambda m: m.push(m.number("<i")),                                        # BININT
    b"\x8a": lambda m: m.push(int.from_bytes(m.take(m.number("<B")), "little", signed=True)),   # LONG1
    b"\x8b": lambda m: m.long(m.number("<i")),                                     # LONG4
    b"G": lambda m: m.push(m.number(">d")),                                        # BINFLOAT
    b"X": lambda m: m.push(m.text(m.number("<I"))),                                # BINUNICODE
    b"\x8c": lambda m: m.push(m.text(m.number("<B"))),                             # SHORT_BINUNICODE
    b"\x8d": lambda m: m.push(m.text(m.number("<Q"))),                             # BINUNICODE8
    b"U": lambda m: m.push(m.old_text(m.number("<B"))),                            # SHORT_BINSTRING, Python 2's
    b"T": lambda m: m.push(m.old_text(m.number("<I"))),                            # BINSTRING, Python 2's
    b"C": lambda m: m.push(m.take(m.number("<B"))),                               # SHORT_BINBYTES
    b"B": lambda m: m.push(m.take(m.number("<I"))),                               # BINBYTES
    b"\x8e": lambda m: m.push(m.take(m.number("<Q"))),                            # BINBYTES8
    b"\x96": lambda m: m.push(m.take(m.number("<Q"))),                            # BYTEARRAY8
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
    b"\x8f": lambda m: m.push(m.placeholder("a set")),                             # EMPTY_SET
    b"\x90": Machine.fill_set,                                                     # ADDITEMS
    b"\x91": Machine.frozen_set,                                                  # FROZENSET
    b"q": lambda m: m.put(m.number("<B")),                                         # BINPUT
    b"r": lambda m: m.put(m.number("<I")),                                         # LONG_BINPUT
    b"\x94": lambda m: m.put(len(m.memo)),                                         # MEMOIZE
    b"h": lambda m: m.get(m.number("<B")),                                         # BINGET
    b"j": lambda m: m.get(m.number("<I")),                                         # LONG_BINGET
    b"c": lambda m: m.push(m.name(m.line(), m.line())),                            # GLOBAL
    b"\x93": lambda m: m.push(m.name(*[m.pop(), m.pop()][::-1])),                  # STACK_GLOBAL
    b"\x82": lambda m: m.extension(1),                                        # EXT1
    b"\x83": lambda m: m.extension(2),                                        # EXT2
    b"\x84": lambda m: m.extension(4),                                        # EXT4
    b"i": Machine.instance,                                                        # INST
    b"o": Machine.object,                                                          # OBJ
    b"\x81": Machine.reduce,                                                       # NEWOBJ
    b"\x92": Machine.new_with_names,                                               # NEWOBJ_EX
    b"Q": Machine.persistent_value,                                                # BINPERSID
    b"R": Machine.reduce,                                                          # REDUCE
    b"b": Machine.build,                                                           # BUILD
}  # fmt: skip
