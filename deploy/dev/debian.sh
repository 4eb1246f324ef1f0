#!/bin/sh
# Installs the Debian packages that the tests run as real parts: those that are missing, as root.
# Leadpact itself needs none of them. Where systemd runs, Debian starts Prometheus and Alertmanager as services, which
# the tests do not use: systemctl disable --now prometheus prometheus-alertmanager
set -eu

missing=""
need() { # command, package
    command -v "$1" >/dev/null || missing="$missing $2"
}

need make make
need java default-jre-headless
need mvn maven
need prometheus prometheus
need prometheus-alertmanager prometheus-alertmanager
need chromium chromium
python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"

if [ -z "$missing" ]; then
    exit 0
fi
echo "installing$missing"
for try in 1 2 3; do
    # shellcheck disable=SC2086  # one word a package
    if apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; then
        exit 0
    fi
    echo "try $try failed" >&2
done
exit 1
