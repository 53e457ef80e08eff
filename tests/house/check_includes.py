#!/usr/bin/python3
"""The house's rule: includes run one way (docs/ARCHITECTURE.md). Fails with each include that goes up."""

import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
ROOT = ROOT if ROOT.is_dir() else ROOT.parents[2]

# What a room may include: whole rooms, or single headers of one.
GRANT_WORDS = ["store/chain.h", "store/command.h", "store/grant.h", "store/lock.h", "store/objects.h", "store/points.h", "store/policy.h", "store/word_fields.h", "store/words.h"]
MAY = {
    "base": ["base/"],
    "store": ["base/", "store/"],
    "proto": ["base/", "proto/", *GRANT_WORDS],
    "raft": ["base/", "proto/", "store/", "raft/"],
    "node": ["base/", "proto/", "store/", "raft/", "node/"],
    "client": ["base/", "proto/", "client/", "store/chain.h", "store/grant.h", "store/lock.h", "store/policy.h", "store/word_fields.h"],
}
# libraft's traps are met in one place, sockets and files not at all where things are decided.
ONLY = {
    "raft.h": ["raft/"],
    "nghttp2/nghttp2.h": ["proto/"],
    "openssl/ssl.h": ["base/"],
}
PURE = {"store": ["uv.h", "unistd.h", "time.h", "sys/socket.h", "fcntl.h"]}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def faults():
    for room, allowed in MAY.items():
        for path in sorted((ROOT / room).rglob("*.[ch]")):
            name = path.relative_to(ROOT).as_posix()
            for kind, header in INCLUDE.findall(path.read_text()):
                if kind == '"' and not any(header.startswith(prefix) for prefix in allowed):
                    yield f'{name} includes "{header}": {room} may include only {", ".join(allowed)}'
                if kind == "<" and header in ONLY and not any(name.startswith(prefix) for prefix in ONLY[header]):
                    yield f"{name} includes <{header}>: only {', '.join(ONLY[header])} may"
                if kind == "<" and header in PURE.get(room, []):
                    yield f"{name} includes <{header}>: {room} is pure"


found = list(faults())
print("\n".join(found) or "includes run one way")
sys.exit(1 if found else 0)
