# The API in a container: docker build -t evolution-of-todo .
# See docs/deployment-docker.md. scripts/test-dockerfile carries out these lines without Docker.
# Task: T-482

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
# What changes less often comes first: Docker keeps the steps before the first change.
COPY requirements.lock ./
RUN python3 -m venv /app \
    && /app/bin/python -m pip install --no-cache-dir --no-deps --require-hashes --only-binary=:all: \
        --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY phase2/backend phase2/backend
RUN /app/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && /app/bin/python -m pip install --no-cache-dir --no-deps --no-index wheels/*.whl \
    && /app/bin/python -m pip check \
    && /app/bin/python -m pip uninstall --yes setuptools pip

FROM python:3.11-slim-bookworm
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH TODO_DATA_DIR=/data
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin todo \
    && install --directory --owner=todo --mode=0700 /data
USER todo
WORKDIR /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["todo", "serve", "--host", "0.0.0.0"]
