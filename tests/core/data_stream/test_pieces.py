"""Rows on disk: every row once an epoch, in an order that the file's own order does not show through."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from softreg_core.data.stream import pieces as module
from softreg_core.data.stream.pieces import Dealer
from softreg_core.errors import IntegrityError
from softreg_core.keyed import draws


@pytest.fixture
def dealt(tmp_path, monkeypatch):
    """5,000 rows sorted by their label, in pieces of about 500, dealt from blocks of any sizes."""
    monkeypatch.setattr(module, "PIECE_BYTES", 6000)
    features = np.arange(10_000, dtype=np.float32).reshape(5000, 2)
    target = np.arange(5000, dtype=np.int32) // 500
    numbers = itertools.count()

    def make(block_sizes=(5000,), seed=0):
        directory = tmp_path / str(next(numbers))
        directory.mkdir()
        dealer = Dealer(directory, (features[:1], target[:1]), 5000, seed)
        ends = np.cumsum(block_sizes)[:-1]
        for rows in np.split(np.arange(5000), ends):
            dealer.add((features[rows], target[rows]))
        return dealer.finish()

    return make


def visited(arrays):
    features, target = (np.concatenate(parts) for parts in zip(*arrays, strict=True))
    assert np.array_equal(features[:, 0] // 1000, target)  # a row's arrays stay together
    return (features[:, 0] // 2).astype(int)


def test_an_epoch_visits_every_row_once_and_another_epoch_in_another_order(dealt):
    pieces = dealt()
    assert pieces.rows == 5000
    assert len(pieces.sizes) == 10
    first, again, second = (visited(pieces.shuffled(3, epoch)) for epoch in (0, 0, 1))
    assert np.array_equal(np.sort(first), np.arange(5000))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert np.array_equal(np.sort(visited(pieces.in_order())), np.arange(5000))


def test_rows_that_are_sorted_by_label_are_trained_mixed(dealt):
    labels = visited(dealt().shuffled(0, 0)) // 500
    for block in np.split(labels, 50):
        assert len(set(block.tolist())) >= 9  # of ten classes, among a hundred rows that follow each other


def test_the_sizes_of_the_blocks_that_the_file_is_read_in_change_nothing(dealt):
    whole, parts = dealt(), dealt(block_sizes=(1, 1022, 77, 3900))
    assert whole.sizes == parts.sizes
    assert np.array_equal(visited(whole.shuffled(0, 5)), visited(parts.shuffled(0, 5)))
    assert whole.sizes != dealt(seed=1).sizes


@pytest.mark.parametrize("skip", [0, 1, 499, 500, 2345, 4999])
def test_an_epoch_goes_on_where_it_was_left(dealt, skip):
    pieces = dealt()
    assert np.array_equal(visited(pieces.shuffled(0, 2, skip=skip)), visited(pieces.shuffled(0, 2))[skip:])


def test_a_piece_that_was_cut_short_is_noticed(dealt):
    pieces = dealt()
    file = next(pieces.directory.iterdir())
    file.write_bytes(file.read_bytes()[:-12])
    with pytest.raises(IntegrityError, match="piece"):
        visited(pieces.in_order())


def test_draws_do_not_depend_on_where_a_block_begins():
    whole = draws(0, 100, 5, "deal")
    for start in (0, 1, 3, 4, 37):
        assert np.array_equal(draws(start, 20, 5, "deal"), whole[start : start + 20])
