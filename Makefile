# Two commands for a newcomer, as root on Debian 12: `make demo` and `make test`. Each installs what is missing, builds what is
# out of date, and runs. The rest is for those who work on onlink.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test test-kernels fuzz check lint typecheck build bench clean

BPF_FLAGS := -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -target bpf -mcpu=v3
TS_SOURCES := $(shell find src -name '*.ts' -not -name '*.test.ts' 2>/dev/null)

help:
	@echo 'make demo       show the problem and its end, with two guests in network namespaces (root), else simulated'
	@echo 'make test       run all tests (root)'
	@echo 'make test-kernels  the way from end to end on Linux 6.1, in a virtual machine (root)'
	@echo 'make build      compile the datapath and the agent into dist/'
	@echo 'make lint       biome; make typecheck: the TypeScript compiler, tests included'
	@echo 'make fuzz       hold datapath and model together until told to stop (root); SEED=N repeats a failure'
	@echo 'make bench      measure next to peers and write docs/benchmarks.md (root); ONLY=arp for a part'
	@echo 'make clean      remove what was built'

# The real demo needs the datapath; where it cannot be built, and where there is no root or no Linux, the demo is simulated and says so.
demo: dist/bundle/main.js
	@if [ "$$(uname)" = Linux ] && [ "$$(id -u)" = 0 ]; then \
	  $(MAKE) --no-print-directory dist/onlink.bpf.o || echo 'The datapath could not be built (above, why).'; \
	fi
	@bin/onlink demo

test: build .cache/system-test .cache/vm/ready
	@scripts/check-root.sh
	@npx --no-install vitest run --project unit --project kernel --project e2e $(VITEST)

test-kernels: build .cache/system-test .cache/vm/ready
	@scripts/check-root.sh
	@npx --no-install vitest run --project kernels

fuzz: build .cache/system-test
	@scripts/check-root.sh
	@$(if $(SEED),SEED=$(SEED)) $(if $(SECONDS),SECONDS=$(SECONDS)) npx --no-install vitest run --project fuzz --disable-console-intercept

bench: build .cache/system-test .cache/system-bench
	@scripts/check-root.sh
	@npx --no-install vitest run $(ONLY:%=bench/%.bench.ts) --project bench --disable-console-intercept

build: dist/onlink.bpf.o dist/bundle/main.js

dist/onlink.bpf.o: $(wildcard bpf/*.h) bpf/onlink.bpf.c | .cache/system-build
	@mkdir -p dist
	@clang $(BPF_FLAGS) -idirafter /usr/include/$$(clang -print-multiarch) -c bpf/onlink.bpf.c -o $@

dist/cli/main.js: $(TS_SOURCES) tsconfig.json tsconfig.build.json node_modules/.package-lock.json
	@npx --no-install tsc -p tsconfig.build.json
	@touch $@

# What bin/onlink runs: the command line with the packages that it imports, in a few files. From the hundreds that they are, Node.js takes
# twice as long to load it, and 10 MB more.
dist/bundle/main.js: dist/cli/main.js
	@npx --no-install rolldown $< --dir dist/bundle --cleanDir --platform node --external koffi --logLevel warn >/dev/null
	@touch $@

lint: node_modules/.package-lock.json
	@npx --no-install biome check --error-on-warnings .

typecheck: node_modules/.package-lock.json
	@npx --no-install tsc --noEmit

# The mark of npm's own that says what is installed.
node_modules/.package-lock.json: package.json package-lock.json
	@scripts/install-npm.sh
	@touch $@

# Debian packages: looked at once for each version of the list, installed where missing.
.cache/system-%: scripts/install-system.sh
	@scripts/install-system.sh $*
	@mkdir -p .cache && touch $@

# Debian's kernel for the virtual machine of the tests.
.cache/vm/ready: scripts/fetch-vm-kernel.sh | .cache/system-test
	@scripts/fetch-vm-kernel.sh
	@mkdir -p .cache/vm && touch $@

clean:
	@rm -rf dist .cache
