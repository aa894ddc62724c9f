"""The container of a submission package: a plain zip file, written deterministically and read strictly.

The reader is not `zipfile`: that one is made to open whatever the world calls a zip file (data before and after it,
sizes that contradict each other, links, two members of one name), and each of these is a way to make two readers see
two different packages. This one walks the file from its first byte to its last and accepts exactly what the writer
below, or `zipfile` writing to a seekable file, produces: members back to back, stored or deflated, then the central
directory that repeats them in the same order, then the end record, then nothing.
"""

from __future__ import annotations

import hashlib
import re
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from sage.core.errors import InvalidPackageError

__all__ = ["Archive", "Member", "PackageLimits", "check_name", "refuse", "write_archive"]

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_ZIP64_MAGICS = (b"PK\x06\x06", b"PK\x06\x07")

_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _STREAMED, _LEVEL, _UTF8 = 0x0001, 0x0008, 0x0006, 0x0800

_NAME = re.compile(r"[A-Za-z0-9_./-]+\Z")
_NAME_LENGTH, _PART_LENGTH = 500, 200
_CHUNK = 64 * 1024

# The day the zip format's calendar begins: members carry no time of their own, so that equal content is equal bytes.
_DATE, _TIME = 0x0021, 0
_MODE = (stat.S_IFREG | 0o600) << 16
_UNIX = 3 << 8
_VERSION = 20


@dataclass(frozen=True)
class PackageLimits:
    """How large a package may be. Sizes are bytes.

    Attributes:
        max_bytes: the zip file itself.
        max_unpacked: all members together, unpacked.
        max_files: number of members.
        max_manifest: the manifest, unpacked.
        max_ratio: unpacked over packed size of one member; up to ``free_ratio`` unpacked bytes any ratio is fair.
        free_ratio: see ``max_ratio``.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_unpacked: int = 256 * 1024 * 1024
    max_files: int = 10_000
    max_manifest: int = 4 * 1024 * 1024
    max_ratio: int = 200
    free_ratio: int = 1024 * 1024

    def ratio_is_fair(self, packed: int, size: int) -> bool:
        """Whether ``packed`` bytes may claim to unpack to ``size``."""
        return size <= self.free_ratio or size <= packed * self.max_ratio


def refuse(what: str, cause: BaseException | None = None, hint: str | None = None) -> NoReturn:
    """Raise the `InvalidPackageError` that says what is wrong."""
    raise InvalidPackageError(f"the package is not valid: {what}", hint=hint) from cause


def check_name(name: str) -> str | None:
    """Why ``name`` may not be a member of a package, or None where it may."""
    if not _NAME.match(name):
        return "it may only hold letters, digits and _ . / -"
    if name.startswith("/"):
        return "it is absolute"
    if ".." in name:
        return "it holds '..'"
    parts = name.split("/")
    if any(part in ("", ".") for part in parts):
        return "it is a folder or has an empty part"
    if len(name) > _NAME_LENGTH or any(len(part) > _PART_LENGTH for part in parts):
        return "it is too long"
    return None


@dataclass(frozen=True)
class Member:
    """One file in the archive: where its bytes are and what they claim to unpack to."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int
    data: int


