# Two commands: `make demo` and `make test`. Both set everything up first, on a machine with Python, pip and make.

PYTHON ?= python3
VENV   ?= .venv
OTHERS ?= .venv-other-programs
# The version that astseg is tested with; another can be named: make demo TORCH=torch==2.12.0
TORCH  ?= torch==2.13.0
RUN    := $(VENV)/bin
# Both environments are set up at once, and lint runs beside the second: pip mostly waits, or uses one core.
MAKEFLAGS += --jobs=2

.PHONY: setup other-programs demo test coverage lint clean

setup: $(VENV)/.installed

# torch goes in first and by version, so that no other package draws another build of it in.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(RUN)/pip install --quiet "$(TORCH)"
	$(RUN)/pip install --quiet --editable . --group dev
	touch $@

# Programs that read what astseg writes, for the tests alone.
other-programs: $(OTHERS)/.installed

$(OTHERS)/.installed: pyproject.toml
	$(PYTHON) -m venv $(OTHERS)
	$(OTHERS)/bin/pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(OTHERS)/bin/pip install --quiet --group other-programs
	$(OTHERS)/bin/pip install --quiet --no-deps "trackeval>=1.3"
	touch $@

demo: setup
	$(RUN)/astseg demo --out demo

# One thread for each of the two workers: more would fight for the same cores.
test: setup other-programs lint
	OMP_NUM_THREADS=1 $(RUN)/pytest -n 2 $(PYTEST_OPTIONS)

# The same, with the lines and branches that no test reaches. Counting them takes a third longer.
coverage: PYTEST_OPTIONS = --cov --cov-report=term-missing:skip-covered
coverage: test

lint: setup
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/mypy

clean:
	rm -rf $(VENV) $(OTHERS) demo
