# make run     what Lapstrake does, with a real Debian image (IMAGE=… for one from a registry)
# make test    everything that CI runs
# make judge   bollard's and docker-py's own tests against the daemon, from crates.io and PyPI (SUITE=… for one)
# make bench   the measures of docs/benchmarks.md (WHAT=… for some of them)
#
# Debian packages that are missing are installed with apt-get. Rust is not: see README.md.

.POSIX:
.PHONY: run test judge bench need-rust

IMAGE =
WHAT =
SUITE =

BUILD_PACKAGES = gcc libc6-dev make
IMAGE_PACKAGES = debootstrap skopeo docker-registry
RUN_PACKAGES = runc
TEST_PACKAGES = erofs-utils xfsprogs btrfs-progs e2fsprogs attr acl git python3 python3-venv curl busybox-static procps crun
BENCH_PACKAGES = docker.io containerd podman crun python3

run: need-rust
	scripts/need $(BUILD_PACKAGES) $(IMAGE_PACKAGES) $(RUN_PACKAGES)
	cargo build --release --locked --package lapstrake-cli --package xtask
	cargo run --quiet --release --locked --package xtask -- demo $(IMAGE)

test: need-rust
	scripts/need $(BUILD_PACKAGES) $(IMAGE_PACKAGES) $(RUN_PACKAGES) $(TEST_PACKAGES)
	command -v docker >/dev/null || scripts/need docker.io
	cargo run --quiet --locked --package xtask -- check

judge: need-rust
	scripts/need $(BUILD_PACKAGES) $(IMAGE_PACKAGES) $(RUN_PACKAGES) $(TEST_PACKAGES)
	command -v docker >/dev/null || scripts/need docker.io
	cargo run --quiet --locked --package xtask -- judge $(SUITE)

bench: need-rust
	scripts/need $(BUILD_PACKAGES) $(IMAGE_PACKAGES) $(RUN_PACKAGES) $(TEST_PACKAGES) $(BENCH_PACKAGES)
	cargo run --quiet --release --locked --package xtask -- bench $(WHAT)

need-rust:
	@command -v cargo >/dev/null || { echo 'Rust is missing: install it with rustup (https://rustup.rs)' >&2; exit 1; }
