"""What a compiled kernel needs: registers, shared and local memory, read from the cubin itself."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_ATTRIBUTES = {0x2F: "registers", 0x11: "frame"}  # EIATTR_REGCOUNT, EIATTR_FRAME_SIZE
REGISTERS_PER_SM, SHARED_PER_SM, WARPS_PER_SM, BLOCKS_PER_SM = 65536, 227 * 1024, 64, 32  # of compute capability 9.0


@dataclass
class Resources:
    """What one kernel needs."""

    registers: int = 0  # per thread
    frame: int = 0  # bytes of local memory per thread: arrays with a run-time index, and spills
    shared: int = 0  # bytes per block
    code: int = 0  # bytes of machine code

    def warps_per_sm(self, threads: int) -> int:
        """How many warps fit on a multiprocessor in blocks of `threads` (capability 9.0)."""
        warps = -(-threads // 32)
        by_registers = REGISTERS_PER_SM // (-(-self.registers * 32 // 256) * 256 * warps)
        by_shared = SHARED_PER_SM // (self.shared + 1024)
        return warps * min(by_registers, by_shared, BLOCKS_PER_SM, WARPS_PER_SM // warps)


def read_resources(cubin: bytes) -> dict[str, Resources]:
    """{symbol of a kernel: what it needs}."""
    if cubin[:4] != b"\x7fELF":
        raise ValueError("this is not a cubin")
    (offset,) = struct.unpack_from("<Q", cubin, 0x28)
    entry_size, count, names_index = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", cubin, offset + k * entry_size) for k in range(count)]

    def text(start: int) -> str:
        return cubin[start : cubin.index(b"\0", start)].decode()

    names = [text(sections[names_index][4] + section[0]) for section in sections]
    symbols_section = sections[names.index(".symtab")]
    strings = sections[symbols_section[6]][4]
    symbols = [text(strings + struct.unpack_from("<I", cubin, symbols_section[4] + 24 * k)[0]) for k in range(symbols_section[5] // 24)]
    found: dict[str, Resources] = {name[6:]: Resources(code=s[5]) for name, s in zip(names, sections, strict=True) if name[:6] == ".text."}
    for name, section in zip(names, sections, strict=True):
        if name.startswith(".nv.shared.") and name[11:] in found:
            found[name[11:]].shared = section[5]
        if name == ".nv.info":
            place, end = section[4], section[4] + section[5]
            while place < end:
                form, attribute, size = struct.unpack_from("<BBH", cubin, place)
                place += 4
                if form != 4:  # only this form has a value of its own size
                    continue
                if attribute in _ATTRIBUTES and size == 8:
                    symbol, value = struct.unpack_from("<II", cubin, place)
                    if symbols[symbol] in found:
                        setattr(found[symbols[symbol]], _ATTRIBUTES[attribute], value)
                place += size
    return found
