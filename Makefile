# `make help` lists what can be made. Everything that needs llama.cpp is built in one profile with one set of features,
# so that it is compiled once.

CARGO ?= cargo
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Looked up when a recipe runs: the first recipe may install it.
ccache = $(shell command -v ccache 2>/dev/null)
export CMAKE_C_COMPILER_LAUNCHER = $(ccache)
export CMAKE_CXX_COMPILER_LAUNCHER = $(ccache)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 22

.PHONY: demo
demo: build ## install what is missing, build, and judge three responses under a principle and its opposite
	@scripts/demo.sh

.PHONY: build
build: ## build the release binary, target/release/dicast
	@scripts/install_deps.sh
	$(CARGO) build --release

# The rust-version of Cargo.toml.
oldest = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

# Where cargo builds; the stand-in for TensorRT-LLM goes there too.
target = $(or $(CARGO_TARGET_DIR),target)
standin = $(abspath $(target))/trtllm-standin
with_standin = DICAST_TRTLLM_ROOT=$(standin)/root DICAST_TRTLLM_RPATH=1
# The other minor releases that the adapter is made for; the stand-in plays 1.2.1 otherwise.
other_releases = 1.0.0 1.1.0

.PHONY: check
check: fixtures ## the quick checks: format, lints, and the tests that need no engine
	$(CARGO) fmt --check
	@scripts/clang_format.sh
	$(CARGO) clippy --no-default-features --features remote,otel,testing --all-targets -- -D warnings
	$(CARGO) test --no-default-features --features remote,otel,testing

# `make test` builds twice: optimized with the default features, which is what ships, and unoptimized with all features, where overflows and
# debug assertions are seen; smaller sets of features are linted. These programs of tests/ need a model, or the libraries that ship, and run optimized; all others run unoptimized.
optimized := acceptance bad_models capi cli drafts isolation local memory mutants odd_models prefixes real_model warming wide_scales
without_llama := remote,server,otel,trtllm,testing
everything := $(without_llama),local,cli
with := --no-default-features --features

# Built once: what makes the next build faster would only fill the disk.
test: export CARGO_INCREMENTAL := 0

# The tests of the Python package come last: some measure how soon Ctrl-C ends a call.
.PHONY: test
test: fixtures trtllm-standin ## all checks: format, lints, dependencies, docs, and every test
	@scripts/side_by_side.py unoptimized="$(MAKE) --no-print-directory test-unoptimized" optimized="$(MAKE) --no-print-directory test-optimized"
	scripts/python.sh test

.PHONY: test-unoptimized
test-unoptimized: fixtures trtllm-standin
	$(CARGO) fmt --check
	@scripts/clang_format.sh
	@scripts/check_deps.sh
	@scripts/public_api.sh
	@cmake --build $(standin)/build >/dev/null
	ctest --test-dir $(standin)/build --output-on-failure
	$(with_standin) $(CARGO) test $(with) $(without_llama),shuttle --lib judge::model
	@$(with_standin) scripts/trtllm_releases.sh $(standin) $(without_llama) $(other_releases)
	tests=$$(scripts/tests_but.sh $(optimized)) && $(with_standin) $(CARGO) test $(with) $(everything) --lib --bins $$tests
	$(with_standin) $(CARGO) test $(with) $(everything) --doc
	@$(with_standin) scripts/check_trtllm_dependent.sh

.PHONY: test-optimized
test-optimized: fixtures trtllm-standin
	$(with_standin) $(CARGO) clippy --release $(with) $(everything),parquet --all-targets -- -D warnings
	$(with_standin) $(CARGO) clippy --release $(with) trtllm,cli,otel,parquet --all-targets -- -D warnings
	$(CARGO) clippy --release $(with) otel,testing --all-targets -- -D warnings
	$(CARGO) clippy --release --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --no-deps
	$(CARGO) test --release --examples $(optimized:%=--test %)
	scripts/check_install.sh
	scripts/check_capi_sanitizers.sh address header valgrind

.PHONY: test-page
test-page: build ## test the pages of the server in headless Chromium; screenshots in target/page/shots
	@tests/page/run.sh

.PHONY: test-deploy
test-deploy: ## try deploy/ with real systemd, nginx, Prometheus and buildah, and trainers' own clients (CHECKS="nginx image": some; CARGO_FLAGS="--features otel": traces too)
	@scripts/install_deps.sh
	$(CARGO) build --release $(CARGO_FLAGS)
	@python3 tests/deploy/check.py $(CHECKS)

