"""How good a network is on given rows; knows no trainer, so that a loaded model is measured by the same code.

measure.py      what each epoch is measured by: a few sums, on the device
outputs.py      a network's outputs and losses on rows, as NumPy arrays
report.py       the full report of a delivered model, from such outputs
model.py        both of a model, as its spec and preprocessing say
classes.py, values.py, gaussian.py, calibration.py     its metrics, by what is predicted
bootstrap.py    the intervals
document.py     what a report is, as JSON; torch-free, as this file is: the API reads it
"""
