# make demo   build, then watch traffic go through a tunnel (needs git, make, Go)
# make test   unit and lab tests; as root on Debian/Ubuntu it installs what they need
# make help   the rest

GO      ?= go
BIN     := bin
# 1.2.3 at the tag v1.2.3, 1.2.3-4-g0123456789 four commits later, 0.0.0-… without a tag: what installer/version reads. As long in every clone.
VERSION := $(patsubst v%,%,$(shell git describe --tags --match 'v[0-9]*' --abbrev=10 --dirty 2>/dev/null || \
  { c=$$(git rev-list --count HEAD 2>/dev/null) && echo "0.0.0-$$c-g$$(git describe --always --abbrev=10 --dirty --exclude '*')"; } || echo dev))
# When this state was committed: the only time that is in a package.
EPOCH   := $(shell git log -1 --format=%ct 2>/dev/null || date +%s)
LDFLAGS := -s -w -X main.version=$(VERSION)
BINARIES := adit aditd adit-endpoint adit-pkcs11 aws-vpn-client
SYSTEMS := linux/amd64 linux/arm64 windows/amd64 windows/arm64 darwin/amd64 darwin/arm64
# Executions per target, or a time such as 10m. The quick check counts: a fuzzer
# that its clock stops in the middle of a run may report that as a failure.
FUZZTIME ?= 5000x
# What the tests use beside Go: the reference peer, tools that look at the
# kernel's state, and a C compiler for the race detector.
PACKAGES := openvpn libglib2.0-bin easy-rsa openssl iproute2 iputils-ping nftables iperf3 curl dbus-daemon dnsmasq-base procps gcc libc6-dev squid dante-server winbind chromium gnome-keyring softhsm2 opensc \
            samba samba-ad-provision samba-dsdb-modules samba-vfs-modules freeradius awscli
# An identity provider, under PHP's own web server (its package wants Apache, too), and a second opinion on its signatures.
PACKAGES += simplesamlphp apache2 php-cli php-xml php-mbstring php-curl php-sqlite3 xmlsec1
# A site-to-site tunnel, and what people use through one.
PACKAGES += charon-systemd libcharon-extra-plugins libstrongswan-standard-plugins traceroute tcpdump dropbear-bin openssh-client
# A machine that systemd starts, in which units and packages are tried.
PACKAGES += mmdebstrap debian-archive-keyring
# The desktop app: to build it, and a display on which it runs.
PACKAGES += pkg-config libgl1-mesa-dev libgles2-mesa-dev xorg-dev libgl1-mesa-dri xvfb openbox xdotool binutils-mingw-w64-x86-64
# Packages of Linux, what orders their versions, and signatures of releases.
PACKAGES += rpm minisign dpkg-dev
# Packages of Windows, and wine, under which they are installed.
PACKAGES += msitools gcab nsis osslsigncode wine wine64
# The role for Ansible.
PACKAGES += ansible-core python3-apt
# What checks the packages of Linux: manual pages, the app's entries, Debian's policy; the other processor.
PACKAGES += lintian mandoc desktop-file-utils appstream shared-mime-info qemu-user-static
# Packages of macOS: what reads them beside our own code.
PACKAGES += python3 cpio p7zip-full libarchive-tools
# Programs that keep resolv.conf, with libraries that may be missing: downloaded for the lab, which unpacks them, and never
# installed. They would take over this machine's names, and exclude each other.
MANAGERS := systemd-resolved network-manager network-manager-openvpn resolvconf openresolv libnm0 libndp0 libsystemd-shared libip4tc2 libcurl3-gnutls libpsl5
TESTCACHE := $${XDG_CACHE_HOME:-$$HOME/.cache}/adit-tests

.PHONY: help build gui gui-windows dist package package-linux package-windows package-darwin notice release finish reproduce demo test unit race lab shots kills lab-full check fmt vet vet-gui-darwin cross fuzz bench clean packages

