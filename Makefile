# `make demo`: the whole job from nothing. `make test`: every check from nothing.
.PHONY: setup build test lint demo

setup:
	@python3 models/setup/libtorch.py
	@python3 models/setup/gloo.py

build: setup
	cargo build --release --locked

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

test: lint
	cargo test --workspace --locked

demo: build
	cargo run --release --locked --quiet -- run experiments/recipes/demo.toml
