# The verbs. INVENTORY says who: inventories/local.py, inventories/lab.py, your own; LIMIT, if given,
# only this group or host. make's exit status is 2 whatever fails: a script calls ollama-stack.
.DEFAULT_GOAL := help
SHELL := /bin/bash
INVENTORY ?= $(or $(shell cat .inventory 2>/dev/null),inventories/local.py)
RUN := .venv/bin
HOSTS_OF = $(INVENTORY) $(LIMIT:%=--limit %)
AS_JSON = $(if $(filter-out 0,$(JSON)),--json)
LAB_INVENTORY := inventories/lab.py
export BEGUN := $(shell date +%s)
# Whether the lab is up: the tests leave it as they found it.
export LAB_FOUND := $(shell docker ps --quiet --filter name=^ollama-lab-mirror-front-1$$ 2>/dev/null)
# pytest imports no plugin that is not named: the others take longer than most tests, and an audit than its look.
export PYTEST_DISABLE_PLUGIN_AUTOLOAD := 1
# The tests end with make, even if it is killed, and take back what they changed.
LAB_TESTS = setpriv --pdeathsig INT $(RUN)/pytest -p xdist tests/lab --numprocesses 2 --dist loadscope

.PHONY: help packages lab lab-down lab-hosts vm lab-able rollback status check test test-all test-kinds offline claims every lint unit process units door coverage plan deploy audit load audit-times capacity load-gateway load-change load-app pages pictures deploy-times no-change faults docs attacks reloads calm sizing sizing-check dashboard bench-compare

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

lab: lab-able .venv/ok ## the whole product for real on this machine, from a mirror it makes
	@trap 'exit 130' INT; begun=$$SECONDS; \
	$(RUN)/pyinfra -y $(LAB_INVENTORY) lab/deploy.py && \
	$(RUN)/pyinfra -y $(LAB_INVENTORY) deploy.py && \
	echo "The lab is up after $$((SECONDS - begun)) s; make lab-down removes it."

lab-down: lab-able .venv/ok ## remove what the lab made, and nothing else
	@$(RUN)/pyinfra -y $(LAB_INVENTORY) lab/down.py && \
	echo "The lab is gone. What stays: Debian packages (docker.io, mmdebstrap, gcc), /usr/local/lib/docker" \
	"and $${XDG_CACHE_HOME:-$$HOME/.cache}/ollama-stack."

lab-hosts: lab ## Debian servers of the lab's own for inventories/lab_ssh.py; HOSTS=3
	@$(RUN)/pyinfra -y $(LAB_INVENTORY) lab/hosts.py

vm: lab ## a fresh Debian with a kernel of its own, emulated, for inventories/lab_vm.py: ten times slower
	@$(RUN)/pyinfra -y $(LAB_INVENTORY) lab/vm.py

lab-able:
	@test "$$(id -u)" = 0 -a "$$(uname -m)" = x86_64 && command -v apt-get >/dev/null || { \
	echo "the lab needs root on a Debian-like x86-64 machine; make check runs the offline part"; exit 1; }

check: packages ## lint and unit tests, in half a minute
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint unit

# The lab waits more than it computes: what needs no lab runs beside it and gives way.
test: lab-able packages ## lint, unit tests and every claim once in the lab: 8 to 10 minutes on two cores
	@setpriv --pdeathsig TERM $(MAKE) --no-print-directory --jobs 2 --output-sync=target offline claims

offline:
	@MAKEFLAGS= nice -n 10 $(MAKE) --no-print-directory --jobs 2 --output-sync=target lint units
	@nice -n 10 $(MAKE) --no-print-directory door

claims:
	@$(LAB_TESTS) -m "not slow and not kind"

test-all: lab-able packages ## and each control broken alone, the whole list of faults
	@setpriv --pdeathsig TERM $(MAKE) --no-print-directory --jobs 2 --output-sync=target offline every

every:
	@$(LAB_TESTS) -m "not kind"

test-kinds: lab-able .venv/dev ## every kind of host: a cluster, an emulated machine, a server without a way out
	@$(LAB_TESTS) -m kind

