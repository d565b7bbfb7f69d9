# Dockerfile: `broker` is crierd with the command crier; `services` are the four services of examples/order-processing.
# docker-compose.yml runs them together. Both are made from the Debian packages that ./dev package builds.

FROM debian:bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        build-essential cmake ninja-build pkg-config libevent-dev liblmdb-dev libprotobuf-c-dev protobuf-c-compiler \
        libzstd-dev liblz4-dev libjansson-dev libinih-dev uthash-dev \
    && rm -rf /var/lib/apt/lists/*
COPY . /source
WORKDIR /source
RUN cmake --preset package && cmake --build --preset package && cd build/package && cpack

FROM debian:bookworm-slim AS broker
COPY --from=build /source/build/package/crierd_*.deb /source/build/package/crier_*.deb /packages/
RUN apt-get update && apt-get install -y --no-install-recommends /packages/*.deb \
    && rm -rf /var/lib/apt/lists/* /packages \
    && useradd --system --no-create-home --home-dir /var/lib/crier crier \
    && install -d -o crier -g crier -m 0700 /var/lib/crier
USER crier
VOLUME /var/lib/crier
EXPOSE 27437
# Before the file, which says nothing about it: in a container the other machines are outside.
ENV CRIERD_LISTEN=0.0.0.0:27437
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s CMD ["crier", "ping", "--count", "1"]
ENTRYPOINT ["crierd", "--config", "/etc/crier/crierd.conf"]

FROM debian:bookworm-slim AS services
COPY --from=build /source/build/package/crier_*.deb /packages/
RUN apt-get update && apt-get install -y --no-install-recommends /packages/*.deb libjansson4 liblmdb0 \
    && rm -rf /var/lib/apt/lists/* /packages \
    && useradd --system --no-create-home --home-dir /data services \
    && install -d -o services -g services /data
COPY --from=build /source/build/package/examples/order_service /source/build/package/examples/inventory_service \
     /source/build/package/examples/email_service /source/build/package/examples/analytics_service \
     /source/build/package/examples/make_orders /usr/local/bin/
USER services
VOLUME /data
WORKDIR /data
