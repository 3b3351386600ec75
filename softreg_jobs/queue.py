"""The doorbell: a Celery message that says 'look at the ledger', and nothing else.

A doorbell may be lost or come twice; neither matters, because a worker claims from PostgreSQL until nothing is left,
and the keeper rings again for what waits. A message carries no data, so a forged one does nothing.
"""

from __future__ import annotations

from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import OperationalError

from softreg_jobs.errors import UnavailableError
from softreg_jobs.settings import Settings

__all__ = ["DOORBELL", "celery_app", "queue_name", "ring"]

DOORBELL = "softreg.doorbell"


def queue_name(kind: str) -> str:
    """The queue of a device kind (`auto`, `cpu`, `cuda`, `cuda:N`)."""
    return "softreg." + kind.replace(":", ".")


def celery_app(settings: Settings, kinds: tuple[str, ...] = ()) -> Celery:
    """Celery set up as a doorbell; `kinds` are those whose queues a worker listens to."""
    app = Celery("softreg", broker=_broker_url(settings), set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_create_missing_queues=True,
        task_queues=[Queue(queue_name(kind)) for kind in kinds],  # type: ignore[no-untyped-call]
        # Acknowledged before the task runs: a restart of Redis cannot touch a running job, and a job whose worker
        # dies comes back through its lease. Without prefetch a busy worker takes no doorbell that a free one needs.
        task_acks_late=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        task_reject_on_worker_lost=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_proc_alive_timeout=30.0,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # Without `retry_on_timeout`: each layer's retries multiply, and a Redis that hangs would hold a caller for
        # minutes.
        broker_transport_options={
            "socket_timeout": 2,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    )
    return app


def ring(app: Celery, kind: str) -> None:
    """Wake a worker that takes `kind`.

    Raises:
        UnavailableError: Redis does not answer.
    """
    try:
        app.send_task(DOORBELL, queue=queue_name(kind), retry=False)
    except OperationalError as error:
        raise UnavailableError("Redis does not answer") from error


def _broker_url(settings: Settings) -> str:
    """redis-py says `unix:///path`, kombu says `redis+socket:///path`."""
    url = settings.redis_url.get_secret_value()
    return "redis+socket://" + url.removeprefix("unix://") if url.startswith("unix://") else url
