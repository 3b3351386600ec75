"""Files out of the database: whole, in ranges, under conditions, and never damaged."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest
from sqlalchemy import text

DATA = random.Random(0).randbytes(9 * 2**20 + 12345)
TAG = f'"{hashlib.sha256(DATA).hexdigest()}"'


@pytest.fixture
def url(client, worker):
    client.submit()
    model_id = worker.succeed(worker.claim(), {"model.safetensors": DATA, "empty.json": b""})
    return f"/v1/models/{model_id}/files/model.safetensors"


def test_the_whole_file_comes_with_what_a_careful_client_needs(client, url):
    response = client.get(url)
    assert response.status_code == 200
    assert response.content == DATA
    digest = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
    expected = {
        "content-length": str(len(DATA)),
        "etag": TAG,
        "repr-digest": f"sha-256=:{digest}:",
        "accept-ranges": "bytes",
        "content-type": "application/octet-stream",
        "content-disposition": 'attachment; filename="model.safetensors"',
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
    }
    assert {name: response.headers[name] for name in expected} == expected


def test_head_tells_the_same_without_the_bytes(client, url):
    whole, head = client.get(url), client.request("HEAD", url)
    for headers in (whole.headers, head.headers):
        del headers["x-request-id"]
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == whole.headers


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=5-": (5, len(DATA)),
    "bytes=-7": (len(DATA) - 7, len(DATA)),
    f"bytes=-{10**12}": (0, len(DATA)),
    "bytes=1048575-1048577": (1048575, 1048578),
    f"bytes={4 * 2**20 - 1}-{8 * 2**20}": (4 * 2**20 - 1, 8 * 2**20 + 1),
    f"bytes=9-{10**15}": (9, len(DATA)),
    f"bytes=9-{10**22}": (9, len(DATA)),
    f"bytes=000{'0' * 30}9-{'9' * 5000}": (9, len(DATA)),
    f"bytes=-{10**22}": (0, len(DATA)),
    "BYTES=0-1": (0, 2),
}


def test_a_range_is_206_with_exactly_its_bytes(client, url):
    for header, (start, stop) in RANGES.items():
        response = client.get(url, headers={"Range": header})
        assert response.status_code == 206, header
        assert response.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
        assert response.headers["content-length"] == str(stop - start)
        assert response.content == DATA[start:stop], header


def test_what_is_no_single_range_gets_the_whole_file(client, url):
    for header in ("bytes=0-1,4-5", "bytes=5-4", "bytes=a-b", "rows=0-1", "bytes=-", "bytes"):
        response = client.request("HEAD", url, headers={"Range": header})
        assert (response.status_code, response.headers["content-length"]) == (200, str(len(DATA))), header


def test_a_range_past_the_end_is_416_with_the_size(client, url):
    for header in (f"bytes={len(DATA)}-", f"bytes={10**17}-{10**17}", f"bytes={10**22}-", "bytes=-0"):
        response = client.get(url, headers={"Range": header})
        assert (response.status_code, response.json()["code"]) == (416, "range_not_satisfiable"), header
        assert response.headers["content-range"] == f"bytes */{len(DATA)}"


def test_an_empty_file_is_200_and_has_no_range(client, url):
    empty = url.replace("model.safetensors", "empty.json")
    response = client.get(empty)
    assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"", "0")
    assert client.get(empty, headers={"Range": "bytes=0-"}).status_code == 416


CONDITIONS: list[tuple[dict[str, str], int]] = [
    ({"If-None-Match": TAG}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": f'"x", W/{TAG}'}, 304),
    ({"If-None-Match": '"x"'}, 200),
    ({"If-Match": TAG}, 200),
    ({"If-Match": "*"}, 200),
    ({"If-Match": '"x"'}, 412),
    ({"Range": "bytes=0-1", "If-Range": TAG}, 206),
    ({"Range": "bytes=0-1", "If-Range": '"x"'}, 200),
    ({"Range": "bytes=0-1", "If-Range": f"W/{TAG}"}, 200),
    ({"Range": "bytes=0-1", "If-Range": "Mon, 23 Nov 2026 17:00:00 GMT"}, 200),
    ({"Range": "bytes=0-1", "If-None-Match": TAG}, 304),
]


def test_conditions(client, url):
    for headers, status in CONDITIONS:
        response = client.request("HEAD", url, headers=headers)
        assert response.status_code == status, headers
        if status == 304:
            assert response.headers["etag"] == TAG


def test_a_name_that_the_model_does_not_have_is_404(client, url):
    for name in ("nothing.json", "%2e%2e%2fmodel.json", "model.safetensors%00"):
        assert client.get(url.replace("model.safetensors", name)).status_code == 404, name


def test_a_flipped_bit_in_the_first_stretch_is_an_error_and_no_download(client, url, engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE blob_chunks SET data = set_byte(data, 7, get_byte(data, 7) # 1) WHERE idx = 1"))
    response = client.get(url)
    assert (response.status_code, response.json()["code"]) == (500, "integrity")


def test_a_checkpoint_downloads_like_a_file(client, worker):
    client.submit()
    checkpoint_id = worker.checkpoint(worker.claim(), 5, data=b"state")
    response = client.get(f"/v1/checkpoints/{checkpoint_id}/content", headers={"Range": "bytes=1-2"})
    assert (response.status_code, response.content) == (206, b"ta")
    assert response.headers["content-disposition"] == f'attachment; filename="{checkpoint_id}.safetensors"'
    head = client.request("HEAD", f"/v1/checkpoints/{checkpoint_id}/content")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "5")
    assert head.headers["etag"] == response.headers["etag"]
