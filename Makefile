# Every target works from a fresh clone: tools/setup makes the environment ready first, once.
#
#   make sweep ARGS="--trials 4 --json verdict.json"     arguments for the experiment; for pytest in `make test`
#   make setup EXTRAS=dev,cluster TORCH="torch==2.13.0"  see tools/setup for what else it takes
#
# The environment is the active one (conda's base does not count: it is everybody's), or .venv.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup sweep lint test test-slow test-npu chaos

CONDA_ENVIRONMENT := $(if $(filter-out base,$(CONDA_DEFAULT_ENV)),$(CONDA_PREFIX))
ENVIRONMENT ?= $(or $(VIRTUAL_ENV),$(CONDA_ENVIRONMENT),.venv)
export PATH := $(abspath $(ENVIRONMENT))/bin:$(PATH)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## the environment: torch, mmcv with its operators, everything else
	@tools/setup "$(ENVIRONMENT)"

sweep: setup ## the FP16 question for FCOS on the embedded data, with its verdict: about ten minutes on 2 cores
	python experiments/fcos_fp16_sweep.py $(ARGS)

lint: setup ## ruff, mypy, shellcheck
	@ruff check .
	@ruff format --check .
	@mypy
	@shellcheck -x tools/setup tools/setup-npu-sim .ci/run tests/npu_sim/set_env.sh

# A file's tests stay in one process: they share what its fixtures trained. ARGS=-n0 for a single process and a debugger.
SHARED_OUT := -n 2 --dist loadfile

test: lint ## lint, then all tests that take seconds
	python -m pytest $(SHARED_OUT) -m "not slow" $(ARGS)

test-slow: setup ## the tests that take minutes
	python -m pytest -m slow $(ARGS)

chaos: setup ## kills and other faults over small sweeps until KILLS have hit: does anything change?
	python benchmarks/chaos.py --kills $(or $(KILLS),100) --out benchmarks/results/chaos.md

# Beside the simulation's own tests, those of which a part needs an NPU.
test-npu: setup ## on a simulated NPU: the real torch_npu over a CANN built here (tests/npu_sim)
	@tools/setup-npu-sim "$(ENVIRONMENT)" .venv-npu
	@source .venv-npu/cann/set_env.sh && \
	    .venv-npu/bin/python -m pytest $(SHARED_OUT) tests/npu_sim tests/devices tests/training/test_hccl_processes.py $(ARGS)
