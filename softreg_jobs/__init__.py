"""What a job is: its states, rows and bytes in PostgreSQL; torch-free and HTTP-free.

The API and the worker both stand on this package. `store` is the only writer of job rows.
"""
