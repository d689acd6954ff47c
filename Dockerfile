# docker build -t courier .
# docker run --rm courier --help
FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels .
RUN python -m venv --without-pip /opt/courier
RUN pip --python /opt/courier/bin/python install --no-index --find-links /wheels courier

FROM python:3.13-slim
RUN groupadd --gid 10001 courier \
    && useradd --uid 10001 --gid courier --home-dir /var/lib/courier --no-create-home --shell /usr/sbin/nologin courier \
    && install --directory --owner 10001 --group 10001 --mode 0750 /var/lib/courier /var/lib/courier/audit
COPY --from=build /opt/courier /opt/courier
# Inside of a container loopback is nobody's: who may connect is decided by which ports are published.
ENV PATH=/opt/courier/bin:/usr/local/bin:/usr/bin:/bin \
    COURIER_API=0.0.0.0:8080 \
    COURIER_AUDIT_PATH=/var/lib/courier/audit
# A number, so that Kubernetes can tell that it isn't root.
USER 10001:10001
WORKDIR /var/lib/courier
# The audit log must outlive the container: mount a volume with a name, or a directory that 10001 may write to.
VOLUME /var/lib/courier/audit
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:%s/status/health' % os.environ['COURIER_API'].rpartition(':')[2], timeout=3)"]
# No init in front: as PID 1 Courier takes its signals, and reaps whoever is left to it.
ENTRYPOINT ["courier"]
