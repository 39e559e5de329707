#!/usr/bin/env bash
# Makes sure that the tests find what they need: a C compiler (the race
# detector), PostgreSQL, Chromium, Node, and the argon2 and curl commands. Installs what is
# missing with apt-get as root, otherwise says in one line what to install.
# Python's cryptography package is the other implementation of Fernet.
set -euo pipefail

missing=()
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null || [ -n "${FIREMODE_TEST_POSTGRES:-}${FIREMODE_PG_BIN:-}" ] || missing+=(postgresql)
command -v chromium >/dev/null || [ -n "${FIREMODE_CHROMIUM:-}" ] || missing+=(chromium)
command -v argon2 >/dev/null || missing+=(argon2)
command -v node >/dev/null || missing+=(nodejs)
python3 -c 'import cryptography' 2>/dev/null || /usr/bin/python3 -c 'import cryptography' 2>/dev/null || missing+=(python3-cryptography)
command -v curl >/dev/null || missing+=(curl)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "installing for the tests: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "the tests need these packages; install them first: apt-get install ${missing[*]}" >&2
  exit 1
fi
