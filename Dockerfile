# syntax=docker/dockerfile:1
# rip-master in an image of its own. Build: docker build -t rip-master .
#
#   docker run -p 8080:8080 rip-master                              says hello
#   docker run -p 8080:8080 -v "$PWD":/srv:ro rip-master            serves the Edgefile in this directory
#
# The last stage has glibc and nothing else: no shell, no interpreter. An app in Python or Node wants an
# image that has those: take theirs as a base and copy /usr/bin/rip-master out of this one.

FROM rust:1-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock clippy.toml ./
COPY src src
COPY master master
COPY worker-shim worker-shim
# The manifests name tests and examples: they must be there, and are not built.
COPY tests tests
COPY scripts scripts
COPY examples examples
RUN cargo build --release --locked --package rip-master \
    && strip target/release/rip-master \
    && mkdir -p /image/usr/bin /image/srv /image/var/lib/rip-master /image/var/cache/rip-master /image/run/rip \
    && cp target/release/rip-master /image/usr/bin/ \
    && cp scripts/docker/Edgefile /image/srv/Edgefile

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build --chown=65532:65532 /image/ /
# What a volume keeps, and what it need not.
ENV STATE_DIRECTORY=/var/lib/rip-master \
    CACHE_DIRECTORY=/var/cache/rip-master \
    RUNTIME_DIRECTORY=/run/rip \
    RIP_JSON_LOGGING=true
VOLUME /var/lib/rip-master
WORKDIR /srv
USER 65532:65532
EXPOSE 8080 8443
# As PID 1 it ends whom nobody else does; the first TERM is graceful.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/bin/rip-master", "status", "--timeout", "4"]
ENTRYPOINT ["/usr/bin/rip-master"]
CMD ["start", "/srv"]
