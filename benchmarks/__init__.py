"""One command per figure; each prints what it measured and on what."""
