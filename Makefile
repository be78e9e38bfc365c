# make help lists the targets. Everything works from a fresh Debian machine as root.
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
# Debian's is compiled with profile-guided optimisation, one that comes first in PATH perhaps not: a sixth slower.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
# Every node that a test starts would compile all of the source again.
unexport PYTHONDONTWRITEBYTECODE
SLOW := slow or mariadb or browser or cluster or faults

.PHONY: help setup packages service-packages browser-packages container-packages fmt lint types imports check test test-fast test-slow image-test compat chaos fuzz fuzz-api bench demo tour screenshots reference clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

packages: ## Install what Debian gives: MariaDB server, client and backup tool, Python's venv
	@docker/install-packages

browser-packages:
	@docker/install-packages chromium

container-packages:
	@docker/install-packages docker-compose

service-packages:
	@docker/install-packages systemd

.venv/installed: pyproject.toml requirements.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.txt -e '.[dev]'
	@touch $@

setup: packages .venv/installed ## Install everything that is missing

fmt: .venv/installed ## Format the code
	@$(BIN)/ruff format src tests bench
	@$(BIN)/ruff check --fix --quiet src tests bench

lint: .venv/installed
	@$(BIN)/ruff format --check src tests bench
	@$(BIN)/ruff check src tests bench

types: .venv/installed
	@$(BIN)/mypy

imports: .venv/installed
	@$(BIN)/lint-imports

# Three at a time on two cores, since tests wait much.
test-fast: .venv/installed
	@$(BIN)/pytest -q -n 3 --dist loadfile -m "not ($(SLOW) or image or compat)"

# tests/conftest.py puts them in their order.
test-slow: setup browser-packages container-packages service-packages ## Only the tests that take servers, clusters, disks, a browser or processes
	@$(BIN)/pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m "$(SLOW)" --ignore=tests/compat

check: export WOLFSCALE_HYPOTHESIS ?= brief
check: lint types imports test-fast ## The gate for each commit: format, lint, types, imports, fast tests with fewer examples

test: setup lint types imports test-fast test-slow ## Everything: the gate with all examples, a browser, real MariaDB servers, whole clusters

image-test: setup container-packages ## Build the container image and try the compose file (podman, debootstrap; minutes)
	@docker/install-packages podman buildah runc conmon netavark aardvark-dns iptables nftables debootstrap
	@$(BIN)/pytest -q -m image tests/containers

compat: setup ## Drivers and other people's test suites, through a proxy and from a server itself, 10 minutes alone
	@$(BIN)/pytest -q tests/compat -m "cluster or compat"

chaos: setup ## Random seeds, longer runs
	@WOLFSCALE_HYPOTHESIS=chaos $(BIN)/pytest -q -m "not compat and not image"

# SEED=7 repeats a run; each prints its own.
FUZZ_SEED = $(or $(filter-out random,$(SEED)),$$RANDOM)

fuzz: setup ## Random hostile clients against the proxy (FUZZ_SECONDS=600 SEED=random)
	@WOLFSCALE_CLIENT_FUZZ_SEED=$(FUZZ_SEED) WOLFSCALE_CLIENT_FUZZ_SECONDS=$${FUZZ_SECONDS:-600} \
		$(BIN)/pytest -q -s tests/proxy/test_fuzz_clients.py

fuzz-api: setup ## Random requests against the HTTP API of a whole cluster (FUZZ_SECONDS=600 SEED=random)
	@WOLFSCALE_API_FUZZ_SEED=$(FUZZ_SEED) WOLFSCALE_API_FUZZ_SECONDS=$${FUZZ_SECONDS:-600} \
		$(BIN)/pytest -q tests/cluster/test_cluster_api_access.py -k schemathesis

bench: setup ## Compare with a single MariaDB and with Galera; writes docs/performance.md
	@$(BIN)/python -m bench

demo: setup ## Start three nodes on this machine and show them until Ctrl-C (ARGS="--nodes 5 --keep")
	@$(BIN)/wolfscale demo $(ARGS)

tour: setup ## The demo with a scripted tour: kill the leader while writers run, compare everything
	@$(BIN)/wolfscale demo --tour $(ARGS)

clean: ## Remove what the tools leave behind; the Python environment stays
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

screenshots: setup browser-packages ## Take the dashboard's pictures in docs/images, of a real cluster (five minutes)
	@docker/install-packages fonts-inter
	@$(BIN)/python tests/dashboard/take_screenshots.py

reference: .venv/installed ## Write docs/configuration.md, docs/metrics.md and docs/command-line.md from the code
	@$(BIN)/wolfscale reference command-line > docs/command-line.md.new && mv docs/command-line.md.new docs/command-line.md
	@$(BIN)/wolfscale reference > docs/configuration.md.new && mv docs/configuration.md.new docs/configuration.md
	@$(BIN)/wolfscale reference metrics > docs/metrics.md.new && mv docs/metrics.md.new docs/metrics.md
