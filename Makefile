# vtepd: `make help` lists the targets. Debian packages a target needs are installed by name when they are missing and this is root.
export PATH := $(PATH):/usr/local/go/bin
GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
FUZZTIME ?= 30s
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSCONF ?= /etc
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  = -s -w -X vtepd/ctl.Version=$(VERSION)
# $(call need,PROGRAM:PACKAGE ...): installs what is missing, or as another user than root names it
need = @missing=; for p in $(1); do command -v $${p%%:*} >/dev/null || missing="$$missing $${p\#\#*:}"; done; \
	if [ -z "$$missing" ]; then :; elif [ "$$(id -u)" != 0 ]; then echo "missing, install with apt-get:$$missing"; \
	else echo "installing with apt-get:$$missing"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
.PHONY: help build test demo bench lint generate fuzz install uninstall clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 12

build: ## bin/vtepd and bin/vtepctl
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

test: ## all tests with the race detector; those that need root say so when this is not root
	$(call need,gcc:gcc gcc:libc6-dev ip:iproute2 iperf3:iperf3 ping:iputils-ping ethtool:ethtool sysctl:procps)
	@$(GO) run ./bench/cmd/tests $(TESTS)

demo: build ## two hosts, a vtepd on each, traffic between them, and the kernel's figures beside (root, half a minute)
	@$(GO) run ./bench/cmd/demo -vtepd bin/vtepd -vtepctl bin/vtepctl

bench: build ## measure beside the kernel and Open vSwitch, rewrite docs/benchmarks.md (root, 47 minutes; BENCH='-only fastpath' prints a part)
	$(GO) run ./bench/cmd/bench -vtepd bin/vtepd -version $(VERSION) -docs docs $(BENCH)

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); [ -z "$$unformatted" ] || { echo "gofmt these:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

generate: ## everything that is generated and committed; the eBPF objects when their sources changed, see dataplane/xdp/regenerate
	$(call need,clang:clang llvm-strip:llvm)
	$(GO) generate ./...

# A binary for each package, where go test would link one for each target.
fuzz: ## every fuzz target for FUZZTIME each, a time or a count (5000x)
	@out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; cache=$$($(GO) env GOCACHE)/fuzz; \
	for package in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do \
		$(GO) test -c -fuzz . -o "$$out/fuzz.test" $$package || exit 1; \
		path=$$($(GO) list $$package); \
		for target in $$("$$out/fuzz.test" -test.list '^Fuzz'); do \
			echo "== $$path $$target"; \
			(cd $$package && "$$out/fuzz.test" -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) -test.fuzzcachedir "$$cache/$$path") || exit 1; \
		done; \
	done

install: build ## binaries, unit, example configuration and completions under DESTDIR and PREFIX
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/bin bin/vtepd bin/vtepctl
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSCONF)/vtepd
	sed 's|@bindir@|$(PREFIX)/bin|; s|@sysconfdir@|$(SYSCONF)|' cmd/vtepd/vtepd.service > $(DESTDIR)$(UNITDIR)/vtepd.service
	install -m 644 cmd/vtepd/vtepd.yaml $(DESTDIR)$(SYSCONF)/vtepd/vtepd.yaml.example
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	bin/vtepctl completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/vtepctl
	bin/vtepctl completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_vtepctl
	bin/vtepctl completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/vtepctl.fish

uninstall: ## what install put there; a configuration of your own stays
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/vtepd bin/vtepctl share/bash-completion/completions/vtepctl share/zsh/site-functions/_vtepctl \
		share/fish/vendor_completions.d/vtepctl.fish) $(DESTDIR)$(UNITDIR)/vtepd.service $(DESTDIR)$(SYSCONF)/vtepd/vtepd.yaml.example

clean: ## remove bin
	rm -rf bin
