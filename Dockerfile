# docker build -t courier .
# docker run --rm courier --help
# To pin the base image: --build-arg PYTHON=python:3.13-slim@sha256:…
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
WORKDIR /source
# Install only what the lock files list, by hash. make lock updates them. The libraries come before the source, so that a
# build after a change of the source doesn't fetch them again.
COPY requirements.lock requirements-build.lock ./
RUN python -m venv --without-pip /opt/courier
RUN pip --python /opt/courier/bin/python install --no-cache-dir --no-compile --require-hashes --only-binary :all: -r requirements.lock
RUN pip install --root-user-action ignore --no-cache-dir --require-hashes --only-binary :all: -r requirements-build.lock
COPY . .
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .
RUN pip --python /opt/courier/bin/python install --no-compile --no-index --find-links /wheels courier
# Compiled for good, whatever the times of the files: the container's user can't write here, so that Python would compile
# all modules at each start.
RUN /opt/courier/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/courier/lib

FROM ${PYTHON}
# The image of Python comes without the compiled files of the standard library.
RUN python -m compileall -q --invalidation-mode unchecked-hash \
    -x '/(ensurepip|idlelib|lib2to3|site-packages|test|tests|tkinter|turtledemo)/' /usr/local/lib/python3.*
RUN groupadd --gid 10001 courier \
    && useradd --uid 10001 --gid courier --home-dir /var/lib/courier --no-create-home --shell /usr/sbin/nologin courier \
    && install --directory --owner 10001 --group 10001 --mode 0750 /var/lib/courier /var/lib/courier/audit
COPY --from=build /opt/courier /opt/courier
# Loopback can't be reached from outside of a container: the ports that you publish decide who may connect. The control
# socket is for docker exec NAME courier pause; /tmp is what a read-only container has beside its volume.
ENV PATH=/opt/courier/bin:/usr/local/bin:/usr/bin:/bin \
    COURIER_API=0.0.0.0:8080 \
    COURIER_AUDIT_PATH=/var/lib/courier/audit \
    COURIER_CONTROL=/tmp/control.sock
# A number, so that Kubernetes can tell that it isn't root.
USER 10001:10001
WORKDIR /var/lib/courier
# The audit log must outlive the container: mount a volume with a name, or a directory that 10001 may write to. The queues
# of [[queue]] tables have their audit logs beside it. If the volume were at audit, Docker would hide what is mounted here.
VOLUME /var/lib/courier
EXPOSE 8080
STOPSIGNAL SIGTERM
# Life, not readiness: a new container wouldn't end an outage of the recipient, and ECS and Swarm replace an unhealthy one.
# It asks no API, which may be off or on another port.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "courier.health"]
# No init in front: as PID 1, Courier handles signals and reaps orphaned processes.
ENTRYPOINT ["courier"]