help:
	@echo 'make build     bin/adit with bin/adit-userspace, bin/aditd, bin/adit-endpoint, bin/adit-pkcs11, bin/aws-vpn-client (no cgo)'
	@echo 'make gui       bin/adit-gui, the desktop app (cgo; a minute); make gui-windows bin/adit-gui.exe (a quarter of an hour at first);'
	@echo '               make gui-linux-arm64 dist/bin/linux-arm64/adit-gui'
	@echo 'make dist      dist/bin/: the programs without cgo for all six systems, as they are released (SYSTEMS=linux/amd64 for one)'
	@echo 'make package   dist/packages/: every package (after make dist)'
	@echo 'make mdm       dist/mdm/: templates for group policies, Intune, macOS, Jamf, Ansible (POLICY=FILE: with that policy)'
	@echo 'make release   dist/: programs, packages, bill of materials, signed manifest, checksums (docs/install/release.md); make reproduce makes it twice and compares'
	@echo 'make notice    NOTICE: the licences of everything that the programs link; after a change of go.mod'
	@echo 'make demo      a tunnel end to end: without root in user space, as root also with kernel devices'
	@echo 'make test      unit tests, race detector, lab (as root; installs packages)'
	@echo 'make check     formatting, vet, all systems build, every fuzz target for $(FUZZTIME)'
	@echo 'make lab       the lab alone; make lab-full runs every cell of the matrix'
	@echo 'make shots     the pictures of the desktop app in docs/img'
	@echo 'make bench     side by side with openvpn and wireguard-go; writes docs/performance.md (root, a quiet machine, half an hour)'
	@echo 'make clean     remove bin/, dist/ and test caches of this tree'

# On Linux the tunnels of adit connect --userspace are in a program of their own, adit-userspace: their IP stack would cost
# each start of adit a millisecond. It is adit as plain go build makes it, and does everything alone.
build:
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/ $(addprefix ./cmd/,$(BINARIES))
	@if [ "$$($(GO) env GOOS)" = linux ]; then set -x; mv $(BIN)/adit $(BIN)/adit-userspace && \
	  CGO_ENABLED=0 $(GO) build -tags nouserspace -ldflags '$(LDFLAGS)' -o $(BIN)/adit ./cmd/adit; fi

# The only cgo of the tree. OpenGL ES, as the other kind takes seven minutes to compile and looks the same.
# migrated_fynedo leaves out that the toolkit asks at each refresh which goroutine it is on (the tests do), and no_emoji its
# font of emoji, which it would read three times at the start: they come from the system's, if it has one.
# Debian: gcc pkg-config libgl1-mesa-dev libgles2-mesa-dev xorg-dev libxkbcommon-dev
GUI_TAGS := gui,migrated_fynedo,no_emoji
ifneq ($(shell uname),Darwin) # which has no GL ES
GLES := ,gles
endif
gui:
	@mkdir -p $(BIN)
	CGO_ENABLED=1 $(GO) build -tags $(GUI_TAGS)$(GLES) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/adit-gui

# Not GL ES: Windows has none by itself. Debian: gcc-mingw-w64-x86-64
gui-windows:
	@mkdir -p $(BIN)
	CGO_ENABLED=1 GOOS=windows GOARCH=amd64 CC=x86_64-w64-mingw32-gcc $(GO) build -tags $(GUI_TAGS) -ldflags '$(LDFLAGS) -H windowsgui' -o $(BIN)/ ./cmd/adit-gui
	$(GO) run ./installer/windows/resources -version '$(VERSION)' $(BIN)/adit-gui.exe

