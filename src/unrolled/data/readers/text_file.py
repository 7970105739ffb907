"""Text files, plain or gzipped and in any encoding, decoded line by line; errors name the place."""

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from unrolled.errors import UserError

SAMPLE = 1 << 16  # bytes from which the encoding is told
WRONG_BYTES = "\udcff"  # half a character, which no text holds
STANDARD_INPUT = Path("standard input")  # stands for it; files that users name have absolute paths

_GZIP, _ZIP, _PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def existing_file(path: str | Path, key: str, once: bool = False) -> Path:
    """The absolute path of a file that can be read. Raises UserError where there is none.

    key: the configuration key that ``path`` stands in; once: whether it is read only once, so that a pipe will do.
    """
    if not str(path).isprintable():
        raise UserError(f"{key}={str(path)[:200]!r} contains characters that cannot be printed; rename the file")
    try:
        file = Path(path).expanduser().absolute()
        if file.is_dir():
            hint = "for one directory per class choose data=folder" if key == "data.train" else "give a file"
            raise UserError(f"{key}={path} is a directory, not a file; {hint}")
        if not file.exists():
            raise UserError(f"{key}={path} does not exist (looked for {file}); give the path of a file")
        if once and file.is_fifo():
            return file
        if not file.is_file():
            raise UserError(f"{key}={path} is not a regular file, and it is read more than once; copy it to a file")
        if not os.access(file, os.R_OK):
            raise UserError(f"{key}={path} cannot be read: permission denied; change its permissions")
        if file.stat().st_size == 0:
            raise UserError(f"{file} ({key}) is empty; give a file with documents")
    except (OSError, RuntimeError) as error:  # too long a name; no home directory to expand ~
        raise UserError(f"{key}={str(path)[:200]} is not a usable path: {error}") from error
    return file


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """Open a plain or gzipped file, or `STANDARD_INPUT`.

    Raises:
        UserError: it is of another kind, its compression is damaged, or it cannot be read.
    """
    try:
        standard = path == STANDARD_INPUT
        with open(0 if standard else path, "rb", buffering=SAMPLE, closefd=not standard) as plain:
            magic = cast("io.BufferedReader", plain).peek(4)
            if magic.startswith(_ZIP):
                raise UserError(f"{path} is a zip archive or an Excel workbook; unpack it or save it as CSV")
            if magic.startswith(_PARQUET):
                raise UserError(f"{path} is a Parquet file; choose data=parquet, or format=parquet in predict.py")
            if magic.startswith(_GZIP):
                with gzip.open(plain) as unpacked:
                    yield cast("BinaryIO", unpacked)
            else:
                yield plain
    except EOFError as error:
        raise UserError(f"{path} is cut short: its gzip data end too early; copy or download it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path} is corrupt: its gzip data do not unpack ({error}); copy or download it again"
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def find_encoding(sample: bytes) -> str:
    """The encoding that the first bytes of a file show: by byte order mark, by the zeros of UTF-16, else UTF-8."""
    for mark, encoding in _BOMS.items():
        if sample.startswith(mark):
            return encoding
    even, odd = sample[0::2], sample[1::2]
    if len(odd) >= 4:
        zeros_even, zeros_odd = even.count(0) / len(even), odd.count(0) / len(odd)
        if zeros_odd > 0.4 and zeros_even < 0.1:
            return "utf-16-le"
        if zeros_even > 0.4 and zeros_odd < 0.1:
            return "utf-16-be"
    return "utf-8"


def is_utf8(file: Path, but_ascii: bool = False) -> bool:
    """Whether a whole file is text in UTF-8; ``but_ascii``: and not in ASCII alone, which most encodings share."""
    decoder, beyond = codecs.getincrementaldecoder("utf-8")(), not but_ascii
    with reading(file) as stream:
        try:
            while piece := stream.read(1 << 20):
                text = decoder.decode(piece)
                if "\0" in text:
                    return False
                beyond = beyond or not text.isascii()
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return beyond


def check_encoding(encoding: str | None, prefix: str = "data.") -> None:
    """Refuse an encoding that Python does not have; ``prefix``: what stands before the key in the message."""
    if encoding is not None:
        try:
            known = codecs.lookup(encoding)._is_text_encoding
        except (LookupError, ValueError):
            known = False
        if not known:
            raise UserError(
                f"{prefix}encoding={encoding} is not a text encoding; choose one such as utf-8, cp1252 or utf-16"
            )


class DecodingError(Exception):
    """Bytes that are no text; raised in the place of the line that holds them."""

    def __init__(self, line: int, before: str, reason: str) -> None:
        super().__init__(reason)
        self.line = line  # number of the line, from 1
        self.before = before  # what stands before them in that line


def decoded_lines(stream: BinaryIO, encoding: str | None) -> Iterator[str]:
    """The lines of a stream, each with its line end as it is there (\\n, \\r\\n or \\r), without a byte order mark.

    encoding: None finds it (`find_encoding`). Raises DecodingError when the line with the wrong bytes is reached, after
    all lines before it.
    """
    name = encoding or find_encoding(cast("io.BufferedReader", stream).peek(SAMPLE))
    number = 0
    try:
        for number, line in enumerate(io.TextIOWrapper(stream, name, "unrolled.mark", newline=""), start=1):
            if WRONG_BYTES in line:
                before, wrong, _ = line.split(WRONG_BYTES, 2)
                raise DecodingError(number, before, f"the bytes {wrong} are not {name.upper().removesuffix('-SIG')}")
            yield line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeError as error:  # such as UTF-16 without its mark, where decoding cannot go on
        raise DecodingError(number + 1, "", f"it is not {name.upper()} ({error})") from error


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Decoding goes on, ahead of the lines; the bytes stand between marks in the line that will be refused."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return WRONG_BYTES + error.object[error.start : error.end][:4].hex(" ") + WRONG_BYTES, error.end


codecs.register_error("unrolled.mark", _mark)
