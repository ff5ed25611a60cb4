# List the recipes
default:
    @"{{ just_executable() }}" --list --unsorted

# Run the program as users get it (release build); `just run check` for another command
run *arguments:
    cargo run --release --locked --bin boxoffice -- {{ arguments }}

# Run the server embedded: SQLite in data/, no Redis
dev:
    cargo run --bin boxoffice -- serve

# Run the server over Postgres and Redis of its own, which are gone when it stops
dev-full:
    #!/usr/bin/env bash
    set -euo pipefail
    source tests/services.sh
    trap services_stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    services_install
    services_start
    export DATABASE_URL=$POSTGRES_URL REDIS_URL
    # Outside SQLite the program makes no secret up; this one lives as long as the database.
    export JWT_SECRET=${JWT_SECRET:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}
    printf '%s\n' "For a shell in the database: DATABASE_URL=$DATABASE_URL just db" >&2
    cargo run --bin boxoffice -- serve

# Run every test, against Postgres and Redis servers of their own
test:
    tests/run

# Run the tests with FILTER in their name
test-one FILTER:
    tests/run "{{ FILTER }}"

# Try deploy/: the real nginx before two instances, and what dashboards and alerts ask for
test-deployment:
    tests/deployment

# Read the files of deploy/ and the shell scripts with hadolint, promtool, shellcheck and their like
test-files:
    tests/files

# Find what clippy and rustfmt would have otherwise
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Format the code
fmt:
    cargo fmt --all

# Bring the database of DATABASE_URL up to date; `just migrate status`, `just migrate down`
migrate direction="up":
    cargo run --bin boxoffice -- migrate {{ direction }}

# Put demo users and events into the database of DATABASE_URL; safe to repeat
seed:
    cargo run --bin boxoffice -- seed

# Print the OpenAPI document
openapi:
    @cargo run --quiet --bin boxoffice -- openapi

# Open a shell in the database of DATABASE_URL
db:
    #!/usr/bin/env bash
    set -euo pipefail
    # As the program has it: the environment, then `.env`, then the embedded database.
    url=${DATABASE_URL:-$([ ! -f .env ] || { . ./.env && echo "${DATABASE_URL:-}"; })}
    url=${url:-sqlite://data/boxoffice.db}
    case $url in
        postgres://* | postgresql://*) exec psql "$url" ;;
        sqlite:*)
            path=${url#sqlite:}
            path=${path#//}
            exec sqlite3 "${path%%\?*}"
            ;;
        *)
            echo "DATABASE_URL is neither sqlite: nor postgres:" >&2
            exit 1
            ;;
    esac

# Bring faults upon the program in a random order, for SECONDS (default: SOAK_SECS, or half an hour)
soak seconds=env("SOAK_SECS", "1800"):
    SOAK_SECS={{ seconds }} tests/run faults_in_any_order -- --nocapture

# Measure the release build: bookings, reads, memory, and ratios to Postgres itself
bench:
    bench/run

# Measure how answers keep their speed from ten thousand to a million events
bench-growth:
    bench/growth

# Feed the parsers with what a fuzzer makes up, for SECONDS each
fuzz seconds="15":
    tests/fuzz {{ seconds }}

# Look whether what the program is built of has known weaknesses, and licences that fit
audit:
    tests/dependencies advisories

# Do exactly what CI does
ci:
    .ci/run