# The desktop app for the other processor of Linux, in dist/bin, against the libraries of Debian 12. They are unpacked into a
# folder, not installed: some of both processors exclude each other. Debian: gcc-aarch64-linux-gnu (or gcc-x86-64-linux-gnu) mmdebstrap
CROSS_amd64 := x86_64-linux-gnu
CROSS_arm64 := aarch64-linux-gnu
GUI_LIBRARIES := libc6-dev,libgl-dev,libgles-dev,libx11-dev,libxcursor-dev,libxi-dev,libxinerama-dev,libxkbcommon-dev,libxrandr-dev,libxxf86vm-dev
gui-linux-%: export SOURCE_DATE_EPOCH := $(EPOCH)
gui-linux-%:
	@tree=$(CURDIR)/$(BIN)/libraries-$* && rm -rf $$tree && mkdir -p $(BIN) $(DIST)/bin/linux-$* && trap "rm -rf $$tree" EXIT && \
	  echo 'build $(DIST)/bin/linux-$*/adit-gui' && \
	  mmdebstrap --quiet --arch=$* --variant=extract --include=$(GUI_LIBRARIES) bookworm $$tree && \
	  CGO_ENABLED=1 GOOS=linux GOARCH=$* CC="$(CROSS_$*)-gcc --sysroot=$$tree" PKG_CONFIG_SYSROOT_DIR=$$tree \
	  PKG_CONFIG_LIBDIR=$$tree/usr/lib/$(CROSS_$*)/pkgconfig:$$tree/usr/share/pkgconfig \
	  $(GO) build -tags $(GUI_TAGS),gles $(DISTFLAGS) -o $(DIST)/bin/linux-$*/ ./cmd/adit-gui

demo: build
	$(GO) run ./lab/demo -bin $(BIN)

# --- releases

# The programs of every system without cgo, in dist/bin/<system>-<processor>/. The same commit and the same Go make the same bytes,
# whatever directory they are made in. On Linux as in build.
DIST      := dist
# RELEASE_KEY is minisign's public key of who signs releases (RW…), which adit version --check then trusts.
RELEASE_KEY ?=
DISTFLAGS := -trimpath -buildvcs=false -ldflags '$(LDFLAGS) $(if $(RELEASE_KEY),-X main.releaseKey=$(RELEASE_KEY) )-buildid='
dist package release finish: export SOURCE_DATE_EPOCH := $(EPOCH)
dist:
	@mkdir -p $(DIST) && cp NOTICE $(DIST)/
	@for s in $(SYSTEMS); do export CGO_ENABLED=0 GOOS=$${s%/*} GOARCH=$${s#*/}; out=$(DIST)/bin/$$GOOS-$$GOARCH; \
	  echo "build $$out"; mkdir -p $$out; \
	  $(GO) build $(DISTFLAGS) -o $$out/ $(addprefix ./cmd/,$(BINARIES)) || exit 1; \
	  [ $$GOOS != linux ] || { mv $$out/adit $$out/adit-userspace && $(GO) build -tags nouserspace $(DISTFLAGS) -o $$out/adit ./cmd/adit; } || exit 1; \
	  [ $$GOOS != windows ] || GOOS= GOARCH= $(GO) run ./installer/windows/resources -version '$(VERSION)' $(patsubst %,$$out/%.exe,$(BINARIES)) || exit 1; done

# Every package, in dist/packages/. Each kind adds itself with a line "package: package-KIND", and gets SOURCE_DATE_EPOCH.
package: dist

# deb, rpm and tarballs. The desktop app is in there for this machine's processor where a C compiler is, and for the other one where
# "make gui-linux-PROCESSOR" has its tools.
package: package-linux
package-linux: export SOURCE_DATE_EPOCH := $(EPOCH)
package-linux: dist
	@for p in $(patsubst linux/%,%,$(filter linux/%,$(SYSTEMS))); do \
	  if [ "$$(uname -s)" = Linux ] && [ $$p = "$$($(GO) env GOHOSTARCH)" ] && command -v gcc >/dev/null; then \
	    echo "build $(DIST)/bin/linux-$$p/adit-gui"; \
	    CGO_ENABLED=1 GOOS=linux GOARCH=$$p $(GO) build -tags $(GUI_TAGS),gles $(DISTFLAGS) -o $(DIST)/bin/linux-$$p/ ./cmd/adit-gui || exit 1; \
	  elif case $$p in arm64) c=$(CROSS_arm64);; *) c=$(CROSS_amd64);; esac; command -v $$c-gcc >/dev/null && command -v mmdebstrap >/dev/null; then \
	    $(MAKE) gui-linux-$$p || exit 1; \
	  else echo "package-linux: without the desktop app for $$p (Debian: gcc-$$(echo $$c | tr _ -) mmdebstrap)"; fi; done
	$(GO) run ./installer/linux/build -version '$(VERSION)' -bin $(DIST)/bin -out $(DIST)/packages \
	  -arch "$$(echo $(patsubst linux/%,%,$(filter linux/%,$(SYSTEMS))) | tr ' ' ,)"

