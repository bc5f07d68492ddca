# Hearth in a container:
#
#     docker build --tag hearth .
#     docker run --init --publish 127.0.0.1:8080:8080 --volume hearth:/data --env HEARTH_WEB__TOKEN=... hearth
#
# compose.yaml runs it with secrets in files, alone or with PostgreSQL; docs/deploy.md has the rest.

# One base for both stages: the virtual environment that is copied points at its Python.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS build
WORKDIR /src
RUN python -m venv /opt/hearth
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bot bot
COPY adapters adapters
COPY storage storage
# Wheels alone, so that nothing is compiled: there is no compiler in either stage. Hearth itself is pure Python.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/hearth/bin/pip install --disable-pip-version-check --only-binary :all: --no-binary hearth \
        --constraint constraints.txt '.[postgresql]' \
    && /opt/hearth/bin/pip uninstall --yes pip

FROM ${BASE}
# llama.cpp computes with OpenMP's threads.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 hearth \
    && useradd --uid 10001 --gid hearth --home-dir /data --no-create-home --shell /usr/sbin/nologin hearth \
    && install --directory --owner hearth --group hearth --mode 0700 /data
COPY --from=build /opt/hearth /opt/hearth
# The page is to be reached from outside the container, so it asks for a token: without one Hearth refuses to start.
ENV PATH=/opt/hearth/bin:$PATH \
    HEARTH_DATA_DIR=/data \
    HEARTH_WEB__HOST=0.0.0.0
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# /healthz on the local socket: it is there whatever [web] says, and tells more than the page's (200 or 503).
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m --retries=3 CMD ["python", "-c", "import socket, sys; \
s = socket.socket(socket.AF_UNIX); s.settimeout(8); s.connect('/data/run/hearth.sock'); \
s.sendall(b'GET /healthz HTTP/1.0\\r\\nHost: hearth\\r\\n\\r\\n'); sys.exit(s.recv(64).split()[1] != b'200')"]
# In exec form, so that SIGTERM reaches Hearth itself.
ENTRYPOINT ["hearth"]
CMD ["run"]
