"""One encoded image as pixels, by Pillow, under limits; torch-free.

PNG, JPEG, BMP, GIF (its first frame) and WebP are told by their content. An image is turned as its EXIF data says,
becomes gray (one channel) or colour (three), transparent parts over white, sixteen bits as their upper eight.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

__all__ = ["decode_image", "is_image"]

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF87a", b"GIF89a")
_PNG_END = b"IEND\xaeB`\x82"
_WHITE = (255, 255, 255, 255)


def is_image(data: bytes) -> bool:
    """Whether the first bytes are those of a format that is taken."""
    return data.startswith(_STARTS) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def decode_image(data: bytes, limits: ParseLimits) -> tuple[NDArray[np.uint8], bool]:
    """Pixels (C, H, W), and whether the image was made smaller because a side was longer than `limits.image_side`.

    Raises:
        DataError: the image is broken, of another format, or larger than the limits; without row and column.
    """
    # Pillow is content once it has all pixels, and then has not seen the checksum.
    if data.startswith(_STARTS[0]) and _PNG_END not in data:
        raise DataError("the image is cut off", "image")
    # Pillow looks at this before it takes memory, and warns up to twice as much: here a warning is an error.
    Image.MAX_IMAGE_PIXELS = limits.image_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                image.load()
                plain = _plain(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"the image has more than {limits.image_pixels} pixels", "image_too_large") from error
    except MemoryError:
        raise
    # Whatever a broken picture provokes in any of the decoders means the same.
    except Exception as error:
        raise DataError("the image is damaged, cut off, or of a format that is not taken", "image") from error
    is_larger = max(plain.size) > limits.image_side
    if is_larger:
        plain.thumbnail((limits.image_side, limits.image_side), Image.Resampling.BICUBIC)
    pixels = np.asarray(plain, dtype=np.uint8)
    return (pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)), is_larger


def _plain(image: Image.Image) -> Image.Image:
    """The image as `L` or `RGB`."""
    if image.mode in ("L", "RGB"):
        has_alpha = "transparency" in image.info
        if not has_alpha:
            return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I") or image.mode == "F":
        return _upper_bits(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        over = Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer)
        return over.convert("L" if image.mode in ("L", "LA", "La") else "RGB")
    return image.convert("RGB")


def _upper_bits(image: Image.Image) -> Image.Image:
    """Of sixteen bits the upper eight; Pillow's own conversion would cut off at 255."""
    deep: NDArray[Any] = np.asarray(image)
    return Image.fromarray((deep.clip(0, 65535).astype(np.uint16) >> 8).astype(np.uint8))
