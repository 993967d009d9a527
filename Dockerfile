# syntax=docker/dockerfile:1
# The gateway as a small image. docker-compose.yml runs it; by hand, with a board at a serial port:
#
#   docker build -t fieldgate .
#   docker run --rm --device /dev/ttyACM0 --group-add "$(stat -c %g /dev/ttyACM0)" \
#     -v fieldgate-data:/var/lib/fieldgate fieldgate \
#     run --no-tui --port /dev/ttyACM0 --broker-url mqtt://BROKER:1883

FROM rust:1.95-slim-bookworm AS build
# A C compiler for the bundled SQLite.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin fieldgate \
    && cp target/release/fieldgate /usr/local/bin/fieldgate

FROM debian:bookworm-slim
# The certificates of public authorities, for mqtts://, wss:// and https://.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /var/lib/fieldgate \
        --shell /usr/sbin/nologin fieldgate \
    # A named volume takes owner and mode from here when it is first used.
    && install --directory --owner=fieldgate --group=fieldgate --mode=0700 /var/lib/fieldgate
COPY --from=build /usr/local/bin/fieldgate /usr/local/bin/fieldgate
USER fieldgate
# A config.toml that is mounted here is read.
WORKDIR /var/lib/fieldgate
# Where the journal lives.
ENV STATE_DIRECTORY=/var/lib/fieldgate
# A heap for all threads but one: some megabytes less, and no slower.
ENV MALLOC_ARENA_MAX=2
VOLUME /var/lib/fieldgate
STOPSIGNAL SIGTERM
ENTRYPOINT ["fieldgate"]
CMD ["run", "--no-tui"]
