"""Pictures and files as data URIs, so that a page carries them."""

from __future__ import annotations

import base64
import re
import struct
import tempfile
from pathlib import Path

from .blocks import Picture

KINDS = {  # ending: media type, and how such a file begins (an SVG may have a prologue)
    ".svg": ("image/svg+xml", b"<"),
    ".png": ("image/png", b"\x89PNG\r\n\x1a\n"),
    ".jpg": ("image/jpeg", b"\xff\xd8"),
    ".jpeg": ("image/jpeg", b"\xff\xd8"),
    ".gif": ("image/gif", b"GIF8"),
    ".webp": ("image/webp", b"RIFF"),
}
UNITS = {"pt": 4 / 3, "px": 1.0, "": 1.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4}


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as an address that holds them.

    Example:
        >>> data_uri(b"a,b", "text/csv")
        'data:text/csv;base64,YSxi'
    """
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def picture(path, alt, caption="") -> Picture:
    """The picture in a file.

    Args:
        path: .svg, .png, .jpg, .gif or .webp.
        alt: what it shows, for those who do not see it.
        caption: to stand below it.

    Raises:
        ValueError: the file is not what its ending says.
    """
    path = Path(path)
    kind, start = KINDS[path.suffix.lower()]
    data = path.read_bytes()
    if not data.lstrip().startswith(start) or (path.suffix.lower() == ".svg" and b"<svg" not in data):
        raise ValueError(f"the picture {str(path)!r} is damaged: it is no {path.suffix}; draw it again.")
    width, height = size(data, path.suffix.lower())
    return Picture(data_uri(data, kind), alt, width, height, caption)


def size(data: bytes, ending: str):
    """Width and height in CSS pixels; None where the file does not say."""
    if ending == ".png" and len(data) > 24:
        wide, high = struct.unpack(">II", data[16:24])
        at = data.find(b"pHYs", 0, 4096)
        per_metre = struct.unpack(">I", data[at + 4 : at + 8])[0] if 0 < at < len(data) - 13 else 0
        scale = 96 / 0.0254 / per_metre if per_metre else 1.0
        return wide * scale, high * scale
    if ending == ".svg":
        tag = re.search(rb"<svg\b[^>]*>", data)
        told = tag[0].decode(errors="replace") if tag else ""
        found = [re.search(rf'\s{name}="([\d.]+)([a-z]*)"', told) for name in ("width", "height")]
        sides = [float(one[1]) * UNITS[one[2]] for one in found if one and one[2] in UNITS]
        if len(sides) == 2:
            return tuple(sides)
        box = re.search(r'\sviewBox="[-\d.]+[ ,]+[-\d.]+[ ,]+([\d.]+)[ ,]+([\d.]+)"', told)
        if box:
            return float(box[1]), float(box[2])
    return None, None


def drawn(figure, alt, caption="") -> Picture:
    """A figure of matplotlib, saved as the package saves all of them."""
    from ..figures import save

    with tempfile.TemporaryDirectory() as folder:
        return picture(save(figure, Path(folder, "figure.svg")), alt, caption)
