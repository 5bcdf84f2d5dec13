# make demo     set up, then inpaint a song that ships with pomkit; everything lands in out/
# make lab      set up, then open JupyterLab on the quickstart
# make test     set up with the developers' tools, then every check; pytest's summary is the last line
# make setup    only create .venv (the targets above do it too, once)
# make notebooks  run the notebooks that have changed, publish their outputs, write their table of timings
# make student    write the students' copies of the notebooks, without solutions, into notebooks/student
# make gallery    run every notebook in a browser; pictures of all outputs land in out/gallery
# make oracles    install the programs that tests/test_oracles.py asks how they read our files; without them it skips
# make clean    remove out/, builds and caches; `make distclean` removes .venv as well
#
# Variables of the demo, as in `make demo MIDI=own.mid MASK=bars:8-12` (empty: the program's default):
#   MIDI    your MIDI file                 MASK   melody, accompaniment, continuation, bars:8-12, box:...
#   OUT     folder for what it makes       MODEL  a checkpoint, by name or path
#   SEED    a number, for the same music   ARGS   further options (see `python -m pomkit --help`)
# Variables of the set-up, also from the environment:
#   PYTHON       the Python that makes .venv, 3.10 or newer (python3)
#   TORCH_INDEX  where torch comes from. Empty is the usual index, which on Linux holds the CUDA build (gigabytes);
#                without an NVIDIA GPU take TORCH_INDEX=https://download.pytorch.org/whl/cpu
#   FLUIDSYNTH   no: leave the system alone, and let a plainer synthesiser play

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
FLUIDSYNTH ?= yes
MIDI =
MASK =
OUT = out
MODEL =
SEED =
ARGS =

BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	$(if $(strip $(TORCH_INDEX)),--extra-index-url $(TORCH_INDEX))

# $(call system_install,PACKAGE,BREW'S NAME): true if the system's package manager installed it without a password.
APT_GET = env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=60 -o Acquire::Retries=1
define system_install
( [ "$$(id -u)" = 0 ] && root= || root="sudo -n"; \
  apt_install="$$root $(APT_GET) install -y --no-install-recommends $(1)"; \
  if command -v apt-get; then $$apt_install || { $$root $(APT_GET) update; $$apt_install; }; \
  elif command -v dnf; then $$root dnf install -y -q $(1); \
  elif command -v pacman; then $$root pacman -S --noconfirm --needed $(1); \
  elif command -v brew; then brew install -q $(2); \
  else false; fi ) >/dev/null 2>&1 </dev/null
endef

.PHONY: help setup demo lab test notebooks student gallery oracles clean distclean
help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

setup: $(VENV)/.ready

demo: setup
	@$(BIN)/python -m pomkit $(if $(strip $(MIDI)),"$(strip $(MIDI))") $(if $(strip $(MASK)),--mask "$(strip $(MASK))") \
		--out "$(strip $(OUT))" $(if $(strip $(MODEL)),--model "$(strip $(MODEL))") \
		$(if $(strip $(SEED)),--seed $(SEED)) $(ARGS)

lab: setup
	$(BIN)/python -m jupyter lab notebooks/00_quickstart.ipynb $(if $(filter 0,$(shell id -u)),--allow-root)

AT_ONCE = -n 2 --dist loadfile --no-loadscope-reorder
test: $(VENV)/.ready-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check --quiet .
	$(BIN)/python -m mypy
	@# lax: a notebook must run without an error; only cells marked NBVAL_CHECK_OUTPUT are held to their output,
	@# since times, figures and generated notes differ from machine to machine.
	@# Two processes of one thread each; a file, so a notebook, stays in one. The longest stand first: notebooks.
	POMKIT_FAST=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest notebooks tests --nbval-lax --nbval-current-env $(AT_ONCE)

notebooks: $(VENV)/.ready-dev
	$(BIN)/python notebooks/course.py refresh

student: $(VENV)/.ready-dev
	$(BIN)/python notebooks/course.py student

gallery: $(VENV)/.ready-dev
	$(BIN)/python -m tests.browser.gallery $(OUT)/gallery

# Debian's and Ubuntu's names; elsewhere the tests find whatever else brings programs of these names. music21 reads
# files, too, and with verovio it is what the tests of sheet music need.
ORACLES = abcmidi timidity musescore3
oracles: $(VENV)/.ready-dev
	@[ "$$(id -u)" = 0 ] && root= || root="sudo -n"; $$root $(APT_GET) update && \
		$$root $(APT_GET) install -y --no-install-recommends $(ORACLES)
	@$(PIP_INSTALL) -e '.[dev,score]'

clean:
	rm -rf out notebooks/out notebooks/student build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find pomkit tests notebooks assets \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not there: install Python 3.10 or newer, or name it:" \
		"make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$(PYTHON) is older than 3.10;" \
		"name a newer one: make PYTHON=python3.12"; exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) >/dev/null || { rm -rf $(VENV); $(call system_install,python3-venv,python); \
		$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing: install it" \
		"(Debian, Ubuntu: sudo apt-get install python3-venv), then run make again"; exit 1; }; }

# The stamps are newer than what they were made from, so a second make has nothing to do.
$(VENV)/.ready: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing pomkit and what it needs into $(VENV): a few minutes, once"
	@$(PIP_INSTALL) -e '.[lab,k-diffusion]'
	@$(PIP_INSTALL) --no-deps k-diffusion
	@if $(BIN)/python -c 'import fluidsynth' >/dev/null 2>&1; then echo "sound: FluidSynth is there"; \
	elif [ "$(strip $(FLUIDSYNTH))" = yes ] && { echo "installing FluidSynth with the system's package manager"; \
		$(call system_install,fluidsynth,fluid-synth); } && $(BIN)/python -c 'import fluidsynth' >/dev/null 2>&1; then \
		echo "sound: FluidSynth is installed"; \
	else echo "sound: FluidSynth is missing, so a plainer synthesiser plays; for real pianos install it:"; \
		echo "  sudo apt-get install fluidsynth   |   brew install fluid-synth   |   conda install fluidsynth"; fi
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "installing the developers' tools"
	@$(PIP_INSTALL) -e '.[dev]'
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || $(call system_install,chromium,chromium) || \
		echo "no Chromium: the tests in a browser are skipped"
	@touch $@
