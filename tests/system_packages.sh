#!/bin/sh
# Brings the programs that tests and benchmarks compare with: nginx, h2load, a headless browser.
# Tests that miss one are skipped, and the skip says what to install.
set -u
missing=""
command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ] || missing="$missing nginx-light"
command -v h2load >/dev/null 2>&1 || missing="$missing nghttp2-client"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v haproxy >/dev/null 2>&1 || [ -x /usr/sbin/haproxy ] || missing="$missing haproxy"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing \
        >/dev/null || echo "could not install:$missing (their tests will be skipped)"
else
    echo "not installed:$missing; their tests will be skipped (Debian: apt-get install$missing)"
fi
exit 0
