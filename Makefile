# What a person types; the work is done by cargo and by the scripts named here.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BUF := npx --yes @bufbuild/buf@1.75.0
DENY := target/tools/bin/cargo-deny
PYTHON := $(CURDIR)/tests/.venv/bin/python
# All programs and tests at once: one after the other they would be built with other features, and
# so would seventy libraries that both use.
BUILD := cargo build --workspace --bins --tests
# A line for each fault of the last run: sort target/test-faults.txt | uniq -c
TALLY := $(CURDIR)/target/test-faults.txt

.PHONY: help
help: ## Say what there is.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 20

.PHONY: build
build: ## Build the four programs for use.
	cargo build --release -p asyncflow -p asyncflow-broker -p asyncflow-governor -p asyncflow-worker

.PHONY: wheel
wheel: ## Build a wheel with SDK and program into target/wheels, and try it in a fresh environment.
	deploy/wheel/build.sh

.PHONY: demo
demo: ## Train on real digits, pull the plug, watch it go on. A few minutes.
	python3 examples/digits/demo.py

.PHONY: demo-workflow
demo-workflow: ## Three trainings on two hosts, of which one dies; the best draws. Two minutes.
	python3 examples/digits/workflow.py

.PHONY: test
test: setup ## Every crate and example, on real databases; installs by apt what it lacks. 17 minutes.
	$(BUILD)
	$(PYTHON) -m unittest discover examples/digits
	$(PYTHON) -m unittest discover examples/digits_sdk
	$(PYTHON) -m unittest discover examples/lightning
	$(PYTHON) -m unittest discover examples/pytorch
	$(PYTHON) -m unittest discover examples/sweep
	cargo test --workspace --doc
	cargo test --workspace --lib --bins --tests -- --test-threads=4

.PHONY: test-sdk
test-sdk: setup ## The SDKs of all languages, what they share, and every page of their guides.
	tests/setup.sh toolchains
	$(BUILD)
	ASYNCFLOW_TEST_PYTHON=$(PYTHON) sdk/test.sh $(ARGS)

.PHONY: test-faults
test-faults: setup ## Whole systems under every fault, and HTTP fuzzed: a third of an hour more.
	$(BUILD)
	tests/http/fuzz.sh
	rm -f $(TALLY)
	ASYNCFLOW_TEST_TALLY=$(TALLY) \
	    cargo test --workspace --test mixed_load -- --nocapture nothing_is_lost
	ASYNCFLOW_TEST_TALLY=$(TALLY) ASYNCFLOW_TEST_PYTHON=$(PYTHON) \
	    cargo test --workspace --test system -- --test-threads=4

.PHONY: test-mixed-load
test-mixed-load: setup ## Mixed load under random faults, with and without planted bugs. Five minutes.
	$(BUILD)
	cargo test --workspace --test mixed_load -- --test-threads=4 --nocapture

.PHONY: test-redis-speed
test-redis-speed: setup ## How much time it costs when Redis is in trouble. Four minutes of a quiet machine.
	$(BUILD)
	ASYNCFLOW_TEST_SPEED=1 ASYNCFLOW_TEST_PYTHON=$(PYTHON) \
	    cargo test --workspace --test system -- --test-threads=1 --nocapture redis_speed

.PHONY: test-models
test-models: ## Lease and shards in every order, also within larger bounds. Some minutes.
	ASYNCFLOW_TEST_MODELS=large cargo test -p asyncflow-core --test models -- --nocapture

.PHONY: test-simulation
test-simulation: ## Workers, brokers and governor in simulated time. SEEDS=2000
	ASYNCFLOW_SIM_SEEDS=$(or $(SEEDS),2000) cargo test --workspace --test simulation -- --nocapture

.PHONY: test-integrations
test-integrations: ## The callbacks for Trainer, Lightning, Keras, tqdm, with the real ones (6 GB).
	$(BUILD)
	sdk/python/test-integrations.sh

.PHONY: test-gpu
test-gpu: ## The checks of docs/gpu.md on a host with a real NVIDIA GPU.
	cargo build --release -p asyncflow
	python3 tests/gpu/check.py

.PHONY: soak
soak: setup ## An hour of mixed load under random faults. ARGS="--minutes 10 --database postgres"
	$(BUILD)
	cargo test --workspace --test soak -- $(ARGS)

.PHONY: setup
setup:
	tests/setup.sh

.PHONY: lint
lint: fmt clippy proto deny ## Format, clippy, protocol, licences.

.PHONY: fmt
fmt:
	cargo fmt --all --check

.PHONY: clippy
clippy:
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: proto
proto: ## Lint the protocol and compare it with the baseline (needs node).
	@if command -v npx >/dev/null; then \
	    $(BUF) lint proto; \
	    $(BUF) breaking proto --against proto/baseline.binpb; \
	else \
	    echo "make proto: skipped, because there is no npx (nodejs, npm) to run buf with"; \
	fi

.PHONY: deny
deny: ## Check licences and sources; builds cargo-deny into target/tools the first time.
	@if command -v cargo-deny >/dev/null; then \
	    cargo deny check bans licenses sources; \
	else \
	    [ -x $(DENY) ] || cargo install cargo-deny --locked --root target/tools; \
	    $(DENY) check bans licenses sources; \
	fi

.PHONY: generated
generated: setup ## Write anew what is generated and committed, after a change of the protocol or a table.
	UPDATE_GENERATED=1 cargo test -p asyncflow-proto
	UPDATE_GENERATED=1 UPDATE_SCHEMA=1 cargo test --workspace --exclude asyncflow-tests \
	    --lib --bins --tests -- document schema
	for script in sdk/*/generate.sh; do $$script; done

.PHONY: fuzz
fuzz: ## Fuzz all that reads what others wrote, a minute each. ARGS="--seconds 600 filter"
	fuzz/run.sh $(ARGS)

.PHONY: bench
bench: setup build ## Measure on this machine; docs/benchmarks.md says what.
	cargo run --release -p asyncflow-benches
	benches/load.sh
	cargo bench -p asyncflow-benches --bench core

.PHONY: bench-peers
bench-peers: setup build ## Measure beside other queues; needs Go, Node and Python. ARGS="--help"
	cargo build --release -p asyncflow-benches
	python3 benches/peers/run.py $(ARGS)

.PHONY: bench-shards
bench-shards: setup build ## Measure at 12 million rows, with rolls and drops. Half an hour, 21 GB of disk.
	cargo run --release -p asyncflow-benches -- shards --plot docs/bench-shards.svg \
	    | tee target/bench-shards.md
