"""Uploads: streamed, limited, parsed in a child, reported; and samples that need none."""

from __future__ import annotations

import hashlib
import io
import threading

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from sqlalchemy import text

CSV = b"rooms,area,price\n1,10.5,100\n2,x,200\n3,,300\n4,inf,400\n5,50,500\n"


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture
def upload(client):
    def post(data: bytes, query: str = "?format=csv", who=client, **options):
        return who.post(f"/v1/datasets{query}", content=data, **options)

    return post


@pytest.fixture
def form(client):
    def post(data: bytes, name: str = "table.csv", who=client, query: str = "", **fields: str):
        return who.post(f"/v1/datasets{query}", files={"file": (name, data)}, data=fields)

    return post


def test_a_raw_body_becomes_a_dataset_with_a_full_report(client, upload, settings):
    response = upload(CSV, "?name=houses&format=csv")
    dataset = response.json()
    assert response.status_code == 201, response.text
    assert response.headers["location"] == dataset["urls"]["self"] == f"/v1/datasets/{dataset['id']}"
    told = {"object": "dataset", "name": "houses", "format": "csv", "rows": 5, "column_count": 3, "size": len(CSV)}
    assert {name: dataset[name] for name in told} == told
    assert dataset["sha256"] == hashlib.sha256(CSV).hexdigest()
    columns = {column["name"]: column for column in dataset["report"]["columns"]}
    assert {flaw["kind"]: (flaw["count"], flaw["first_rows"]) for flaw in columns["area"]["flaws"]} == {
        "text_in_numbers": (1, [2]),
        "missing": (1, [3]),
        "non_finite": (1, [4]),
    }
    assert client.get(dataset["urls"]["self"]).json() == dataset
    assert list(settings.spool_dir.iterdir()) == []


def test_a_form_is_the_same_upload_and_its_fields_win_over_the_query(form):
    dataset = form(CSV, name="../../etc/passwd.csv", query="?name=other", format="csv").json()
    assert (dataset["name"], dataset["sha256"]) == ("other", hashlib.sha256(CSV).hexdigest())
    assert form(CSV, name="../../etc/passwd.csv").json()["name"] == "passwd.csv"
    assert form(CSV, query="?format=npz", format="csv").status_code == 201


def test_an_npz_file_becomes_columns(client, form):
    data = npz(features=np.random.default_rng(0).normal(size=(50, 3)), target=np.arange(50) % 2)
    dataset = form(data, name="table.npz").json()
    assert (dataset["format"], dataset["rows"], dataset["column_count"]) == ("npz", 50, 4)
    job = client.submit(dataset=dataset["id"])
    assert len(job["resolved_spec"]["task"]["features"]) == 3


def test_a_job_on_flawed_columns_is_refused_and_one_without_them_is_not(client, upload):
    dataset = upload(CSV).json()["id"]
    response = client.post("/v1/jobs", json={"dataset": dataset})
    assert response.status_code == 422
    messages = [item["message"] for item in response.json()["errors"]]
    assert {message.partition(":")[0] for message in messages} == {f"column 'area', row {row}" for row in (2, 3, 4)}
    task = {"target": "price", "features": ["rooms"], "kind": "regression"}
    assert client.post("/v1/jobs", json={"dataset": dataset, "task": task}).status_code == 201