# With the desktop app where "make gui-windows" has made it, which takes a quarter of an hour and is not done here. WINTUN is
# wintun-0.14.1.zip from wintun.net, SIGN a program that signs the file which it is given (docs/install/windows.md).
package: package-windows
package-windows: export SOURCE_DATE_EPOCH := $(EPOCH)
package-windows: dist
	@[ -e $(BIN)/adit-gui.exe ] || echo 'package-windows: without the desktop app (make gui-windows first)'
	$(GO) run ./installer/windows/build -version '$(VERSION)' -bin $(DIST)/bin $(patsubst %,-gui %,$(wildcard $(BIN)/adit-gui.exe)) \
	  $(patsubst %,-text %,LICENSE NOTICE) $(if $(WINTUN),-wintun '$(WINTUN)') $(if $(SIGN),-sign '$(SIGN)') -out $(DIST)/packages

# Templates for management tools, with an example of a policy; POLICY=FILE puts that one in its place. A package like the others.
.PHONY: mdm
package: mdm
mdm:
	$(GO) run ./installer/mdm/build -out $(DIST)/mdm $(if $(POLICY),-policy '$(POLICY)')

# Packages of macOS, which every system can make. The app is among them where make gui has been run on a Mac; what has been done to
# it and to the programs since (codesign) stays: docs/install/macos.md.
APP := $(DIST)/Adit.app
package: package-darwin
package-darwin: export SOURCE_DATE_EPOCH := $(EPOCH)
package-darwin: dist
	@pages=$$(mktemp -d) && trap "rm -rf $$pages" EXIT && for p in adit adit-endpoint; do \
	  CGO_ENABLED=0 $(GO) run -tags manual ./cmd/$$p $$pages '$(VERSION)' $(EPOCH) || exit 1; done && set -x && \
	$(GO) run ./installer/darwin/build pkg -version '$(VERSION)' -bin $(DIST)/bin -pages $$pages $$([ ! -d $(APP) ] || echo -app $(APP)) -o $(DIST)/packages LICENSE NOTICE
$(APP)/Contents/MacOS/adit-gui: $(BIN)/adit-gui
	$(GO) run ./installer/darwin/build app -version '$(VERSION)' -o $(APP) $(BIN)/adit-gui
ifeq ($(shell uname),Darwin)
package-darwin: $(if $(wildcard $(BIN)/adit-gui),$(APP)/Contents/MacOS/adit-gui)
endif

# NOTICE: the licences of everything that the programs link. After a change of go.mod.
notice:
	$(GO) run ./installer/release/build notice

# All of a release, from a clean tree (docs/install/release.md): programs, packages, bill of materials, manifest, checksums. KEY is the file with the
# secret half of RELEASE_KEY; MINIMUM a version below which people must not stay; DAYS how long the manifest proves something.
DAYS ?= 400
release:
	@case '$(VERSION)' in *-dirty|dev) echo 'commit first: a release is made of a commit' >&2; exit 1;; esac
	rm -rf $(DIST)
	$(MAKE) package
	$(MAKE) finish

# What accompanies the packages that are there, again: after somebody has signed some of them.
finish:
	$(GO) run ./installer/release/build finish -version '$(VERSION)' -days $(DAYS) $(if $(MINIMUM),-minimum '$(MINIMUM)') $(DIST)
	@$(if $(KEY),$(GO) run ./installer/release/build sign -key '$(KEY)' -expect '$(RELEASE_KEY)' $(DIST),rm -f $(DIST)/manifest.json.minisig; echo 'not signed: KEY=FILE RELEASE_KEY=RW… signs')

