"""Data that is larger than memory's share: read once in order, dealt into pieces on disk, visited piece by piece.

A file may be one row group, and may be sorted by its label: rows that lie near each other must not be trained near
each other. So rows are not visited in the file's own groups. They are prepared once, dealt at random into pieces that
fit memory, and every epoch permutes the pieces and the rows within each. Nothing here needs torch.
"""