@pytest.mark.parametrize(
    ("data", "query"),
    [
        (b"", "?format=csv"),
        (b"a,b\n", "?format=csv"),
        (b"a,b\n1\n", "?format=csv"),
        (b"\xff\xfe\x00", "?format=csv"),
        (b"a\x00b,c\n1,2\n", "?format=csv"),
        (b"", "?format=npz"),
        (b'{"a": 1}\n{"a": "x"}\n', "?format=jsonl"),
        (b'{"a": "\\u0000"}\n', "?format=jsonl"),
        (b'{"a\\ud800": 1}\n', "?format=jsonl"),
        (b"a\tb\n1\n", "?format=tsv"),
        (b"PAR1" + bytes(300) + b"PAR1", "?format=parquet"),
        (b"ARROW1\0\0" + bytes(300), "?format=parquet"),
        (npz(features=np.zeros((9, 2)), target=np.zeros(9))[:-40], "?format=npz"),
        (npz(features=np.array([[{}]], dtype=object), target=np.zeros(1)), "?format=npz"),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94", "?format=npz"),
    ],
)
def test_an_empty_torn_or_hostile_file_is_a_typed_error_and_leaves_nothing(upload, engine, settings, data, query):
    response = upload(data, query)
    assert response.status_code == 422, response.text
    body = response.json()
    assert body["code"] == "invalid_data"
    assert body["reason"]
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM datasets WHERE tenant_id IS NOT NULL")).scalar_one() == 0
    assert list(settings.spool_dir.iterdir()) == []


@pytest.mark.parametrize(
    "query", ["", "?format=arrow", "?format=CSV", "?name=table.arrow", "?name=table.tar", "?name=t.zip"]
)
def test_a_format_that_is_not_taken_is_415(upload, query):
    response = upload(CSV, query, headers={"Content-Type": "application/octet-stream"})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


def test_the_format_is_told_by_the_media_type_or_the_name(upload):
    assert upload(CSV, "", headers={"Content-Type": "text/csv; charset=utf-8"}).status_code == 201
    assert upload(CSV, "?name=table.csv").status_code == 201
    lines = b'{"x": 1}\n{"x": 2}\n'
    for media_type, data, known in (
        ("text/tab-separated-values", b"a\tb\n1\t2\n", "tsv"),
        ("application/x-ndjson", lines, "jsonl"),
        ("application/jsonl", lines, "jsonl"),
    ):
        response = upload(data, "", headers={"Content-Type": media_type})
        assert (response.status_code, response.json()["format"]) == (201, known)
    assert upload(lines, "?name=table.NDJSON").json()["format"] == "jsonl"


def test_a_parquet_file_of_images_and_texts_is_reported_with_their_sizes(client, form):
    image, buffer = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.zeros((5, 7, 3), np.uint8)).save(image, "PNG")
    table = pa.table({"picture": [image.getvalue()] * 2, "words": ["a", "b" * 300], "steps": [[1.0], [2.0, 3.0]]})
    parquet.write_table(table, buffer)
    dataset = form(buffer.getvalue(), name="pictures.parquet").json()
    columns = {column["name"]: column for column in client.get(dataset["urls"]["self"]).json()["report"]["columns"]}
    assert {name: column["kind"] for name, column in columns.items()} == {
        "picture": "image",
        "words": "text",
        "steps": "sequence",
    }
    picture = columns["picture"]
    assert (picture["channels"], picture["heights"], picture["widths"]) == (3, [5, 5], [7, 7])
    assert (columns["words"]["longest"], columns["steps"]["longest"]) == (300, 2)


def test_the_limit_holds_while_the_file_arrives(form, upload, client, new_app, new_client, settings):
    small = new_client(client.key, app=new_app(max_upload_bytes=1000))
    big = b"a,b\n" + b"1,2\n" * 1000

    async def pieces():
        for start in range(0, len(big), 100):
            yield big[start : start + 100]

    for response in (upload(big, who=small), upload(pieces(), who=small), form(big, who=small)):
        assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert list(settings.spool_dir.iterdir()) == []
    fits = b"a,b\n" + b"1,2\n" * 249
    assert len(fits) == 1000
    assert upload(fits, who=small).status_code == 201
    assert form(fits, who=small).status_code == 201


def part(disposition: str, data: bytes) -> bytes:
    return f"--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + data + b"\r\n"


