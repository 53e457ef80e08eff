#!/usr/bin/python3
"""What we write without generated code is what our .proto files say: commands, entries, snapshots, policies and peers' frames.

Each is written anew by the real encoders (make-corpus), read with code that protoc generated, must have no field that the schema doesn't know, and
must be written by that code as the very same bytes."""

import importlib
import pathlib
import subprocess
import sys
import tempfile

from grpc_tools import protoc

ROOT = pathlib.Path(sys.argv[1])
MAKE_CORPUS = sys.argv[2]
FILES = ["lapse/disk/v1/command", "lapse/disk/v1/entry", "lapse/disk/v1/snapshot", "lapse/disk/v1/log", "lapse/peer/v1/peer", "lapse/peer/v1/lease", "lapse/v1/objects"]


def generated(file, name, out):
    return getattr(importlib.import_module(file.replace("/", ".") + "_pb2"), name)


def unknown_fields(message, path=""):
    """Paths of fields that the schema doesn't have, in the message and in all it holds."""
    for field in message.UnknownFields():
        yield f"{path}.{field.field_number}"
    for descriptor, value in message.ListFields():
        if descriptor.type == descriptor.TYPE_MESSAGE:
            for inner in value if descriptor.label == descriptor.LABEL_REPEATED else [value]:
                yield from unknown_fields(inner, f"{path}.{descriptor.name}")


def check(name, data, kind):
    message = kind()
    message.ParseFromString(data)
    unknown = list(unknown_fields(message))
    if unknown:
        return f"{name}: the schema of {kind.DESCRIPTOR.name} lacks {unknown}"
    if message.SerializeToString(deterministic=True) != data:
        return f"{name}: generated code writes {kind.DESCRIPTOR.name} with other bytes"
    return None


def main():
    faults, checked = [], 0
    with tempfile.TemporaryDirectory() as temporary:
        out = pathlib.Path(temporary)
        assert protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={out}", *[f"{f}.proto" for f in FILES]]) == 0
        sys.path.insert(0, str(out))
        corpus = out / "corpus"
        subprocess.run([MAKE_CORPUS, corpus], check=True, stdout=subprocess.DEVNULL)
        command, snapshot = generated(FILES[0], "Command", out), generated(FILES[2], "Snapshot", out)
        entry, frame = generated(FILES[1], "Entry", out), generated(FILES[4], "Frame", out)
        cases = [(path, path.read_bytes(), command) for path in (corpus / "command").iterdir()]
        cases += [(path, path.read_bytes(), snapshot) for path in (corpus / "snapshot").iterdir()]
        # The first byte of these chooses the decoder.
        cases += [(path, path.read_bytes()[1:], entry) for path in (corpus / "peer_bytes").glob("entry-*")]
        cases += [(path, path.read_bytes()[1:], frame) for path in (corpus / "peer_bytes").glob("frame-*")]
        lease = generated(FILES[5], "LeaseFrame", out)
        cases += [(path, path.read_bytes(), lease) for path in (corpus / "lease").iterdir()]
        policy = generated(FILES[6], "Policy", out)
        cases += [(path, path.read_bytes()[1:], policy) for path in (corpus / "policy").glob("document-*")]
        for path, data, kind in sorted(cases, key=lambda case: case[0]):
            fault = check(f"{path.parent.name}/{path.name}", data, kind)
            checked += 1
            if fault:
                faults.append(fault)
    print("\n".join(faults) or f"{checked} encodings are what their schemas say")
    return 1 if faults or checked < 25 else 0


sys.exit(main())
