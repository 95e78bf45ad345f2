"""Ways to damage a file: any file, a table, a saved result whose checksum is made right again."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from tests.campaign.drawing import Draw
from tests.support.saved_files import seal, sign

JSON_VALUES = (
    "null", "true", "[]", "{}", "0", "-1", "1e999", "NaN", '"abc"', '""', "[[[[]]]]", '{"table": null}', '{"array": "w"}', '{"array": 3}',
    '{"scalar": "loss"}', '{"enum": "Status", "member": "NONE"}',
    '{"enum": "FitResult", "member": "w"}', '{"class": "Status", "fields": {}}',
    '{"class": "FitResult"}', '{"class": null, "fields": null}', '{"table": {"a": {"table": {"b": []}}}}', "10" * 200, '"\\ud800"', "((((",
)  # fmt: skip
HEADERS = (
    "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }", "((((",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }", "{'descr': '<f8', 'fortran_order': 3, 'shape': (10**30,), }",
    "{'descr': '<c16', 'fortran_order': False, 'shape': (), }",
    "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (3,), }", "None",
    "{'descr': '<i8', 'fortran_order': False, 'shape': (True,), }", "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3), }", "{}", "",
)  # fmt: skip


def damage(draw: Draw, data: bytes) -> bytes:
    """Bytes with a few flipped, cut off, inserted, repeated, zeroed or exchanged."""
    found = bytearray(data)
    for _ in range(draw.one((1, 1, 1, 2, 5))):
        length = len(found)
        at, size = int(draw.rng.integers(length + 1)), int(draw.rng.integers(1, 40))
        way = draw.rng.integers(7)
        if way == 0 and length:
            found[at % length] ^= 1 << int(draw.rng.integers(8))
        elif way == 1:
            del found[at:]
        elif way == 2:
            found[at:at] = draw.rng.bytes(size)
        elif way == 3:
            del found[at : at + size]
        elif way == 4:
            found[at : at + size] = bytes(len(found[at : at + size]))
        elif way == 5:
            found[at:at] = found[max(0, at - size) : at]
        elif length:
            found[at % length] = int(draw.rng.integers(256))
    return bytes(found)


def crafted(draw: Draw, data: bytes) -> bytes:
    """Another file with a right checksum: a part of it changed, or its bytes damaged and signed."""
    if draw.chance(0.4):
        return sign(damage(draw, data)) if draw.chance(0.5) else sign(data[: int(draw.rng.integers(len(data)))] + data[-200:])
    inside = dict(_members(data))
    name = draw.one(list(inside))
    if name == "fastgd.json":
        inside[name] = _crafted_description(draw, inside[name])
    elif draw.chance(0.5):
        inside[name] = inside[draw.one(list(inside))]
    elif draw.chance(0.5):
        header = draw.one(HEADERS).encode() + b"\n"
        inside[name] = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + inside[name][-24:]
    else:
        inside[name] = damage(draw, inside[name])
    return seal(inside, version=draw.one((1, 1, 1, 1, 0, 2, 10**8)), compression=draw.one((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))


_cut: dict[bytes, dict[str, bytes]] = {}


def _members(data: bytes) -> dict[str, bytes]:
    """The members of a saved file, by name."""
    if data not in _cut:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _cut[data] = {name: archive.read(name) for name in archive.namelist()}
    return _cut[data]


def _crafted_description(draw: Draw, text: bytes) -> bytes:
    """The description of a result with one of its nodes replaced, or gone."""
    described = json.loads(text)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(described)
    node, key = draw.one(places)
    if draw.chance(0.2):
        del node[key]
        return json.dumps(described).encode()
    if draw.chance(0.3):
        other, name = draw.one(places)
        node[key] = json.loads(json.dumps(other[name])) if name in other else None
        return json.dumps(described).encode()
    node[key] = "@@"
    return json.dumps(described).replace('"@@"', draw.one(JSON_VALUES)).encode()


PIECES = (
    ",",
    ";",
    "\t",
    "\n",
    "\r",
    "\r\n",
    '"',
    "1_0",
    "1,5",
    "nan",
    "inf",
    "-",
    "e",
    ".",
    " ",
    "0x1p3",
    "\u0661",
    "\x00",
    "x1",
    "target",
    "#",
    "'",
    "1e400",
)


def damage_text(draw: Draw, data: bytes) -> bytes:
    """A table with something of tables in a wrong place, or damaged as any file."""
    if draw.chance(0.4):
        return damage(draw, data)
    text = data.decode()
    for _ in range(draw.one((1, 1, 2))):
        at, size = int(draw.rng.integers(len(text) + 1)), int(draw.rng.integers(0, 6))
        text = text[:at] + draw.one(PIECES) + text[at + size :]
    return text.encode()
