# shellcheck shell=bash disable=SC2034 # what is set here is for those who source it
# Private Postgres, Redis and RabbitMQ servers on free ports of 127.0.0.1, for the tests and for `just dev-full`.
# To be sourced by bash under `set -euo pipefail`:
#
#   services_install   installs what is missing (apt-get as root or by sudo), or says what to install;
#                      `services_install rabbitmq browser nginx pgbouncer curl sqlite3 c++ promtool systemd openssl debootstrap python npm`
#                      sees to these too
#   npm_install        installs what tests/npm pins into target/npm when it is not there, and sets NPM_MODULES;
#                      `npm_install npm-document` does so with tests/npm-document
#   services_start     starts Postgres and Redis and sets POSTGRES_URL, REDIS_URL and REDIS_SERVER;
#                      `services_start rabbitmq mail` starts RabbitMQ as well and sets RABBITMQ_URL, and a mail server that
#                      prints what it takes, and sets SMTP_URL
#   services_stop      stops them and removes their files; for an EXIT trap
#
# With SERVICES_DURABLE=1, Postgres keeps its files on a disk and flushes every commit, as in production.
#
# Everything these functions say goes to standard error.

POSTGRES_MIN_MAJOR=15
REDIS_MIN_MAJOR=7

SERVICES_DIR=
POSTGRES_PID=
REDIS_PID=
RABBITMQ_PID=
MAIL_PID=
NPM_MODULES=