.PHONY: test-servers
test-servers: ## test the remote engine over real servers, vLLM and llama-server, which it installs (SERVERS=llama-server: one)
	@scripts/install_deps.sh
	@scripts/test_servers.sh $(SERVERS)

.PHONY: bench-servers
bench-servers: ## measure judgments a second over real servers beside the reference's server, and the cost on this side
	@scripts/test_servers.sh --bench
	$(CARGO) bench --bench remote

.PHONY: bench-server
bench-server: ## measure what the HTTP server costs and withstands, over the scripted engine on loopback
	$(CARGO) bench --no-default-features --features server,testing --bench server

.PHONY: python
python: ## build the Python wheel, target/python/dist (PYTHON names the interpreter)
	@scripts/install_deps.sh --python
	@scripts/python.sh wheel

.PHONY: python-test
python-test: ## test the Python package
	@scripts/install_deps.sh --python
	@scripts/python.sh test

.PHONY: test-trainers
test-trainers: ## test the hooks in TRL, veRL and OpenRLHF, which it installs (3 GB to download; ten minutes, five once installed), and in checkouts of slime (DICAST_SLIME) and NeMo RL (DICAST_NEMO_RL)
	@scripts/install_deps.sh --python
	@scripts/test_trainers.sh $(TESTS)

.PHONY: install
install: ## install the C library and the program: headers, libraries, pkg-config and CMake files (PREFIX, DESTDIR, LIBDIR, CARGO_FLAGS)
	@scripts/install_deps.sh
	@PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" DESTDIR="$(DESTDIR)" CARGO_FLAGS="$(CARGO_FLAGS)" scripts/install_capi.sh

.PHONY: sanitize-capi
sanitize-capi: ## run the C programs under all sanitizers (ThreadSanitizer needs nightly Rust and builds everything again)
	@scripts/install_deps.sh --tests
	scripts/check_capi_sanitizers.sh address header valgrind thread

.PHONY: model-check
model-check: ## run the judge's queue, tickets and threads in thousands of orders (DICAST_MODEL_RUNS)
	$(CARGO) test --no-default-features --features shuttle --lib judge::model

.PHONY: header
header: ## generate include/dicast.h from src/capi/
	DICAST_BLESS=1 $(CARGO) test --no-default-features --test header

.PHONY: trtllm-standin
trtllm-standin: ## build the stand-in for TensorRT-LLM that the tests use
	@scripts/install_deps.sh
	@cmake -S tests/trtllm_standin -B $(standin)/build $(if $(SANITIZE),-DSANITIZE=$(SANITIZE)) >/dev/null
	@cmake --build $(standin)/build --target tensorrt_llm nvinfer_plugin_tensorrt_llm >/dev/null
	@cmake --install $(standin)/build --prefix $(standin)/root >/dev/null

.PHONY: trtllm-releases
trtllm-releases: trtllm-standin ## test the TensorRT-LLM engine against the stand-in as each supported release
	@scripts/trtllm_releases.sh $(standin) trtllm $(other_releases)

.PHONY: sanitize-trtllm
sanitize-trtllm: ## run the TensorRT-LLM engine's tests under AddressSanitizer and ThreadSanitizer (nightly Rust)
	@scripts/sanitize.sh trtllm address
	@scripts/sanitize.sh trtllm thread

.PHONY: sanitize-local
sanitize-local: ## open and judge with damaged models under AddressSanitizer, llama.cpp included (nightly Rust; DICAST_MUTANTS=300)
	@scripts/sanitize.sh local address

.PHONY: bench-trtllm
bench-trtllm: trtllm-standin ## measure what the bridge to TensorRT-LLM costs on the host
	$(with_standin) $(CARGO) bench --no-default-features --features trtllm --bench trtllm

.PHONY: fixtures
fixtures:
	@scripts/install_deps.sh --tests
	@scripts/test_fixtures.sh

.PHONY: bench
bench: ## measure speed and memory on a random model of Qwen3-0.6B's shape
	@scripts/install_deps.sh --tests
	@scripts/test_fixtures.sh --bench
	$(CARGO) bench --bench judge

.PHONY: demo-model
demo-model: ## train the demonstration judge again, from scratch (80 minutes on two cores)
	@scripts/install_deps.sh --python
	demo/build.sh

.PHONY: oldest-rust
oldest-rust: ## check that the oldest Rust named in Cargo.toml compiles library and program (rustup fetches it)
	@scripts/install_deps.sh
	rustup run --install $(oldest) cargo check --locked

.PHONY: clean
clean: ## remove everything that was built
	$(CARGO) clean
