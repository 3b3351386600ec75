"""From the bytes of a file to a table: one `<format>_table` each, its parts and its cells beside it; torch-free.

Only the reading child (softreg_core.data.read) runs these on a file that nobody trusts.
"""
