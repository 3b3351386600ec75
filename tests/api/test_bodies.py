"""What a bad body gets: everything wrong with it at once, and nothing is stored."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from softreg_core.data.report import ColumnReport, DatasetReport, Flaw

JSON = {"Content-Type": "application/json"}
TABLES = ("jobs", "job_events", "outbox", "idempotency")


@pytest.fixture
def refused(client, engine):
    """Posts a body that must be refused, checks that nothing was stored, and returns the problem."""

    def post(body, status: int, headers: dict[str, str] = JSON) -> dict:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = client.post("/v1/jobs", content=content, headers={**headers, "Idempotency-Key": "k"})
        assert response.status_code == status, response.text
        with engine.connect() as connection:
            for table in TABLES:
                assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0  # noqa: S608
        return response.json()

    return post


def pointers(problem: dict) -> list[str]:
    return [item["pointer"] for item in problem["errors"]]


def test_every_problem_of_a_spec_comes_at_once_with_the_nearest_name(refused):
    problem = refused(
        {
            "dataset": "sample:digitz",
            "nme": "x",
            "priority": 101,
            "metadata": {"k": 1},
            "training": {"epoch": 3, "batch_size": "32"},
            "loss": {"divergence": {"kind": "artcle"}},
            "net": {"hidden": [0]},
        },
        422,
    )
    assert problem["code"] == "invalid_spec"
    messages = {item["pointer"]: item["message"] for item in problem["errors"]}
    assert set(messages) == {
        "/dataset",
        "/nme",
        "/priority",
        "/metadata/k",
        "/training/epoch",
        "/training/batch_size",
        "/loss/divergence/kind",
        "/net/hidden/0",
    }
    assert "did you mean 'name'" in messages["/nme"]
    assert "did you mean 'epochs'" in messages["/training/epoch"]
    assert "did you mean 'article'" in messages["/loss/divergence/kind"]
    assert "did you mean 'sample:digits'" in messages["/dataset"]


def test_a_wrong_envelope_does_not_hide_a_spec_that_misses_its_data(refused):
    problem = refused({"dataset": "sample:digits", "priority": -1, "task": {"target": "trget"}}, 422)
    assert pointers(problem) == ["/priority", "/task/target"]
    assert "did you mean 'target'" in problem["errors"][1]["message"]


def test_a_broken_section_does_not_hide_what_the_other_ones_miss(refused):
    body = {"dataset": "sample:digits", "training": {"epochs": 0}, "task": {"target": "zzz"}}
    assert pointers(refused(body, 422)) == ["/training/epochs", "/task/target"]
    body = {"dataset": "sample:digits", "checkpoints": {"monitor": "val.r2", "keep": 1}, "split": {"stratify": 3}}
    assert pointers(refused(body, 422)) == ["/split/stratify", "/checkpoints/keep"]


def test_nothing_is_said_of_data_against_a_task_that_is_not_known(refused):
    """Without its task this would be a classification, and the monitor wrong."""
    body = {"dataset": "sample:digits", "task": {"kind": "regresion"}, "checkpoints": {"monitor": "val.r2"}}
    assert pointers(refused(body, 422)) == ["/task/kind"]


def test_what_cannot_be_kept_does_not_hide_anything_else(refused):
    body = (
        b'{"dataset": "sample:digits", "nme": 1, "loss": {"alpha": NaN, "bse": {}}, "name": "a", "name": "b",'
        b'"net": -Infinity, "optimizer": {"kind": 9223372036854775808}, "metadata": {"k": "\\ud800", "l": 1},'
        b'"training": {"\\ud800": 1}, "task": {"target": "trget"}}'
    )
    problem = refused(body, 422)
    assert problem["code"] == "invalid_request"
    messages = {item["pointer"]: item["message"] for item in problem["errors"]}
    assert len(messages) == len(problem["errors"])
    expected = {"/nme", "/loss/alpha", "/loss/bse", "/name", "/net", "/optimizer/kind", "/metadata/k", "/metadata/l"}
    assert set(messages) == expected | {"/training", "/task/target"}
    assert messages["/loss/alpha"] == "NaN is no JSON number"
    assert messages["/name"] == "the key 'name' stands here twice"
    assert "did you mean 'target'" in messages["/task/target"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/dataset"),
        ({"dataset": None}, "/dataset"),
        ({"dataset": "x" * 300}, "/dataset"),
        ({"dataset": "ds_" + "0" * 26}, "/dataset"),
        ({"dataset": "sample:digits", "webhook_ids": []}, "/webhook_ids"),
        ({"dataset": "sample:digits", "metadata": {str(n): "" for n in range(17)}}, "/metadata"),
        ({"dataset": "sample:digits", "metadata": {"k": "v" * 513}}, "/metadata/k"),
        ({"dataset": "sample:digits", "spec_version": 2}, "/spec_version"),
        ({"dataset": "sample:digits", "training": {"epochs": 2**63 - 1}}, "/training/epochs"),
        ({"dataset": "sample:digits", "net": {"kind": "os.system", "hidden": [1]}}, "/net/kind"),
    ],
)
def test_a_wrong_field_is_named(refused, body, pointer):
    assert pointers(refused(body, 422)) == [pointer]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"dataset": NaN}', "/dataset"),
        (b'{"dataset": "sample:digits", "loss": {"alpha": -Infinity}}', "/loss/alpha"),
        (b'{"dataset": "sample:digits", "loss": {"alpha": 1e999}}', "/loss/alpha"),
        (b'{"dataset": "sample:digits", "priority": 9223372036854775808}', "/priority"),
        (b'{"dataset": "sample:digits", "priority": -9223372036854775809}', "/priority"),
        (b'{"dataset": "sample:digits", "priority": ' + b"9" * 10_000 + b"}", "/priority"),
        (b'{"dataset": "sample:digits", "name": "a\\u0000b"}', "/name"),
        (b'{"dataset": "sample:digits", "name": "\\ud800"}', "/name"),
        (b'{"dataset": "sample:digits", "metadata": {"a\\u0000": "b"}}', "/metadata"),
        (b'{"dataset": "sample:digits", "metadata": {"a/b~": "\\udfff"}}', "/metadata/a~1b~0"),
        (b'{"dataset": "sample:digits", "name": "a", "name": "b"}', "/name"),
        (b"[" * 100_000 + b"]" * 100_000, ""),
        (b"[]", ""),
        (b'"text"', ""),
        (b"null", ""),
        (json.dumps({f"k{n}": n for n in range(101)}).encode(), ""),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(refused, body, pointer):
    problem = refused(body, 422)
    assert problem["code"] == "invalid_request"
    assert pointers(problem) == [pointer]


def test_what_lies_too_deep_is_named_beside_the_rest(refused):
    problem = refused(b'{"a":' * 33 + b"1" + b"}" * 33, 422)
    assert pointers(problem) == ["/a" * 32, "/dataset", "/a"]


def test_the_deepest_document_that_is_taken_is_refused_only_for_its_key(refused):
    problem = refused(b'{"dataset": "sample:digits", "a": ' + b"[" * 31 + b"]" * 31 + b"}", 422)
    assert (problem["code"], pointers(problem)) == ("invalid_spec", ["/a"])


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": 1,}', b"{'a': 1}", b'{"a": "\xff"}', b"\xef\xbb\xbf{}", b"{}{}"])
def test_what_is_no_json_is_400(refused, body):
    assert refused(body, 400)["code"] == "malformed_request"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {},
        {**JSON, "Content-Encoding": "gzip"},
    ],
)
def test_another_media_type_or_coding_is_415(refused, headers):
    assert refused({"dataset": "sample:digits"}, 415, headers)["code"] == "unsupported_media_type"


def test_problems_past_a_hundred_are_counted_instead_of_listed(refused):
    problem = refused({"dataset": "sample:digits", "net": {"hidden": ["x"] * 31}, "task": {"features": [1] * 200}}, 422)
    assert len(problem["errors"]) == 101
    assert problem["errors"][-1]["message"].startswith("and ")


def test_a_body_over_the_limit_is_413_with_and_without_content_length(client, new_app, new_client):
    small = new_client(client.key, app=new_app(max_body_bytes=1000))
    body = json.dumps({"dataset": "sample:digits", "name": "x" * 2000}).encode()
    sent = []

    async def pieces():
        for start in range(0, len(body), 100):
            sent.append(start)
            yield body[start : start + 100]

    for content in (body, pieces()):
        response = small.post("/v1/jobs", content=content, headers=JSON)
        assert (response.status_code, response.json()["code"]) == (413, "too_large")
        assert response.headers["connection"] == "close"


def test_a_net_past_the_limit_is_refused_with_its_size(client, new_app, new_client):
    small = new_client(client.key, app=new_app(max_parameters=321))
    problem = small.post("/v1/jobs", json={"dataset": "sample:digits"}).json()
    assert problem["errors"] == [
        {"pointer": "/net", "message": "the net has 322 parameters, and at most 321 are taken"}
    ]


def test_a_batch_that_no_memory_holds_is_refused_with_its_size(client, new_app, new_client):
    small = new_client(client.key, app=new_app(max_batch_bytes=2**20))
    body = {"dataset": "sample:digits", "net": {"hidden": [16384]}}
    (error,) = small.post("/v1/jobs", json={**body, "training": {"batch_size": 32}}).json()["errors"]
    assert error["pointer"] == "/training/batch_size"
    assert "GiB" in error["message"]
    assert small.post("/v1/jobs", json={**body, "training": {"batch_size": 32, "accumulate": 8}}).status_code == 201
    assert small.post("/v1/jobs", json={**body, "training": {"batch_size": 4}}).status_code == 201


def test_images_that_no_memory_holds_decoded_are_refused_with_their_size(client, new_app, new_client):
    view = {"kind": "image", "channels": 1, "height": 1, "width": 2}
    body = {"dataset": "sample:digits", "net": {"kind": "cnn"}, "task": {"input": view}}
    assert client.post("/v1/jobs", json=body).status_code == 201
    small = new_client(client.key, app=new_app(max_prepared_bytes=10))
    (error,) = small.post("/v1/jobs", json=body).json()["errors"]
    assert error["pointer"] == "/task/input"
    assert "when they are decoded to this size" in error["message"]


NUMBERS = {"kind": "numeric", "tensor": "numbers", "distinct": 90}


@pytest.mark.parametrize(
    ("flaw", "word"),
    [("missing", "missing value"), ("text_in_numbers", "text in a numeric column"), ("non_finite", "NaN or infinite")],
)
def test_a_cell_that_cannot_be_used_refuses_the_job_with_row_and_column(refused, dataset, flaw, word):
    columns = (
        ColumnReport(name="rooms", position=0, **NUMBERS, flaws=(Flaw(kind=flaw, count=7, first_rows=(3, 8)),)),
        ColumnReport(name="price", position=1, **NUMBERS),
    )
    report = DatasetReport(format="csv", rows=100, columns=columns)
    problem = refused({"dataset": dataset(report)}, 422)
    (error,) = problem["errors"]
    assert error["pointer"] == "/dataset"
    assert "column 'rooms', rows 3, 8 and 5 more" in error["message"]
    assert word in error["message"]


def test_a_single_class_and_a_missing_target_are_refused(refused, dataset):
    columns = (
        ColumnReport(name="rooms", position=0, **NUMBERS),
        ColumnReport(name="kind", kind="category", tensor="codes", position=0, distinct=1, levels=("x",)),
    )
    made = dataset(DatasetReport(format="csv", rows=100, columns=columns))
    problem = refused({"dataset": made}, 422)
    assert pointers(problem) == ["/task/target"]
    assert "single class" in problem["errors"][0]["message"]
    problem = refused({"dataset": made, "task": {"target": "knd"}}, 422)
    assert "did you mean 'kind'" in problem["errors"][0]["message"]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["auto", "mlp", "\ud800"])
)
NAMES = st.sampled_from(["dataset", "kind", "net", "loss", "hidden", "task", "target", "alpha", "metadata", "split"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES | st.text(max_size=4) | st.just("\udfff"), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(document=st.dictionaries(NAMES | st.text(max_size=4), VALUES, max_size=6), is_named=st.booleans())
def test_no_document_is_a_fault_of_ours(client, document, is_named):
    """Whatever JSON comes: a job, or a problem that says where."""
    if is_named:
        document = {**document, "dataset": "sample:digits"}
    response = client.post("/v1/jobs", content=json.dumps(document).encode(), headers=JSON)
    assert response.status_code in (201, 422), response.text
    if response.status_code == 422:
        assert response.json()["errors"]
