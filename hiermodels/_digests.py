"""Digests of what a file says, whatever the bytes it says it with: BLAKE2b of the values of its columns."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["digest", "of_array", "of_column", "of_json"]

DIGEST_SIZE = 16


def digest(*parts: bytes | memoryview | str) -> str:
    """Digest of some parts, each with its length, as 32 hexadecimal digits.

    Examples
    --------
    >>> digest("a", "b") == digest("ab")
    False
    """
    hasher = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hasher.update(f"{memoryview(data).nbytes}:".encode())
        hasher.update(data)
    return hasher.hexdigest()


def of_json(value: Any) -> str:
    """Digest of plain data, in the order of its keys.

    Examples
    --------
    >>> of_json({"a": 1, "b": 2}) == of_json({"b": 2, "a": 1})
    False
    """
    return digest(json.dumps(value, separators=(",", ":")))


def of_array(array: np.ndarray) -> str:
    """Digest of an array's kind, shape and values: every NaN is the same, texts are compared as texts.

    Examples
    --------
    >>> of_array(np.array([1.0, 2.0])) == of_array(np.array([1.0, 2.0], order="F"))
    True
    """
    if array.dtype.kind in "OUST":
        return digest("text", str(array.shape), *(str(value) for value in array.ravel().tolist()))
    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype.kind == "f" and (strange := np.isnan(array)).any():
        array = np.where(strange, np.array(np.nan, array.dtype), array)
    return digest(array.dtype.str, str(array.shape), array.reshape(-1).view(np.uint8).data)


def of_column(column: pa.ChunkedArray) -> str:
    """Digest of a column of an Arrow table: its type, values and gaps; coded texts are texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    gaps = of_array(pc.is_null(column).to_numpy()) if column.null_count else ""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        codes = [
            _codes(chunk if pa.types.is_dictionary(column.type) else chunk.dictionary_encode())
            for chunk in column.chunks
        ]
        return digest("text", gaps, np.concatenate([np.zeros(0, np.uint64), *codes]).data)
    if column.null_count:
        column = column.fill_null(0)
    return digest(str(column.type), gaps, of_array(column.to_numpy()))


def _codes(chunk: pa.DictionaryArray) -> np.ndarray:
    """A number for each text that depends on the text alone."""
    words = [hashlib.blake2b(f"{word}".encode(), digest_size=8).digest() for word in chunk.dictionary.to_pylist()]
    table = np.frombuffer(b"".join(words) or bytes(8), np.uint64)
    return table[chunk.indices.fill_null(0).to_numpy(zero_copy_only=False)] if len(chunk) else np.zeros(0, np.uint64)