# Private copies of HAProxy, nginx, Caddy and the app on loopback: they need no lab. One worker more than there are
# processors, since these tests wait more than they compute.
door: .venv/dev .venv/load
	@$(RUN)/pytest -p xdist --numprocesses $$(($$(nproc) + 1)) tests/door tests/door_app

lint: .venv/dev ## ruff, mypy, import-linter, shellcheck, zizmor and schemas of workflows and forms
	@$(RUN)/ruff format --check --quiet . && $(RUN)/ruff check --quiet . && $(RUN)/mypy --no-error-summary
	@output=$$($(RUN)/lint-imports) || { echo "$$output"; exit 1; }
	@$(RUN)/shellcheck --external-sources --source-path ollama_stack/host --shell sh \
	ollama_stack/operations/*.sh ollama_stack/host/*
	@output=$$($(RUN)/zizmor --offline --no-progress --quiet .github docs/ci/github.yml) || { echo "$$output"; exit 1; }
	@$(RUN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml docs/ci/github.yml
	@$(RUN)/check-jsonschema --quiet --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci docs/ci/gitlab.yml
	@$(RUN)/check-jsonschema --quiet --builtin-schema vendor.renovate renovate.json
	@$(RUN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/{fault,wish}.yml

UNIT = $(RUN)/pytest -p xdist --numprocesses auto --dist worksteal tests/unit

unit: .venv/dev .venv/load
	@$(UNIT) -m "not process"

# Those that start pyinfra, the host's programs or ssh, or wait as people do.
process: .venv/dev .venv/load
	@$(UNIT) -m process

# Both in one start: to import and collect them takes each worker five seconds.
units: .venv/dev .venv/load
	@$(UNIT)

coverage: .venv/dev .venv/load ## branches that no unit test takes; a figure to look at, not to reach
	@$(RUN)/coverage erase && $(RUN)/coverage run -m pytest --quiet -p xdist \
	--numprocesses auto --dist worksteal tests/unit && $(RUN)/coverage combine --quiet && $(RUN)/coverage report

plan: .venv/ok ## does it fit, what would change? Changes nothing; JSON=1 for machines
	@$(RUN)/ollama-stack plan $(HOSTS_OF) $(AS_JSON)

deploy: .venv/ok ## make it so; ROLLING=N hosts at a time, and stop at the first that fails
	@$(RUN)/ollama-stack deploy $(HOSTS_OF) $(AS_JSON) $(patsubst %,--rolling %,$(filter-out 0,$(ROLLING)))

rollback: .venv/ok ## run the release before the current one again, or TO=number
	@$(RUN)/ollama-stack rollback $(HOSTS_OF) $(AS_JSON) $(TO:%=--to %)

status: .venv/ok ## how every host is, and which release it runs
	@$(RUN)/ollama-stack status $(HOSTS_OF) $(AS_JSON)

audit: .venv/ok ## is it so? Reads the live hosts, changes nothing; DEEP=1 REPORT=folder SINCE=report.json
	@$(RUN)/ollama-stack audit $(HOSTS_OF) $(if $(filter-out 0,$(DEEP)),--deep) $(REPORT:%=--report %) \
	$(SINCE:%=--since %)

load: .venv/load ## students as load on the hosts of INVENTORY: STUDENTS=15 MINUTES=3
	@$(RUN)/ollama-stack load $(HOSTS_OF) $(STUDENTS:%=--students %) $(MINUTES:%=--minutes %) $(AS_JSON)

sizing: .venv/ok ## how many students each host of INVENTORY carries
	@$(RUN)/ollama-stack sizing $(HOSTS_OF) $(AS_JSON)

sizing-check: lab .venv/load ## what sizing reckons beside what two classes meet, 30 minutes; table in docs/benchmarks.md
	@$(RUN)/python -m bench.sizing

bench-compare: lab ## ours beside a stock Ollama and the rules of thumb, 15 minutes; tables and plot in docs/benchmarks.md
	@$(RUN)/python -m bench.compare

audit-times: lab ## how long an audit takes over SSH, and whether it cries wolf; table in docs/benchmarks.md
	@$(RUN)/python -m bench.audit_times

capacity: lab ## the memory sum beside what a runner allocates; table in docs/benchmarks.md
	@$(RUN)/python -m bench.memory

load-gateway: lab ## Ollama through the gateway and alone, under load; tables in docs/benchmarks.md
	@$(RUN)/python -m bench.gateway_load

load-change: lab ## what clients see of a change; table in docs/benchmarks.md
	@$(RUN)/python -m bench.change_impact

load-app: lab ## 30 students at once on the companion app; table in docs/benchmarks.md
	@$(RUN)/python -m bench.app_load

pictures: lab-able .venv/dev ## make lab as a picture that moves, plan, status and the audit's page, in docs/pictures
	@$(RUN)/python -m bench.pictures

# No lab.
dashboard: .venv/dev ## Grafana's dashboard over a made lesson, as Grafana's components draw it, in docs/pictures
	@$(RUN)/python -m bench.dashboard

pages: lab ## the app's pages in a real browser: weight, axe-core, screenshots; table in docs/benchmarks.md
	@$(RUN)/python -m bench.browser_pages

deploy-times: lab ## how long deploys over SSH take; tables in docs/benchmarks.md
	@$(RUN)/python -m bench.deploy_times

no-change: lab ## a run without a change beside a tuned Ansible playbook; table in docs/benchmarks.md
	@$(RUN)/python -m bench.no_change

faults: lab ## every fault of lab/faults.py on servers of the lab's own; table in docs/benchmarks.md
	@$(RUN)/python -m lab.faults

# On private copies, as in `make door`: no lab.
attacks: .venv/dev ## each attack the door has met, before and now, while others ask; table in docs/door.md
	@$(RUN)/python -m bench

reloads: .venv/dev ## 300 reloads of the gateway under traffic, HAProxy 3.0 and 3.2; table in docs/door.md
	@$(RUN)/python -m bench.reloads

calm: .venv/dev ## what the gateway costs when nobody waits; table in docs/door.md
	@$(RUN)/python -m bench.calm

# Those above that need the lab, and packages beside.
sizing-check bench-compare audit-times capacity load-gateway load-change load-app pages deploy-times no-change faults vm: .venv/dev

docs: .venv/dev ## write the generated pages of docs/ anew
	@$(RUN)/ollama-stack docs && $(RUN)/python -m lab.variants

# Every package pinned by hash; which index serves it is pip's own affair. Ours comes from this folder.
# pip comes first, since an older one takes two thirds longer for the rest.
PIP_INSTALL := $(RUN)/pip install --quiet --disable-pip-version-check
.venv/ok: requirements.txt requirements-pip.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	echo "python3 is not there, or older than 3.10: install a newer one, or use a machine that has it"; exit 1; }
	@python3 -c 'import ensurepip' 2>/dev/null || { \
	test "$$(id -u)" = 0 || { echo "python3 lacks venv: sudo apt-get install python3-venv, then again"; exit 1; }; \
	apt-get update --quiet && apt-get install --yes --quiet python3-venv; }
	@python3 -m venv --clear .venv
	@$(PIP_INSTALL) --require-hashes --requirement requirements-pip.txt
	@$(PIP_INSTALL) --require-hashes --requirement $<
	@$(PIP_INSTALL) --no-index --no-deps --no-build-isolation --editable .
	@touch $@

packages: .venv/ok
	@$(MAKE) --no-print-directory --jobs 2 .venv/dev .venv/load

# Locust, of which the verb load alone has need: an environment of its own, as its gevent and pytest are its own.
.venv/load: requirements-load.txt .venv/ok
	@python3 -m venv --clear --without-pip $(@D)/locust
	@$(RUN)/pip --python $(@D)/locust/bin/python install --quiet --disable-pip-version-check \
	--no-compile --no-deps --require-hashes --requirement $<
	@touch $@

# What the lab, the tests and the benchmarks need besides. The list is whole, so pip resolves nothing; most of it is
# never imported, so pip compiles nothing.
.venv/dev: requirements-dev.txt .venv/ok
	@$(PIP_INSTALL) --no-compile --no-deps --require-hashes --requirement $<
	@touch $@
