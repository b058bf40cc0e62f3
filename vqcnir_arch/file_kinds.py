"""What a file is, by its content, whatever its name says; and what to do with one that holds no tensors."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

HEAD = 4096
LONGEST_JSON = 10**8
LONGEST_QUOTE = 60
LFS_POINTER = (
    "is a Git LFS pointer, which stands for the file: run `git lfs pull` in its repository, or download it there"
)
MAGIC = (
    (b"\x1f\x8b", "is compressed by gzip: unpack it first"),
    (b"BZh", "is compressed by bzip2: unpack it first"),
    (b"\xfd7zXZ\0", "is compressed by xz: unpack it first"),
    (b"(\xb5/\xfd", "is compressed by zstd: unpack it first"),
    (b"7z\xbc\xaf'\x1c", "is a 7z archive: unpack it and name the checkpoint in it"),
    (b"Rar!", "is a rar archive: unpack it and name the checkpoint in it"),
    (b"\x89HDF\r\n", "is an HDF5 file, as Keras writes it: PyTorch's weights are needed"),
    (b"GGUF", "is a GGUF file, which holds quantised weights: PyTorch's are needed"),
    (b"\x93NUMPY", "is an array of NumPy: save a state dict with torch.save"),
    (b"\x89PNG", "is a picture"),
    (b"\xff\xd8\xff", "is a picture"),
    (b"%PDF", "is a PDF document"),
    (b"version https://git-lfs", LFS_POINTER),
    (b"/annex/objects/", "is a pointer of git-annex, which stands for the file: run `git annex get` in its repository"),
)
"""First bytes of files, and what is said of them."""


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors writes it: the header's length in eight bytes, then its JSON."""
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and (int.from_bytes(head[:8], "little") < LONGEST_JSON or path.suffix == ".safetensors")


def not_tensors(path: Path) -> str | None:
    """Say what a file is and what to do, in words that follow its name; None where torch or safetensors may read it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return "is empty: download or save it again"
    for magic, said in MAGIC:
        if head.startswith(magic):
            return said
    if is_safetensors(path):
        return shard(path)
    if head.startswith(b"PK\x03\x04"):
        return of_zip(path) or shard(path)
    if head[257:262] == b"ustar":
        return of_tar(path)
    if head.startswith(b"\x80"):
        return shard(path) if is_torchs(head) else "is of Python's pickle: save the state dict with torch.save"
    text = as_text(head)
    return of_text(path, text) if text else f"is no file that torch.save or safetensors wrote ({size:,} bytes)"


def is_torchs(head: bytes) -> bool:
    """Whether a pickle begins with the number of torch.save's old format, as far as there is so much of it."""
    return len(head) < 64 or b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19" in head[:64]


def shard(path: Path) -> str | None:
    """Say that a file is one of several over which a checkpoint's tensors are spread, if its name says so."""
    found = re.search(r"-(\d+)-of-(\d+)\.\w+$", path.name)
    if found is None or int(found[2]) < 2:
        return None
    return f"is shard {int(found[1])} of {int(found[2])} of a checkpoint: join the tensors of all in one file first"


def of_zip(path: Path) -> str | None:
    """Say what a zip archive is; None for torch.save's."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return "is truncated (a zip archive, as torch.save writes it, without its end): download or save it again"
    names = [record.filename for record in records]
    if any(name.endswith(("/constants.pkl", "/archive_format")) or "/code/" in name for name in names):
        kind = "a program of torch.export" if any(n.endswith("/archive_format") for n in names) else "TorchScript"
        return (
            f"is {kind}, which holds code: the state dict of its network is needed, torch.save(net.state_dict(), ...)"
        )
    if any(name.rsplit("/", 1)[-1] == "data.pkl" for name in names):
        is_compressed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
        return "is a compressed archive, which torch.save never writes: it is not read" if is_compressed else None
    if names and all(name.endswith(".npy") for name in names):
        return f"is an archive of NumPy's arrays ({listed(names)}): save them as a state dict with torch.save"
    return f"is a zip archive ({listed(names)}): unpack it and name the checkpoint in it"


def of_tar(path: Path) -> str:
    """Say what a tar archive holds."""
    try:
        with tarfile.open(path, "r:") as archive:
            names = [member.name for member in archive if member.isfile()]
    except (tarfile.TarError, OSError, ValueError):
        return "is a broken tar archive: download it again"
    return f"is a tar archive ({listed(names)}): unpack it and name the checkpoint in it"


def as_text(head: bytes) -> str:
    """Return the beginning of a text file; nothing for other files."""
    text = head.decode("utf-8-sig", errors="ignore")  # the last letter may be cut
    is_text = len(text.encode()) > len(head) - 7 and all(c.isprintable() or c.isspace() for c in text)
    return text.strip() if is_text else ""


def of_text(path: Path, text: str) -> str:
    """Say what a text file is that came in the place of a checkpoint."""
    begins = text.lower()
    if begins.startswith("version https://git-lfs"):  # behind a byte order mark
        return LFS_POINTER
    again = "not the file itself: download it again, by the link that its page offers"
    if begins.startswith(("<!doctype html", "<html")) or "<html" in begins[:1000]:
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return f"is a web page{quoted(title[1]) if title else ''}, {again}"
    if begins.startswith("<"):
        code = re.search(r"<(?:Code|Message|title)>(.*?)</", text, re.IGNORECASE | re.DOTALL)
        return f"is an XML page of a server{quoted(code[1]) if code else ''}, {again}"
    if begins.startswith(("{", "[")) and path.stat().st_size < LONGEST_JSON:
        try:
            return of_json(json.loads(path.read_text("utf-8-sig")), again)
        except (ValueError, RecursionError):
            pass  # JSON that is none is a text like others
    return f"is a text file, which begins{quoted(text)}: it holds no tensors"


def of_json(content: object, again: str) -> str:
    """Say what a JSON file is."""
    if not isinstance(content, dict):
        return "is a JSON file, which holds no tensors"
    if isinstance(content.get("weight_map"), dict):
        files = sorted({str(name) for name in content["weight_map"].values()})
        return f"is the index of a checkpoint in {len(files)} shards ({listed(files)}): join the tensors in one file"
    message = next((content[key] for key in ("error", "message", "detail") if key in content), None)
    if message is not None:
        return f"is a server's answer in JSON{quoted(message)}, {again}"
    return f"is a JSON file ({listed(list(content))}), which holds no tensors: name the checkpoint beside it"


def quoted(text: object) -> str:
    """Return the beginning of a text in quotes, on one line, behind a blank."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return f" '{line if len(line) <= LONGEST_QUOTE else line[:LONGEST_QUOTE] + '...'}'"


def listed(names: Sequence[object]) -> str:
    """Return the first names of a list, and how many there are more."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ",".join(quoted(name) for name in names[:3]).strip() + more if names else "empty"


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