services_install() {
    local packages=()
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    find_postgres_bin >/dev/null || packages+=(postgresql)
    find_redis_server >/dev/null || packages+=(redis-server)
    [[ " $* " != *' rabbitmq '* ]] || find_rabbitmq_server >/dev/null || packages+=(rabbitmq-server)
    [[ " $* " != *' browser '* ]] || command -v chromedriver >/dev/null || packages+=(chromium chromium-driver)
    [[ " $* " != *' nginx '* ]] || command -v nginx >/dev/null || packages+=(nginx-light)
    [[ " $* " != *' pgbouncer '* ]] || [ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null || packages+=(pgbouncer)
    [[ " $* " != *' c++ '* ]] || command -v c++ >/dev/null || packages+=(g++)
    [[ " $* " != *' curl '* ]] || command -v curl >/dev/null || packages+=(curl)
    [[ " $* " != *' sqlite3 '* ]] || command -v sqlite3 >/dev/null || packages+=(sqlite3)
    [[ " $* " != *' promtool '* ]] || command -v promtool >/dev/null || packages+=(prometheus)
    [[ " $* " != *' systemd '* ]] || command -v systemd-analyze >/dev/null || packages+=(systemd)
    [[ " $* " != *' openssl '* ]] || command -v openssl >/dev/null || packages+=(openssl)
    [[ " $* " != *' debootstrap '* ]] || command -v debootstrap >/dev/null || packages+=(debootstrap)
    [[ " $* " != *' python '* ]] || python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    [[ " $* " != *' npm '* ]] || command -v npm >/dev/null || packages+=(nodejs npm)
    [ ${#packages[@]} -gt 0 ] || return 0

    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
        services_say "Missing here, and not installable without apt-get and root rights: ${packages[*]}"
        services_say "Please install these Debian packages or their like: Postgres $POSTGRES_MIN_MAJOR or newer," \
            "Redis $REDIS_MIN_MAJOR or newer; any C compiler and Chrome will do."
        return 1
    fi
    services_say "Installing ${packages[*]}"
    if ! apt_install "${packages[@]}"; then
        services_say "apt-get could not install ${packages[*]}: see above."
        return 1
    fi

    if ! command -v cc >/dev/null || ! find_postgres_bin >/dev/null || ! find_redis_server >/dev/null; then
        services_say "The packages of this system are too old: Postgres $POSTGRES_MIN_MAJOR or newer" \
            "and Redis $REDIS_MIN_MAJOR or newer are needed."
        return 1
    fi
    if [[ " $* " = *' browser '* ]] && ! command -v chromedriver >/dev/null; then
        services_say "The packages of this system brought no chromedriver: please put Chromium's or Chrome's on the PATH."
        return 1
    fi
}

npm_install() {
    local pins=tests/${1:-npm} folder
    folder=$(realpath -m "${CARGO_TARGET_DIR:-target}/${1:-npm}")
    NPM_MODULES="$folder/node_modules"
    # The lock file is copied last, so an installation that was cut short is done again.
    ! cmp -s "$pins/package-lock.json" "$folder/installed.json" || return 0
    services_say "Installing the npm packages of $pins"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$pins/package.json" "$pins/package-lock.json" "$folder/"
    npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >&2
    cp "$pins/package-lock.json" "$folder/installed.json"
}

services_start() {
    SERVICES_DIR=$(mktemp -d "$(scratch)/boxoffice.XXXXXX")
    # Postgres runs under an account of its own, which has to reach its folder in here.
    chmod 711 "$SERVICES_DIR"
    start_postgres
    start_redis
    [[ " $* " != *' rabbitmq '* ]] || start_rabbitmq
    [[ " $* " != *' mail '* ]] || start_mail
}

services_stop() {
    local pid
    # SIGINT is Postgres's fast shutdown: it ends sessions instead of waiting for them.
    for pid in $POSTGRES_PID $REDIS_PID; do kill -INT "$pid" 2>/dev/null || true; done
    for pid in $RABBITMQ_PID $MAIL_PID; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in $POSTGRES_PID $REDIS_PID $RABBITMQ_PID $MAIL_PID; do
        wait "$pid" 2>/dev/null || true
    done
    POSTGRES_PID=
    REDIS_PID=
    RABBITMQ_PID=
    MAIL_PID=
    [ -z "$SERVICES_DIR" ] || rm -rf "$SERVICES_DIR"
    SERVICES_DIR=
}

services_say() {
    printf '%s\n' "$*" >&2
}

# The folder of the newest server programs; they are off the PATH on Debian.
find_postgres_bin() {
    local bin major
    for bin in "$(dirname "$(command -v postgres || echo /nowhere/postgres)")" \
        $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV) /usr/pgsql-*/bin; do
        if [ -x "$bin/postgres" ] && [ -x "$bin/initdb" ]; then
            major=$("$bin/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
            if [ "$major" -ge "$POSTGRES_MIN_MAJOR" ]; then
                echo "$bin"
                return 0
            fi
        fi
    done
    return 1
}

find_redis_server() {
    local server major
    server=$(command -v redis-server) || return 1
    major=$("$server" --version | sed -E 's/.* v=([0-9]+).*/\1/')
    [ "$major" -ge "$REDIS_MIN_MAJOR" ] && echo "$server"
}

# What the package's script for administrators runs; it runs for anybody.
find_rabbitmq_server() {
    local server
    for server in /usr/lib/rabbitmq/bin/rabbitmq-server $(command -v rabbitmq-server); do
        if [ -x "$server" ]; then
            echo "$server"
            return 0
        fi
    done
    return 1
}

# Debian's packages start a server of their own when they are installed; nobody asked for those.
apt_install() {
    local policy=/usr/sbin/policy-rc.d
    local no_cluster=/etc/postgresql-common/createcluster.d/boxoffice-tests.conf
    local added=("$no_cluster") unwanted=()
    # Started with the machine, Erlang's registry of nodes would listen on every address.
    [[ " $* " != *' rabbitmq-server '* ]] || unwanted+=(rabbitmq-server.service)
    [ ${#unwanted[@]} = 0 ] || command -v epmd >/dev/null || unwanted+=(epmd.service epmd.socket)
    "${as_root[@]}" mkdir -p "$(dirname "$no_cluster")"
    echo 'create_main_cluster = false' | "${as_root[@]}" tee "$no_cluster" >/dev/null
    if [ ! -e "$policy" ]; then
        added+=("$policy")
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod 755 "$policy"
    fi
    local status=0
    {
        "${as_root[@]}" apt-get update -qq &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    } </dev/null >&2 || status=$?
    if [ ${#unwanted[@]} -gt 0 ] && command -v systemctl >/dev/null; then
        "${as_root[@]}" systemctl --quiet disable "${unwanted[@]}" >&2 || true
    fi
    "${as_root[@]}" rm -f "${added[@]}"
    return "$status"
}

start_postgres() {
    local bin data="$SERVICES_DIR/postgres" log="$SERVICES_DIR/postgres.log" port as=()
    bin=$(find_postgres_bin)
    local password
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    mkdir "$data"
    (umask 077 && printf '%s\n' "$password" >"$SERVICES_DIR/password")
    if [ "$(id -u)" = 0 ]; then
        # Postgres refuses to run as root.
        local account=postgres
        id -u "$account" >/dev/null 2>&1 || account=nobody
        as=(setpriv --reuid="$account" --regid="$(id -g "$account")" --init-groups)
        chown "$account" "$data" "$SERVICES_DIR/password"
    fi
    # A linguistic collation and an odd time zone, as a server somewhere may have them: a query that
    # leans on the server's defaults sorts differently here.
    (cd "$data" && "${as[@]}" "$bin/initdb" --pgdata="$data" --username=postgres --encoding=UTF8 --no-sync \
        --pwfile="$SERVICES_DIR/password" --auth=password \
        --locale=C --locale-provider=icu --icu-locale=en-US) >"$log" 2>&1 || { cat "$log" >&2; return 1; }
    rm "$SERVICES_DIR/password"

    # Databases of tests live for minutes and need not survive a power cut. Everything else a commit
    # does is as in production.
    local fsync=off
    [ -z "${SERVICES_DURABLE:-}" ] || fsync=on
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        port=$(free_port)
        # Local sockets are off: the URL is the only door.
        (cd "$data" && exec "${as[@]}" "$bin/postgres" -D "$data" -h 127.0.0.1 -p "$port" \
            -c unix_socket_directories= -c max_connections=300 -c "fsync=$fsync" \
            -c timezone=America/St_Johns -c log_min_messages=warning) >>"$log" 2>&1 </dev/null &
        POSTGRES_PID=$!
        POSTGRES_URL="postgres://postgres:$password@127.0.0.1:$port/postgres"
        # The first line with this word is written when the server takes connections.
        if answers "$POSTGRES_PID" postgres_ready "$data"; then return 0; fi
        POSTGRES_PID=
    done
    cat "$log" >&2
    services_say 'Postgres does not start.'
    return 1
}

start_redis() {
    local log="$SERVICES_DIR/redis.log" port
    REDIS_SERVER=$(find_redis_server)
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        port=$(free_port)
        "$REDIS_SERVER" --bind 127.0.0.1 --port "$port" --save '' --appendonly no --dir "$SERVICES_DIR" \
            --daemonize no >>"$log" 2>&1 </dev/null &
        REDIS_PID=$!
        REDIS_URL="redis://127.0.0.1:$port"
        if answers "$REDIS_PID" redis_ready "$port"; then return 0; fi
        REDIS_PID=
    done
    cat "$log" >&2
    services_say 'Redis does not start.'
    return 1
}

# The broker stays a child of tests/rabbitmq, which ends it when this shell ends, however that comes.
start_rabbitmq() {
    local line
    mkdir "$SERVICES_DIR/rabbitmq"
    coproc BROKER { exec tests/rabbitmq "$SERVICES_DIR/rabbitmq"; }
    RABBITMQ_PID=${BROKER_PID:-}
    if ! read -r -u "${BROKER[0]}" line; then
        services_say 'RabbitMQ does not start.'
        return 1
    fi
    RABBITMQ_URL=${line% *}
}

start_mail() {
    local port
    for _ in 1 2 3 4 5; do
        port=$(free_port)
        tests/mail-sink "$port" </dev/null &
        MAIL_PID=$!
        SMTP_URL="smtp://127.0.0.1:$port"
        if answers "$MAIL_PID" listens "$port"; then return 0; fi
        MAIL_PID=
    done
    services_say 'The mail server does not start.'
    return 1
}

# A folder in memory if there is one of some size: every test copies a database, which is ten times
# as quick there as on a disk.
scratch() {
    local free_kib
    if [ -n "${SERVICES_DURABLE:-}" ]; then
        echo "${TMPDIR:-/tmp}"
        return
    fi
    free_kib=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
    if [ -w /dev/shm ] && [ "${free_kib:-0}" -ge $((2 * 1024 * 1024)) ]; then
        echo /dev/shm
    else
        echo "${TMPDIR:-/tmp}"
    fi
}

# Asks until the server answers; fails when its process ends (its port was taken) or after 30 s.
answers() {
    local pid=$1
    shift
    local until=$((SECONDS + 30))
    while ! "$@"; do
        kill -0 "$pid" 2>/dev/null || return 1
        if [ "$SECONDS" -ge "$until" ]; then
            kill -KILL "$pid" 2>/dev/null || true
            return 1
        fi
        sleep 0.02
    done
}

# Line 8 of postmaster.pid is the server's state.
postgres_ready() {
    [ "$(sed -n '8s/ *$//p' "$1/postmaster.pid" 2>/dev/null)" = ready ]
}

listens() {
    { exec 9<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    exec 9>&-
}

redis_ready() {
    local reply
    { exec 9<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf 'PING\r\n' >&9
    IFS= read -r -t 1 reply <&9 || reply=
    exec 9>&-
    [ "${reply%$'\r'}" = +PONG ]
}

# A port nobody listens on, below those the system hands out to outgoing connections. Somebody may
# still be quicker, so whoever uses it tries again with another.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (exec 9<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}