# The release again, twice, in two directories and with nothing from a cache, and compared byte by byte. An hour; WHAT=dist SYSTEMS=linux/amd64 less.
WHAT ?= release
reproduce:
	@tmp=$$(mktemp -d) && trap "rm -rf $$tmp" EXIT && for d in one other/place; do git clone -q . $$tmp/$$d && \
	  GOCACHE=$$tmp/cache-$${d%/*} $(MAKE) -C $$tmp/$$d $(WHAT) || exit 1; done && \
	  $(GO) run ./installer/release/build compare $$tmp/one/dist $$tmp/other/place/dist

# --- tests

test: packages unit race lab

unit:
	@[ "$$(id -u)" = 0 ] || echo 'left out: tests of kernel devices, routes, firewall and other users (need root)'
	@for t in /usr/share/easy-rsa/easyrsa openssl curl dbus-daemon gio samba freeradius php xmlsec1 chromium; do command -v $$t >/dev/null || echo "left out: tests that use $$t (not installed)"; done
	$(GO) test $$($(GO) list ./... | grep -v -e /lab$$ -e /bench$$)

# endpoint/ec2/sdktest is AWS's SDK, which takes minutes to compile, around what endpoint/ec2 and endpoint/model test with -race;
# installer/linux/build starts other programs, one after the other. The detector would have each program wait a second at its end.
race:
	@if command -v gcc >/dev/null; then \
	  echo 'CGO_ENABLED=1 go test -race (all but lab, bench, endpoint/ec2/sdktest and installer/linux/build)'; \
	  CGO_ENABLED=1 GORACE=atexit_sleep_ms=100 $(GO) test -race $$($(GO) list ./... | grep -v -e /lab$$ -e /bench$$ -e /sdktest$$ -e /linux/build$$); \
	elif [ "$$CI" = true ]; then echo 'gcc is missing: the race detector cannot run' >&2; exit 1; \
	else echo 'left out: race detector (needs gcc)'; fi

lab: packages
	@if [ "$$(id -u)" = 0 ]; then $(GO) test -count=1 -timeout 40m ./lab; \
	elif [ "$$CI" = true ]; then echo 'the lab needs root' >&2; exit 1; \
	else echo 'left out: lab (network namespaces and the real openvpn need root)'; fi

# The pictures of the desktop app in docs/img, taken while the tests walk through it.
shots: packages
	mkdir -p docs/img
	ADIT_LAB_SHOTS=$(CURDIR)/docs/img $(GO) test -count=1 -run 'TestDesktop' ./lab

# 200 kills, instead of 20 and 8, of the processes that keep what the EC2 API has made.
kills:
	ADIT_KILLS=200 $(GO) test -count=1 -run 'TestKill$$' -v ./endpoint/model ./cmd/adit-endpoint

lab-full: packages
	ADIT_LAB=full $(GO) test -count=1 -timeout 80m -v ./lab

# As root on Debian and Ubuntu; elsewhere the tests say what they miss. Services that come with a
# package do not stay: the tests start their own.
packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  missing=$$(for p in $(PACKAGES); do [ "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || echo $$p; done); \
	  if [ -n "$$missing" ]; then echo "installing" $$missing; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    apt-get update -q && apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=600 $$missing; \
	    if [ -d /run/systemd/system ]; then for p in $$missing; do case $$p in \
	      squid|winbind|apache2|freeradius) systemctl disable -q --now $$p;; samba) systemctl disable -q --now smbd nmbd samba-ad-dc;; dante-server) systemctl disable -q --now danted;; charon-systemd) systemctl disable -q --now strongswan;; esac; done; fi; fi; \
	  mkdir -p "$(TESTCACHE)/debs" && cd "$(TESTCACHE)/debs" && \
	  for p in $(MANAGERS); do ls $${p}_*.deb >/dev/null 2>&1 || fetch="$$fetch $$p"; done; \
	  if [ -n "$$fetch" ]; then echo "downloading$$fetch"; apt-cache show systemd-resolved >/dev/null 2>&1 || apt-get update -q; \
	    for p in $$fetch; do apt-get download -q -o APT::Sandbox::User=root $$p || echo "$$p cannot be downloaded: the lab says what it misses"; done; fi; \
	fi

# --- checks

check: fmt vet cross fuzz

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:" $$out; exit 1; fi

# The tag ci is the toolkit's software driver, which needs neither cgo nor X. It cannot be compiled for macOS
# without cgo, so that the widgets are not vetted there.
vet:
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) vet -tags manual ./cmd/adit ./cmd/adit-endpoint
	CGO_ENABLED=0 $(GO) vet -tags nouserspace ./cmd/adit
	CGO_ENABLED=0 $(GO) vet -tags gui,ci ./cmd/adit-gui
	CGO_ENABLED=0 GOOS=windows $(GO) vet -tags gui,ci ./...
	CGO_ENABLED=0 GOOS=darwin $(GO) vet $$(CGO_ENABLED=0 GOOS=darwin $(GO) list ./... | grep -v -e /gui$$ -e /gui/tray$$)

# What vet leaves out, by hand: the widgets for macOS, over copies of their toolkit to which functions without a body are added in place
# of its Objective-C. A few minutes the first time.
vet-gui-darwin:
	@copy="$(TESTCACHE)/darwin-gui"; rm -rf "$$copy"; mkdir -p "$$copy" && cp go.mod go.sum "$$copy"/ && \
	for m in fyne.io/fyne/v2 fyne.io/systray; do to="$$copy/$$(basename "$${m%/v2}")"; \
	  cp -R "$$($(GO) list -m -f '{{.Dir}}' $$m)" "$$to" && chmod -R u+w "$$to" && $(GO) mod edit -replace "$$m=$$to" "$$copy/go.mod" || exit 1; done && \
	cp gui/testdata/darwin/theme.go.txt "$$copy/fyne/internal/app/theme_nocgo.go" && cp gui/testdata/darwin/scroller.go.txt "$$copy/fyne/internal/widget/scroller_nocgo.go" && \
	cp gui/testdata/darwin/systray.go.txt "$$copy/systray/nocgo.go" && set -x && \
	CGO_ENABLED=0 GOOS=darwin $(GO) vet -modfile "$$copy/go.mod" -tags gui,ci ./gui/... ./cmd/adit-gui

cross:
	@tmp=$$(mktemp -d) && trap "rm -rf $$tmp" EXIT && for s in $(SYSTEMS); do \
	  echo "build $$s"; \
	  CGO_ENABLED=0 GOOS=$${s%/*} GOARCH=$${s#*/} $(GO) build -o $$tmp/ $(addprefix ./cmd/,$(BINARIES)) || exit 1; \
	  case $$s in linux/*) CGO_ENABLED=0 GOOS=linux GOARCH=$${s#*/} $(GO) build -tags nouserspace -o $$tmp/ ./cmd/adit || exit 1;; esac; done

# Every Fuzz function of the tree, found by name so that none is forgotten.
fuzz:
	@git ls-files "*_test.go" | xargs grep -HoE '^func Fuzz[A-Za-z0-9]+' | while IFS=: read -r file func; do \
	  name=$${func#func }; echo "fuzz $$(dirname $$file) $$name"; \
	  out=$$($(GO) test -run='^$$' -fuzz="^$$name\$$" -fuzztime=$(FUZZTIME) ./$$(dirname $$file) 2>&1) || { \
	    echo "$$out"; case "$$out" in *"Failing input"*|*panic:*) exit 1;; *"    context deadline exceeded"*) echo '  stopped by the clock, nothing found';; *) exit 1;; esac; }; done

# What every figure means is in bench/sidebyside/page.go, and in the page. BENCH has more flags.
# It wants openvpn and iperf3; without valgrind and linux-perf two parts are left out.
bench: build
	$(GO) run ./bench/sidebyside -bin $(BIN) -write docs $(BENCH)

clean:
	rm -rf $(BIN) $(DIST) adit-endpoint-data $(TESTCACHE)
