"""One example of each body and reply for the OpenAPI document; a test holds that each one validates."""

from __future__ import annotations

from typing import Any

__all__ = ["EXAMPLES"]

_JOB = "job_01kaqw3d9n5v8yt2c4b6m7r0xe"
_CHECKPOINT = "ckpt_01kaqw3f2m8x5zt9c1b4n6r7ye"
_MODEL = "mdl_01kaqw3g7p3v9wt4d2c5m8s1ze"
_DATASET = "ds_01kaqw2b5k1t7vr6x3a8n4q9we"
_AT = "2026-11-23T17:00:00.123Z"
_SHA256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"

_SUMMARY: dict[str, Any] = {
    "object": "job",
    "id": _JOB,
    "created_at": _AT,
    "metadata": {"experiment": "first"},
    "urls": {
        "self": f"/v1/jobs/{_JOB}",
        "events": f"/v1/jobs/{_JOB}/events",
        "metrics": f"/v1/jobs/{_JOB}/metrics",
        "checkpoints": f"/v1/jobs/{_JOB}/checkpoints",
        "model": f"/v1/jobs/{_JOB}/model",
        "cancel": f"/v1/jobs/{_JOB}/cancel",
    },
    "name": "digits-soft",
    "dataset": "sample:digits",
    "state": "running",
    "terminal": False,
    "phase": "training",
    "attempt": 1,
    "priority": 50,
    "progress": {
        "step": 900,
        "total_steps": 4500,
        "epoch": 20,
        "epochs": 100,
        "percent": 20.0,
        "steps_per_second": 2100.0,
        "seconds_remaining": 1.7,
    },
    "durations": {"queued_seconds": 0.021, "running_seconds": 0.43, "total_seconds": 0.451},
    "parameters": 4810,
    "warnings": [],
    "metrics": {"val.accuracy": {"last": 0.91, "best": 0.92, "best_step": 855}},
    "best_checkpoint_id": _CHECKPOINT,
    "model_id": None,
    "termination_reason": None,
    "error": None,
}
_FULL = {
    **_SUMMARY,
    "transitions": [
        {"state": "queued", "at": _AT, "reason": "submitted"},
        {"state": "running", "at": "2026-11-23T17:00:00.144Z", "reason": "claimed"},
    ],
    "queue": None,
    "resolved_spec": {
        "spec_version": 1,
        "task": {"kind": "classification", "target": ["target"], "features": ["pixel_0_0"], "missing": "error"},
        "loss_formula": "1/2 |y - yhat|^2 + 0.01 * 1/2 [ln(1/(1 + d2)) + d2/(1 + d2)], d2 = |y - yhat|^2",
    },
    "device": "cpu",
    "model_metrics": None,
}
_EVENT = {
    "object": "event",
    "seq": 2,
    "type": "state",
    "level": "info",
    "at": _AT,
    "data": {"state": "running", "reason": "claimed"},
}
_SAVED = {
    "object": "checkpoint",
    "id": _CHECKPOINT,
    "created_at": _AT,
    "metadata": {},
    "urls": {
        "self": f"/v1/checkpoints/{_CHECKPOINT}",
        "content": f"/v1/checkpoints/{_CHECKPOINT}/content",
        "job": f"/v1/jobs/{_JOB}",
    },
    "job_id": _JOB,
    "step": 855,
    "epoch": 19,
    "metrics": {"val.accuracy": 0.92},
    "is_best": True,
    "pinned": False,
    "size": 58472,
    "sha256": _SHA256,
}
_TABLE: dict[str, Any] = {
    "object": "dataset",
    "id": _DATASET,
    "created_at": _AT,
    "metadata": {},
    "urls": {"self": f"/v1/datasets/{_DATASET}"},
    "name": "houses.csv",
    "format": "csv",
    "sha256": _SHA256,
    "size": 41200,
    "rows": 506,
    "column_count": 1,
}
_REPORT = {
    "format": "csv",
    "rows": 506,
    "columns": [
        {
            "name": "price",
            "kind": "numeric",
            "integral": False,
            "minimum": 5.0,
            "maximum": 50.0,
            "mean": 22.5,
            "standard_deviation": 9.2,
            "flaws": [{"kind": "missing", "count": 2, "first_rows": [17, 301]}],
        }
    ],
    "warnings": [],
}


def _measure(value: float, lower: float, upper: float) -> dict[str, Any]:
    return {"value": value, "lower": lower, "upper": upper, "reason": None}


