"""The worker: a Celery task that claims jobs and supervises a warm runner, the only place where a job meets torch.

app.py         Celery's entry; signals start and end the supervisor of a slot
supervisor.py  one slot: keeps a runner ready, claims jobs, has each driven to its end
drive.py       one attempt at a job: hand it to the runner, record what it tells, write its end
export.py      one try at building a model's file
attempt.py     what is known of the attempt: progress, metrics, its owner's wishes
heart.py       renews the lease and hears wishes while an attempt runs
warm.py        the runner as the supervisor holds it: a process, pipes, a log
runner.py      the runner's own program
protocol.py    what the two say to each other
spool.py       files under way
"""
