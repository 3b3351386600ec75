"""A job that names a finished model as its teacher is checked before it is queued."""

from __future__ import annotations

import pytest

from softreg_core.data.report import DatasetReport

CROSS_ENTROPY = {"base": {"kind": "cross_entropy"}}
POINTER = "/loss/divergence/source/model"


def learning_from(model: str | None, base: str = "cross_entropy", **further):
    divergence = {"kind": "teacher", "source": {"kind": "model", "model": model}}
    return {"loss": {"base": {"kind": base}, "alpha": 0.5, "divergence": divergence}, **further}


@pytest.fixture
def teacher(client, worker):
    """Submits a job and finishes it as a worker would; gives the model's id."""

    def make(**fields) -> str:
        client.submit(**fields)
        return worker.succeed(worker.claim(), {"model.safetensors": b"weights", "model.json": b"{}"})

    return make


def refusal(client, **fields) -> str:
    response = client.post("/v1/jobs", json={"dataset": "sample:digits", **fields})
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "invalid_spec"), problem
    assert [item["pointer"] for item in problem["errors"]] == [POINTER]
    return problem["errors"][0]["message"]


def test_a_model_with_the_same_outputs_teaches_and_its_files_come_with_the_claim(client, worker, teacher):
    model = teacher(loss=CROSS_ENTROPY)
    job = client.submit(**learning_from(model))
    assert model in job["resolved_spec"]["loss_formula"]
    assert [warning["code"] for warning in job["warnings"]] == ["teacher_costs_a_pass"]
    claim = worker.claim()
    assert sorted(claim.teacher) == ["model.json", "model.safetensors"]
    assert claim.teacher["model.safetensors"].size == len(b"weights")


def test_a_teacher_that_is_not_named_or_not_there_is_refused(client):
    assert "needed" in refusal(client, **learning_from(None))
    assert "there is no model" in refusal(client, **learning_from("mdl_" + "0" * 26))


def test_another_tenant_s_model_does_not_exist(client, new_client, new_key, worker, teacher):
    model = teacher(loss=CROSS_ENTROPY)
    other = new_client(key=new_key(tenant_id="other"))
    assert "there is no model" in refusal(other, **learning_from(model))


def test_a_teacher_with_other_outputs_or_inputs_is_refused(client, dataset, teacher):
    values = teacher()
    assert "values (base half_squared_error), not logits" in refusal(client, **learning_from(values))
    logits = teacher(loss=CROSS_ENTROPY)
    assert "logits" in refusal(client, **learning_from(logits, "half_squared_error"))
    assert "needs column 'b'" in refusal(client, **learning_from(logits, task={"features": ["a"]}))
    regression = {"task": {"kind": "regression", "target": "b"}}
    assert "its task is classification" in refusal(client, **learning_from(logits, "half_squared_error", **regression))


def test_other_labels_are_other_outputs(client, dataset, teacher):
    from tests.api.conftest import DIGITS

    model = teacher(loss=CROSS_ENTROPY)
    named = DIGITS.columns[-1].model_copy(update={"levels": ("3", "8")})
    other = dataset(DatasetReport(format="csv", rows=100, columns=(*DIGITS.columns[:-1], named)))
    assert "2 outputs (0, 1), not 2 outputs (3, 8)" in refusal(client, **learning_from(model, dataset=other))


def test_without_weight_no_teacher_is_asked_for(client, worker):
    fields = learning_from("mdl_" + "0" * 26)
    fields["loss"]["alpha"] = 0.0
    client.submit(**fields)
    assert worker.claim().teacher == {}
