"""Lines of Python's own library: which family of modules a piece is from, and what the order of its words says."""

from __future__ import annotations

import itertools
import json
import re
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from softreg_core.data.encode.text import WORD
from softreg_core.data.parse import read_table_file
from tests.core.training.trained import linear_accuracy, linear_r2, trained

FAMILIES = {
    "email": ("email/message.py", "email/_header_value_parser.py", "email/header.py"),
    "asyncio": ("asyncio/base_events.py", "asyncio/tasks.py", "asyncio/streams.py"),
    "unittest": ("unittest/case.py", "unittest/mock.py", "unittest/loader.py"),
    "numbers": ("fractions.py", "statistics.py", "_pydecimal.py"),
}
LIBRARY = Path(sysconfig.get_path("stdlib"))
PIECES, LINES = 120, 900


def source(family):
    return "".join((LIBRARY / name).read_text(encoding="utf-8") for name in FAMILIES[family])


def written(rows, path):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_table_file(path)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """Six lines each, and the family that they are from."""
    random = np.random.default_rng(0)
    rows = []
    for family in FAMILIES:
        lines = [line for line in source(family).splitlines() if line.strip()]
        starts = random.choice(len(lines) // 6, PIECES, replace=False) * 6
        rows += [{"piece": "\n".join(lines[start : start + 6]), "family": family} for start in starts]
    return written(rows, tmp_path_factory.mktemp("texts") / "pieces.jsonl"), rows


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Lines of code of 5 to 24 words, each as it stands or with its words in another order."""
    random = np.random.default_rng(0)
    found = sorted({line.strip() for family in FAMILIES for line in source(family).splitlines()})
    code = [line for line in found if re.search(r"[(=\[]", line) and 5 <= len(WORD.findall(line)) <= 24]
    rows = []
    for index in random.choice(len(code), LINES, replace=False).tolist():
        words = WORD.findall(code[index])
        is_code = bool(random.random() < 0.5)
        words = words if is_code else random.permutation(words).tolist()
        rows.append(facts(words) | {"line": " ".join(words), "is_code": is_code})
    return written(rows, tmp_path_factory.mktemp("texts") / "lines.jsonl"), rows


def facts(words):
    """What hangs on which word stands beside which."""
    pairs = list(itertools.pairwise(words))
    return {
        "calls": any(re.match(r"\w", left) and right == "(" for left, right in pairs),
        "attribute": any(left == "." and re.match(r"[a-z_]", right) for left, right in pairs),
        "before_bracket": next((i for i, word in enumerate(words) if word in "([{="), len(words)) / 24,
        "words": len(words) / 24,
    }


def bag(texts):
    """Counts of words, as the network's own vocabulary cuts them."""
    return CountVectorizer(tokenizer=WORD.findall, token_pattern=None).fit_transform(texts).astype(float)


RNN = {"kind": "rnn", "cell": "gru", "hidden": 32, "embedding": 24}
TRANSFORMER = {"kind": "transformer", "width": 32, "layers": 2, "dropout": 0.0}
CROSS_ENTROPY = {"loss": {"base": {"kind": "cross_entropy"}}}
WORDS = {"kind": "text", "vocabulary": "word", "size": 400}
BYTES = {"kind": "text", "vocabulary": "byte", "longest": 120}


def document(task, net, epochs, rate, **more):
    return {
        "task": task,
        "net": net,
        "optimizer": {"kind": "adam", "learning_rate": rate},
        "schedule": {"kind": "one_cycle"},
        "training": {"epochs": epochs, "batch_size": 32},
    } | more


def test_pieces_are_traced_to_their_family_of_modules_for_which_words_without_order_are_enough(pieces):
    table, _ = pieces
    task = {"target": "family", "features": ["piece"], "input": {"kind": "text", "size": 2000}}
    run = trained(document(task, {"kind": "mlp", "hidden": [32]}, 30, 0.02, **CROSS_ENTROPY), table)
    assert run["accuracy"] >= 0.8


@pytest.mark.parametrize(
    ("view", "net", "epochs", "rate", "floor"),
    [(WORDS, RNN, 12, 0.01, 0.78), (BYTES, RNN, 8, 0.02, 0.75), (WORDS, TRANSFORMER, 15, 0.003, 0.7)],
)
def test_words_in_order_are_told_from_the_same_words_in_another(lines, view, net, epochs, rate, floor):
    table, rows = lines
    task = {"target": "is_code", "features": ["line"], "input": view}
    run = trained(document(task, net, epochs, rate, **CROSS_ENTROPY), table)
    linear = linear_accuracy(bag([row["line"] for row in rows]), [row["is_code"] for row in rows], run.rows)
    assert run["accuracy"] >= floor
    assert linear < floor - 0.1


def test_several_labels_of_a_line_are_told(lines):
    table, rows = lines
    targets = ["calls", "attribute"]
    task = {"kind": "multilabel", "target": targets, "features": ["line"], "input": WORDS}
    run = trained(document(task, RNN, 15, 0.01), table)
    labels = np.array([[row[name] for name in targets] for row in rows])
    linear = linear_accuracy(bag([row["line"] for row in rows]), labels, run.rows)
    assert run["accuracy"] >= 0.9
    assert linear < 0.85


@pytest.mark.parametrize("targets", [["before_bracket"], ["before_bracket", "words"]])
def test_quantities_are_read_off_a_line(lines, targets):
    table, rows = lines
    task = {"target": targets, "features": ["line"], "input": WORDS}
    run = trained(document(task, RNN, 15, 0.01), table)
    wanted = np.array([[row[name] for name in targets] for row in rows])
    linear = linear_r2(bag([row["line"] for row in rows]).toarray(), wanted, run.rows)
    assert run["r2"] >= 0.8
    assert linear < 0.7
