"""Writes onnx/full.pb, a message in which every field of onnx.proto is set, and onnx/names.json: class names as Python
dicts. Needs onnx 1.23."""

import ast
import json
from pathlib import Path

import onnx

OUT = Path(__file__).parent / "onnx"


class Filler:
    """Sets every field of every message once, deeper repetitions only their scalars."""

    def __init__(self):
        self.filled, self.seen, self.count = set(), set(), 0

    def scalar(self, field):
        self.count += 1
        if field.enum_type:
            return field.enum_type.values[-1].number
        if field.type == field.TYPE_STRING:
            return f"{field.name} {self.count} é"
        if field.type == field.TYPE_BYTES:
            return bytes([self.count % 256, 0, 255])
        if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
            return self.count / 8
        return self.count if field.cpp_type == field.CPPTYPE_UINT64 else -self.count

    def fill(self, message, choice=0):
        kind = message.DESCRIPTOR
        first = (kind.full_name, choice) not in self.filled
        self.filled.add((kind.full_name, choice))
        for field in sorted(kind.fields, key=lambda f: f.number):
            one = field.containing_oneof
            if one and one.fields[choice % len(one.fields)] != field:
                continue
            if field.message_type is None:
                self.seen.add(field.full_name)
                if field.is_repeated:
                    getattr(message, field.name).extend(self.scalar(field) for _ in range(3))
                else:
                    setattr(message, field.name, self.scalar(field))
            elif first:
                self.seen.add(field.full_name)
                choices = max([len(o.fields) for o in field.message_type.oneofs], default=1)
                for c in range(choices if field.is_repeated else 1):
                    self.fill(getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name), c)


def full():
    filler, model = Filler(), onnx.ModelProto()
    filler.fill(model)
    kinds, every = [onnx.ModelProto.DESCRIPTOR], set()
    for kind in kinds:
        every |= {f.full_name for f in kind.fields}
        kinds += [f.message_type for f in kind.fields if f.message_type and f.message_type not in kinds]
    assert filler.seen == every, every - filler.seen
    (OUT / "full.pb").write_bytes(model.SerializeToString(deterministic=True))


def names():
    """Class names, the dict that adapt writes of them, and what Python's own `repr` gives."""
    nasty = ["cat", "it's", '"quoted"', "both ' and \"", "back\\slash", "ends in \\", "tab\tnew\nline\rreturn", "nul\0", "é ü 漢字", "😀", "{0: 'a'}", ", 1: ",
             "", " ", "\u2028\u2029\x85\ufeff\xa0\xad", "\x7f\x1b[31m", "#no", "%s {x}", "\\x41 \\u0041 \\N{DASH}", "🏳️‍🌈\u202e"]
    quote = lambda s: "'" + "".join("\\" + c if c in "'\\" else f"\\x{ord(c):02x}" if ord(c) < 32 or ord(c) == 127 else c for c in s) + "'"
    form = "{" + ", ".join(f"{i}: {quote(s)}" for i, s in enumerate(nasty)) + "}"
    assert ast.literal_eval(form) == dict(enumerate(nasty))
    read = [form, repr(dict(enumerate(nasty))), repr({str(i): s for i, s in enumerate(nasty)}), ascii(dict(enumerate(nasty))), json.dumps(dict(enumerate(nasty))), repr(nasty), json.dumps(nasty)]
    (OUT / "names.json").write_text(json.dumps({"names": nasty, "form": form, "read": read}, indent=0) + "\n")


full()
names()
