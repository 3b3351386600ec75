"""Data, from a file to the batches of training, each step in a place of its own.

`parse` starts the reading child (`read`, `confine`), whose parsers are in `formats`; `table` and `report` are what it
leaves. `splits` and `partition` say which rows train. `encode` makes what a network takes of cells, `target` what is
learned, `prepare` the same at prediction time. `stream` is for files that do not fit memory. All these are torch-free;
`tabular`, `large`, `part`, `streamed` and `augment` make tensors.
"""