_EVALUATED: dict[str, Any] = {
    "rows": 360,
    "of_rows": 360,
    "metrics": {
        "accuracy": _measure(0.92, 0.891, 0.947),
        "nll": {"value": None, "lower": None, "upper": None, "reason": "no probabilities: ..."},
    },
    "targets": None,
    "classes": [{"label": "0", "rows": 36, "precision": 0.97, "recall": 1.0, "f1": 0.986, "roc_auc": 0.9995}],
    "confusion": {
        "labels": ["0", "1"],
        "matrix": [[36, 0], [1, 33]],
        "most_confused": [{"actual": "1", "predicted": "0", "rows": 1}],
    },
    "calibration": None,
}
_EVALUATION: dict[str, Any] = {
    "format": "softreg report 1",
    "task": "classification",
    "headline": "accuracy",
    "scores": "values",
    "is_weighted": False,
    "intervals": {
        "method": "percentile bootstrap",
        "level": 0.95,
        "resamples": 1000,
        "most_units": 512,
        "seed": 0,
    },
    "parts": {"train": {**_EVALUATED, "rows": 1437, "of_rows": 1437}, "validation": _EVALUATED},
    "gaps": {
        "accuracy": {"train_minus_validation": _measure(0.041, 0.014, 0.071), "train_minus_test": None},
    },
}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": [item], "has_more": False, "next_cursor": None}


EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "JobCreate": [
        {"dataset": "sample:digits"},
        {
            "name": "diabetes-soft",
            "dataset": "sample:diabetes",
            "net": {"kind": "mlp", "hidden": [64, 32]},
            "loss": {
                "base": {"kind": "half_squared_error"},
                "alpha": 0.01,
                "divergence": {"kind": "article", "variance": {"kind": "fixed", "value": 1.0}},
            },
            "training": {"epochs": 20, "batch_size": 32, "seed": 7},
            "export": ["safetensors", "onnx"],
            "metadata": {"experiment": "first"},
        },
    ],
    "JobReply": [_FULL],
    "JobList": [_list(_SUMMARY)],
    "EventList": [{"object": "list", "data": [_EVENT], "has_more": False, "next_after": 2}],
    "MetricsReply": [
        {
            "object": "metrics",
            "job_id": _JOB,
            "names": ["train.loss", "val.accuracy"],
            "recorded_steps": 2,
            "steps": [45, 90],
            "series": {"train.loss": [0.41, 0.22], "val.accuracy": [0.81, None]},
            "non_finite": {},
        }
    ],
    "CheckpointReply": [_SAVED],
    "CheckpointList": [_list(_SAVED)],
    "ModelReply": [
        {
            "object": "model",
            "id": _MODEL,
            "created_at": _AT,
            "metadata": {},
            "urls": {"self": f"/v1/models/{_MODEL}", "job": f"/v1/jobs/{_JOB}"},
            "job_id": _JOB,
            "metrics": {"val.accuracy": 0.92},
            "report": _EVALUATION,
            "files": [
                {
                    "name": "model.onnx",
                    "state": "building",
                    "reason": None,
                    "media_type": "application/octet-stream",
                    "size": None,
                    "sha256": None,
                    "url": f"/v1/models/{_MODEL}/files/model.onnx",
                    "export": None,
                },
                {
                    "name": "model.safetensors",
                    "state": "ready",
                    "reason": None,
                    "media_type": "application/octet-stream",
                    "size": 19440,
                    "sha256": _SHA256,
                    "url": f"/v1/models/{_MODEL}/files/model.safetensors",
                    "export": None,
                },
            ],
        }
    ],
    "DatasetReply": [{**_TABLE, "report": _REPORT}],
    "DatasetList": [_list(_TABLE)],
    "HealthReply": [{"status": "ok"}],
    "ReadyReply": [
        {
            "status": "degraded",
            "checks": {"database": "ok", "schema": "ok", "redis": "ok", "workers": "failed"},
            "workers": 0,
        }
    ],
    "ProblemDocument": [
        {
            "type": "urn:softreg:problem:invalid_spec",
            "title": "Unprocessable Entity",
            "status": 422,
            "detail": "the job has 1 problem",
            "code": "invalid_spec",
            "errors": [{"pointer": "/training/epoch", "message": "unknown key 'epoch' - did you mean 'epochs'?"}],
            "request_id": "req_01kaqw3d9n5v8yt2c4b6m7r0xe",
            "retryable": False,
        }
    ],
}
