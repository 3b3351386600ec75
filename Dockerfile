# Two images: `api` (the API, the keeper, migrations; no torch) and `worker` (with torch).
#
#     docker build --target api --tag softreg-api:0.1.0 .
#     docker build --target worker --tag softreg-worker:0.1.0 .
#
# Plain pip installs the torch of PyPI, which on Linux x86-64 runs on NVIDIA GPUs and on CPUs. For a smaller image
# that only runs on CPUs, name an index of CPU builds: --build-arg TORCH_INDEX_URL=...

FROM python:3.11-slim AS wheel
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY api/ api/
COPY migrations/ migrations/
COPY softreg/ softreg/
COPY softreg_core/ softreg_core/
COPY softreg_jobs/ softreg_jobs/
COPY worker/ worker/
# The variable, unlike the option, also holds for what builds the wheel.
RUN --mount=type=cache,target=/root/.cache/pip \
    PIP_CONSTRAINT=constraints.txt pip wheel --no-deps --wheel-dir /wheels .


FROM python:3.11-slim AS api-environment
RUN python -m venv /opt/softreg
COPY constraints.txt /constraints.txt
COPY --from=wheel /wheels/ /wheels/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/softreg/bin/pip install --constraint /constraints.txt "$(ls /wheels/*.whl)[api]"


FROM python:3.11-slim AS worker-environment
ARG TORCH_INDEX_URL=""
RUN python -m venv /opt/softreg
COPY constraints.txt /constraints.txt
# On its own and first: only torch comes from another index, and a change of our code does not install it anew.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/softreg/bin/pip install --constraint /constraints.txt \
        ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch
COPY --from=wheel /wheels/ /wheels/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/softreg/bin/pip install --constraint /constraints.txt "$(ls /wheels/*.whl)[worker]"


FROM python:3.11-slim AS runtime
RUN groupadd --gid 10001 softreg \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin softreg \
    && install --directory --owner softreg --group softreg --mode 0700 /spool
# HOME is where libraries put their caches; the root file system is read-only under Compose.
ENV PATH="/opt/softreg/bin:$PATH" \
    HOME="/tmp" \
    PYTHONUNBUFFERED="1" \
    SOFTREG_SPOOL_DIR="/spool"
WORKDIR /spool
USER 10001:10001


FROM runtime AS api
COPY --from=api-environment /opt/softreg/ /opt/softreg/
EXPOSE 8000
CMD ["softreg", "api"]


FROM runtime AS worker
COPY --from=worker-environment /opt/softreg/ /opt/softreg/
CMD ["softreg", "worker"]
