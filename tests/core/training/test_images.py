"""Digits, and figures in colour of many sizes as PNG bytes in Parquet: every task, against a linear model of pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from softreg_core.data.sample import load_sample
from tests.core.training.trained import linear_accuracy, linear_r2, table_of_parquet, trained

FIGURES = ("disc", "ring", "square", "cross")
ROWS = 480


def drawn(image, name, box, colour):
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = box
    if name == "disc":
        draw.ellipse(box, fill=colour)
    elif name == "ring":
        draw.ellipse(box, outline=colour, width=2)
    elif name == "square":
        draw.rectangle(box, fill=colour)
    else:
        draw.line((left, (top + bottom) / 2, right, (top + bottom) / 2), fill=colour, width=2)
        draw.line(((left + right) / 2, top, (left + right) / 2, bottom), fill=colour, width=2)
    return image


def figure(random, name):
    """A picture of a figure anywhere on a darker or lighter ground; the share of it that the figure covers."""
    size = tuple(int(side) for side in random.integers(20, 27, 2))
    radius = random.uniform(4.0, 9.0)
    x, y = (random.uniform(radius, side - radius) for side in size)
    box = (x - radius, y - radius, x + radius, y + radius)
    ground, own = (90, 170) if random.random() < 0.5 else (170, 90)
    colours = [tuple(int(value) for value in level + random.integers(-40, 41, 3)) for level in (ground, own)]
    clean = np.asarray(drawn(Image.new("RGB", size, colours[0]), name, box, colours[1]))
    covered = np.asarray(drawn(Image.new("L", size), name, box, 1)).mean()
    noisy = (clean + random.normal(0.0, 8.0, clean.shape)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(noisy), covered, own - ground


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """The table, and the pixels as a linear model sees them, made one size by pillow."""
    random = np.random.default_rng(0)
    names = random.choice(FIGURES, ROWS)
    images, covered, contrasts = zip(*(figure(random, name) for name in names), strict=True)
    columns = {
        "photo": [png(image) for image in images],
        "figure": names.tolist(),
        "is_filled": [bool(name in ("disc", "square")) for name in names],
        "is_straight": [bool(name in ("square", "cross")) for name in names],
        "covered": list(covered),
        "contrast": [float(contrast) for contrast in contrasts],
    }
    pixels = np.stack([np.asarray(image.resize((20, 20))).ravel() / 255.0 for image in images])
    return table_of_parquet(tmp_path_factory.mktemp("images") / "figures.parquet", columns), pixels, columns


AUGMENT = {"flip_horizontal": True, "flip_vertical": True, "crop_padding": 2}


def document(task, net, epochs, **more):
    return {
        "task": task | {"features": ["photo"], "input": {"kind": "image", "augment": AUGMENT}},
        "net": net,
        "optimizer": {"kind": "adamw", "learning_rate": 0.01},
        "schedule": {"kind": "one_cycle"},
        "training": {"epochs": epochs, "batch_size": 32},
    } | more


CNN = {"kind": "cnn", "channels": [8, 16, 32], "convolutions": 1}
RESNET = {"kind": "resnet", "depth": 20, "width": 8}
CROSS_ENTROPY = {"loss": {"base": {"kind": "cross_entropy"}}}


@pytest.mark.parametrize(
    ("target", "net", "epochs", "floor"), [("figure", RESNET, 12, 0.85), ("is_straight", CNN, 20, 0.85)]
)
def test_figures_are_told_apart_which_a_linear_model_cannot(figures, target, net, epochs, floor):
    table, pixels, columns = figures
    run = trained(document({"target": target}, net, epochs, **CROSS_ENTROPY), table)
    assert run["accuracy"] >= floor
    assert linear_accuracy(pixels, columns[target], run.rows) < floor - 0.2


def test_several_labels_of_a_picture_are_told(figures):
    table, pixels, columns = figures
    targets = ["is_filled", "is_straight"]
    run = trained(document({"kind": "multilabel", "target": targets}, CNN, 20), table)
    assert run["accuracy"] >= 0.9
    labels = np.stack([columns[name] for name in targets], axis=1)
    assert linear_accuracy(pixels, labels, run.rows) < 0.8


@pytest.mark.parametrize("targets", [["covered"], ["covered", "contrast"]])
def test_quantities_are_read_off_pictures(figures, targets):
    table, pixels, columns = figures
    run = trained(document({"target": targets}, CNN, 30), table)
    assert run["r2"] >= 0.65
    assert linear_r2(pixels, np.stack([columns[name] for name in targets], axis=1), run.rows) < 0.5


def digits(seed, epochs=6):
    return {
        "task": {"input": {"kind": "image", "channels": 1, "height": 8, "width": 8}},
        "split": {"train": 0.7, "validation": 0.1, "test": 0.2, "seed": seed},
        "net": {"kind": "cnn"},
        "loss": {"base": {"kind": "cross_entropy"}},
        "optimizer": {"kind": "adamw", "learning_rate": 0.005},
        "schedule": {"kind": "one_cycle"},
        "training": {"epochs": epochs, "batch_size": 64},
    }


def test_digits_are_read_better_than_by_logistic_regression():
    table = load_sample("digits")
    runs = [trained(digits(seed), table) for seed in range(3)]
    pixels = table.values(runs[0].spec.task.features)
    codes = table.values(["target"])[:, 0]
    ours = np.mean([run["accuracy"] for run in runs])
    linear = np.mean([linear_accuracy(pixels, codes, run.rows) for run in runs])
    assert ours >= 0.98
    assert ours >= linear + 0.01