class Archive:
    """Reads one package, front to back. Every deviation raises `InvalidPackageError` that says what.

    `members` is to be iterated once and wholly: only its end proves that directory and members agree. The content of
    a member is to be read before the next one is asked for.
    """

    def __init__(self, file: BinaryIO, limits: PackageLimits) -> None:
        self._file = file
        self._limits = limits
        self._length = file.seek(0, 2)
        self._names: dict[str, str] = {}
        if self._length > limits.max_bytes:
            refuse(f"it has {self._length:,} bytes, more than the {limits.max_bytes:,} allowed")
        file.seek(0)
        start = file.read(4)
        if not start:
            refuse("it is empty")
        if start != _LOCAL_MAGIC:
            refuse("it is no SAGE package: it does not begin like a zip file")

    def first(self) -> Member:
        """The first member; the rest of the file is not looked at."""
        member = self._local(0)
        if member is None:
            refuse("it has no members")
        return member

    def members(self) -> Iterator[Member]:
        """All members in order, then the proof that the directory at the end says the same."""
        found: list[Member] = []
        position = total = 0
        while (member := self._local(position)) is not None:
            if len(found) >= self._limits.max_files:
                refuse(f"it has more than {self._limits.max_files:,} members")
            total += member.size
            if total > self._limits.max_unpacked:
                refuse(f"it unpacks to more than the {self._limits.max_unpacked:,} bytes allowed")
            found.append(member)
            yield member
            position = member.data + member.packed
        self._directory(position, found)

    def content(self, member: Member) -> Iterator[bytes]:
        """The member's bytes in chunks, never more than it declares; its length and check sum are proved at the end."""
        self._file.seek(member.data)
        count = crc = 0
        for chunk in self._stored(member) if member.method == _STORED else self._inflated(member):
            count += len(chunk)
            if count > member.size:
                refuse(f"member {member.name!r} unpacks to more than the {member.size:,} bytes it declares")
            crc = zlib.crc32(chunk, crc)
            yield chunk
        if count != member.size:
            refuse(f"member {member.name!r} unpacks to {count:,} bytes and declares {member.size:,}")
        if crc != member.crc:
            refuse(f"member {member.name!r} is damaged: its check sum is wrong")

    def _stored(self, member: Member) -> Iterator[bytes]:
        left = member.packed
        while left:
            chunk = self._file.read(min(_CHUNK, left))
            if not chunk:
                refuse(f"it is cut off inside member {member.name!r}")
            left -= len(chunk)
            yield chunk

    def _inflated(self, member: Member) -> Iterator[bytes]:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for packed in self._stored(member):
                while packed:
                    if inflate.eof:
                        refuse(f"member {member.name!r} has data behind its end")
                    yield inflate.decompress(packed, _CHUNK)
                    packed = inflate.unconsumed_tail or inflate.unused_data
            while not inflate.eof:
                # All input is in, some output may still be held back.
                chunk = inflate.decompress(b"", _CHUNK)
                if not chunk:
                    refuse(f"member {member.name!r} is damaged: its data stops early")
                yield chunk
        except zlib.error as error:
            refuse(f"member {member.name!r} is damaged: {error}", error)

    def _read(self, position: int, count: int, what: str) -> bytes:
        self._file.seek(position)
        data = self._file.read(count)
        if len(data) != count:
            refuse(f"it is cut off inside {what}")
        return data

    def _local(self, position: int) -> Member | None:
        """The member whose header is at ``position``; None where the central directory begins."""
        magic = self._read(position, 4, "its list of members")
        if magic in (_CENTRAL_MAGIC, _END_MAGIC):
            return None
        if magic in _ZIP64_MAGICS:
            refuse("it uses zip64, which packages of this size never need")
        if magic != _LOCAL_MAGIC:
            refuse(f"there is data between its members, at byte {position:,}")
        fields = _LOCAL.unpack(self._read(position, _LOCAL.size, "a member's header"))
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = fields
        raw = self._read(position + _LOCAL.size, name_length, "a member's name")
        name = raw.decode("ascii", "backslashreplace")
        reason = check_name(name)
        if reason is not None:
            refuse(f"the member name {name[:200]!r} is not allowed: {reason}")
        self._check_clash(name)
        if flags & _ENCRYPTED:
            refuse(f"member {name!r} is encrypted")
        if flags & _STREAMED:
            refuse(f"member {name!r} does not declare its size in front")
        if flags & ~(_LEVEL | _UTF8):
            refuse(f"member {name!r} has unknown flags {flags:#06x}")
        if 0xFFFFFFFF in (packed, size):
            refuse(f"member {name!r} uses zip64, which packages of this size never need")
        if extra_length:
            refuse(f"member {name!r} has extra fields")
        if method not in (_STORED, _DEFLATED):
            refuse(f"member {name!r} uses compression method {method}; only stored and deflated are allowed")
        if method == _STORED and packed != size:
            refuse(f"member {name!r} is stored and yet declares two different sizes")
        data = position + _LOCAL.size + name_length
        if data + packed > self._length:
            refuse(f"it is cut off inside member {name!r}")
        if size > self._limits.max_unpacked:
            refuse(f"member {name!r} declares {size:,} bytes, more than the {self._limits.max_unpacked:,} allowed")
        if not self._limits.ratio_is_fair(packed, size):
            refuse(f"member {name!r} unpacks to {size:,} bytes from {packed:,}: that looks like a zip bomb")
        return Member(name, flags, method, crc, packed, size, position, data)

    def _check_clash(self, name: str) -> None:
        """Refuse two names that some file system would take for one, and a file that is also a folder."""
        folded = name.lower()
        taken = self._names.get(folded)
        if taken == name:
            refuse(f"it has two members named {name!r}")
        if taken is not None:
            what = "is also a folder" if taken.rstrip("/") == name else "differs only in case from another"
            refuse(f"the member name {name!r} {what}: {taken!r}")
        self._names[folded] = name
        parts = name.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            taken = self._names.setdefault(folder.lower(), folder + "/")
            if taken != folder + "/":
                what = "lies in a folder that is also a file" if taken == folder else "differs in case from another"
                refuse(f"the member name {name!r} {what}: {taken!r}")

    def _directory(self, position: int, members: list[Member]) -> None:
        start = position
        for member in members:
            if self._read(position, 4, "its directory") != _CENTRAL_MAGIC:
                refuse(f"its directory does not list member {member.name!r}")
            fields = _CENTRAL.unpack(self._read(position, _CENTRAL.size, "its directory"))
            _, _, _, flags, method, _, _, *shape = fields[:10]
            name_length, extra, comment, disk, _, mode, header = fields[10:]
            if extra or comment:
                refuse(f"its directory has extra fields or a comment at member {member.name!r}")
            name = self._read(position + _CENTRAL.size, name_length, "its directory")
            says = (name, flags, method, *shape, header, disk)
            header_says = (member.flags, member.method, member.crc, member.packed, member.size, member.header, 0)
            if says != (member.name.encode(), *header_says):
                refuse(f"its directory contradicts the header of member {member.name!r}")
            kind = stat.S_IFMT(mode >> 16)
            if kind not in (0, stat.S_IFREG) or mode & 0xFFFF & ~0x20:
                what = "a symbolic link" if kind == stat.S_IFLNK else "not a plain file"
                refuse(f"member {member.name!r} is {what}")
            if (mode >> 16) & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
                refuse(f"member {member.name!r} has a set-user-id, set-group-id or sticky bit")
            position += _CENTRAL.size + name_length
        end = self._read(position, _END.size, "its end record")
        magic, disk, first, here, count, size, offset, comment = _END.unpack(end)
        if magic == _CENTRAL_MAGIC:
            refuse("its directory lists members that are not there")
        if magic in _ZIP64_MAGICS:
            refuse("it uses zip64, which packages of this size never need")
        if magic != _END_MAGIC:
            refuse("its end record is damaged")
        if (disk, first, here, count, size, offset) != (0, 0, len(members), len(members), position - start, start):
            refuse("its end record contradicts its directory")
        if comment or position + _END.size != self._length:
            refuse("there is data behind its end")


