#!/usr/bin/python3
"""Writes a file's bytes as a C array: embed.py INPUT OUTPUT.c NAME declares `const unsigned char NAME[]` and `const size_t NAME_len`."""
import sys

source, target, name = sys.argv[1:]
with open(source, "rb") as file:
    data = file.read()
rows = (data[i : i + 20] for i in range(0, len(data), 20))
with open(target, "w") as file:
    file.write("#include <stddef.h>\n\n")
    file.write(f"extern const unsigned char {name}[];\nextern const size_t {name}_len;\n\n")
    file.write(f"const unsigned char {name}[] = {{\n")
    file.writelines("    " + ", ".join(str(byte) for byte in row) + ",\n" for row in rows)
    file.write(f"}};\nconst size_t {name}_len = sizeof {name};\n")
