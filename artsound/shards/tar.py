"""The bytes of a tar member's header, always the same for the same name and size.

POSIX.1-1988 ustar, as every tar program and WebDataset reader understands it: regular files only,
mode 0644, owner 0, modification time 0, so that equal samples give equal shards.
"""

from __future__ import annotations

BLOCK = 512
END = bytes(2 * BLOCK)  # two zero blocks close an archive
LARGEST = 8**11 - 1  # the size field has eleven octal digits


def header(name: str, size: int) -> bytes:
    """The 512 bytes that precede a file called `name` of `size` bytes.

    Raises ValueError for a name that is not 1 to 100 ASCII characters, or a size over 8 GiB.
    """
    encoded = name.encode("ascii", errors="strict")
    if not 0 < len(encoded) <= 100 or b"/" in encoded or b"\0" in encoded:
        raise ValueError(f"{name!r} cannot be a member's name")
    if not 0 <= size <= LARGEST:
        raise ValueError(f"{name!r} has {size} bytes, too many for a tar member")
    fields = [
        encoded.ljust(100, b"\0"),
        b"0000644\0",  # mode
        b"0000000\0" * 2,  # owner, group
        b"%011o\0" % size,
        b"00000000000\0",  # modification time
        b" " * 8,  # checksum, computed as if blank
        b"0",  # a regular file
        bytes(100),  # link target
        b"ustar\x0000",
        bytes(64),  # names of owner and group
        bytes(16),  # device
        bytes(167),  # name prefix, filler
    ]
    block = b"".join(fields)
    return b"%s%06o\0 %s" % (block[:148], sum(block), block[156:])


def padding(size: int) -> bytes:
    """The zeros that fill a member of `size` bytes up to a whole block."""
    return bytes(-size % BLOCK)
