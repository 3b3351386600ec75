"""Encoded images: what becomes of each kind, and what is refused."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from softreg_core.data.formats.image_cells import decode_image, is_image
from softreg_core.data.request import ParseLimits
from softreg_core.errors import DataError

LIMITS = ParseLimits()
GRAY = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)
COLOUR = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


def refusal(data, limits=LIMITS):
    with pytest.raises(DataError) as caught:
        decode_image(data, limits)
    return caught.value.reason


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "GIF", "WEBP"])
def test_a_lossless_format_gives_the_pixels_back(image_bytes, file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = image_bytes(np.repeat(GRAY[..., np.newaxis], 3, axis=2), file_format, **options)
    assert is_image(data)
    pixels, is_smaller = decode_image(data, LIMITS)
    assert (pixels.shape, pixels.dtype, is_smaller) == ((3, 3, 4), np.uint8, False)
    assert np.array_equal(pixels[0], GRAY)


def test_gray_has_one_channel_and_colour_three(image_bytes):
    assert np.array_equal(decode_image(image_bytes(GRAY), LIMITS)[0], GRAY[np.newaxis])
    assert np.array_equal(decode_image(image_bytes(COLOUR), LIMITS)[0], COLOUR.transpose(2, 0, 1))
    assert decode_image(image_bytes(COLOUR, "JPEG"), LIMITS)[0].shape == (3, 4, 5)
    assert decode_image(image_bytes(COLOUR, "JPEG", mode="CMYK"), LIMITS)[0].shape == (3, 4, 5)
    assert decode_image(image_bytes(COLOUR, mode="P"), LIMITS)[0].shape == (3, 4, 5)
    assert set(np.unique(decode_image(image_bytes(GRAY, mode="1"), LIMITS)[0])) <= {0, 255}


def test_what_is_transparent_lies_over_white(image_bytes):
    layer = np.zeros((1, 2, 4), dtype=np.uint8)
    layer[0, 0] = (10, 20, 30, 255)
    assert decode_image(image_bytes(layer), LIMITS)[0].transpose(1, 2, 0).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    gray = np.array([[[7, 255], [7, 0]]], dtype=np.uint8)
    assert decode_image(image_bytes(gray), LIMITS)[0].tolist() == [[[7, 255]]]


def test_sixteen_bits_become_their_upper_eight(image_bytes):
    assert decode_image(image_bytes(np.array([[0, 255, 256, 65535]], dtype=np.uint16)), LIMITS)[0].tolist() == [
        [[0, 0, 1, 255]]
    ]


def test_a_photograph_is_turned_as_its_camera_was_held(image_bytes):
    exif = Image.Exif()
    exif[0x0112] = 6  # the top is on the right side: turn by a quarter
    assert decode_image(image_bytes(COLOUR, exif=exif), LIMITS)[0].shape == (3, 5, 4)


def test_a_large_image_is_made_smaller_and_keeps_its_shape(image_bytes):
    pixels, is_smaller = decode_image(image_bytes(np.full((600, 1200), 9, np.uint8)), LIMITS)
    assert (pixels.shape, is_smaller, int(pixels.min()), int(pixels.max())) == ((1, 256, 512), True, 9, 9)


def _png_of(width, height, data=b""):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", data or zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_bomb_is_refused_by_its_header_before_memory_is_taken(image_bytes):
    assert refusal(_png_of(2**31 - 1, 2**31 - 1)) == "image_too_large"
    assert refusal(_png_of(100_000, 100_000)) == "image_too_large"
    assert refusal(image_bytes(GRAY), ParseLimits(image_pixels=11)) == "image_too_large"
    assert decode_image(image_bytes(GRAY), ParseLimits(image_pixels=12))[0].size == 12


def test_text_that_unpacks_without_end_is_refused():
    bomb = zlib.compress(b"x" * 200_000_000)
    body = b"note\0\0" + bomb
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    whole = _png_of(1, 1, zlib.compress(b"\0\0"))
    assert refusal(whole[:33] + chunk + whole[33:]) == "image"


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_an_image_that_is_cut_off_is_refused(image_bytes, file_format):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = image_bytes(noise, file_format)
    for size in (3, 20, len(data) // 2, len(data) * 9 // 10):
        assert refusal(data[:size]) == "image"


@pytest.mark.parametrize("file_format", ["TIFF", "PPM", "TGA", "ICO"])
def test_another_format_is_refused_whatever_pillow_could(image_bytes, file_format):
    data = image_bytes(COLOUR, file_format)
    assert not is_image(data)
    assert refusal(data) == "image"