FILE = part('name="file"; filename="t.csv"', CSV)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "pointer"),
    [
        (FILE + part('name="colour"', b"red") + b"--b--", "; boundary=b", 422, "/colour"),
        (FILE + FILE + b"--b--", "; boundary=b", 422, "/file"),
        (part('name="name"', b"x") + b"--b--", "; boundary=b", 422, "/file"),
        (FILE + part('name="name"', b"a\x00b") + b"--b--", "; boundary=b", 422, "/name"),
        (FILE + part('name="name"', b"") + b"--b--", "; boundary=b", 422, "/name"),
        (FILE, "; boundary=b", 400, None),
        (FILE + b"--b--", "", 400, None),
        (FILE + b"--b--", "; boundary=" + "b" * 500, 400, None),
        (b"no form", "; boundary=b", 400, None),
        (part('name="name"', b"x" * 5000) + FILE + b"--b--", "; boundary=b", 413, None),
        (b"--b\r\n" + b"X: " + b"y" * 10_000 + b"\r\n\r\n" + b"\r\n--b--", "; boundary=b", 400, None),
    ],
)
def test_a_broken_form_is_refused(client, engine, settings, body, content_type, status, pointer):
    headers = {"Content-Type": "multipart/form-data" + content_type}
    response = client.post("/v1/datasets", content=body, headers=headers)
    assert response.status_code == status, response.text
    assert [item["pointer"] for item in response.json()["errors"]] == ([pointer] if pointer else [])
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM datasets WHERE tenant_id IS NOT NULL")).scalar_one() == 0
    assert list(settings.spool_dir.iterdir()) == []


@pytest.mark.parametrize("name", ["", "x" * 256, "a%00b"])
def test_a_name_of_the_query_that_cannot_be_kept_is_refused_where_it_stands(upload, name):
    response = upload(CSV, f"?format=csv&name={name}")
    assert response.status_code == 422
    assert [item["pointer"] for item in response.json()["errors"]] == ["?name"]


def test_the_list_shows_own_uploads_page_by_page(client, upload):
    ids = [upload(CSV, f"?name=t{number}&format=csv").json()["id"] for number in range(3)]
    first = client.get("/v1/datasets?limit=2").json()
    rest = client.get(f"/v1/datasets?limit=2&cursor={first['next_cursor']}").json()
    assert [row["id"] for row in first["data"] + rest["data"]] == sorted(ids, reverse=True)
    assert "report" not in first["data"][0]


@pytest.fixture
def bare(new_client, new_key):
    """A client of a service that nobody has used yet: no sample is stored."""
    return new_client(new_key())


def test_a_sample_is_made_at_its_first_use_and_only_then(bare, engine):
    assert bare.post("/v1/jobs", json={"dataset": "sample:iris", "task": {"nonsense": 1}}).status_code == 422
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM datasets")).scalar_one() == 0
    # A refused job is a use as soon as it can be held against the data.
    problem = bare.post("/v1/jobs", json={"dataset": "sample:iris", "nonsense": 1, "task": {"target": "zzz"}}).json()
    assert [item["pointer"] for item in problem["errors"]] == ["/nonsense", "/task/target"]
    assert bare.submit(dataset="sample:iris")["resolved_spec"]["task"]["kind"] == "classification"
    dataset = bare.get("/v1/datasets/sample:iris").json()
    assert (dataset["id"], dataset["rows"], dataset["format"]) == ("sample:iris", 150, "sample")
    assert bare.get("/v1/datasets").json()["data"] == []


def test_first_uses_at_once_make_one_sample(bare, engine, new_app, new_client):
    clients = [bare, bare, new_client(bare.key, app=new_app()), new_client(bare.key, app=new_app())]
    replies = []
    threads = [
        threading.Thread(target=lambda client=client: replies.append(client.get("/v1/datasets/sample:wine")))
        for client in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status_code for reply in replies] == [200] * 4
    assert len({reply.text for reply in replies}) == 1
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM datasets")).scalar_one() == 1
        kept = connection.execute(text("SELECT count(*) FROM blobs WHERE state = 'published'"))
        assert kept.scalar_one() == 1


def test_an_unknown_sample_is_404(bare):
    assert bare.get("/v1/datasets/sample:nothing").status_code == 404


def test_a_form_without_a_file_is_told_how_to_send_one(client):
    response = client.post("/v1/datasets", data={"a": "b"})
    assert response.status_code == 415
    assert "as the part `file` of a multipart form" in response.json()["detail"]