def write_archive(file: BinaryIO, members: Iterable[tuple[str, bytes]], limits: PackageLimits) -> str:
    """Write ``members`` in the order given; equal members give equal bytes. Returns the sha256 of the file.

    A member that would shrink further than a reader believes is stored as it is.
    """
    digest = hashlib.sha256()
    position = count = 0
    directory: list[bytes] = []

    def put(data: bytes) -> None:
        nonlocal position
        file.write(data)
        digest.update(data)
        position += len(data)

    for name, data in members:
        method, body = _pack(data, limits)
        raw, crc, header = name.encode("ascii"), zlib.crc32(data), position
        common = (_VERSION, 0, method, _TIME, _DATE, crc, len(body), len(data), len(raw), 0)
        put(_LOCAL.pack(_LOCAL_MAGIC, *common) + raw)
        put(body)
        directory.append(_CENTRAL.pack(_CENTRAL_MAGIC, _UNIX | _VERSION, *common, 0, 0, 0, _MODE, header) + raw)
        count += 1
    start = position
    put(b"".join(directory))
    put(_END.pack(_END_MAGIC, 0, 0, count, count, position - start, start, 0))
    return digest.hexdigest()


def _pack(data: bytes, limits: PackageLimits) -> tuple[int, bytes]:
    # Large members are mostly records: there the fastest level is nearly as small, at a multiple of the speed.
    deflate = zlib.compressobj(6 if len(data) < 256 * 1024 else 1, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflate.compress(data) + deflate.flush()
    if len(packed) < len(data) and limits.ratio_is_fair(len(packed), len(data)):
        return _DEFLATED, packed
    return _STORED, data
