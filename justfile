# List the recipes
default:
    @"{{ just_executable() }}" --list --unsorted

# Run the program as users get it (release build); `just run check` for another command
run *arguments:
    cargo run --release --locked --bin boxoffice -- {{ arguments }}

# Run the server embedded: SQLite in data/, no Redis
dev:
    cargo run --bin boxoffice -- serve

# Run the server over Postgres, Redis and RabbitMQ of its own, with a mail server that prints; all are gone when it stops
dev-full:
    #!/usr/bin/env bash
    set -euo pipefail
    source tests/services.sh
    trap services_stop EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    services_install rabbitmq
    services_start rabbitmq mail
    export DATABASE_URL=$POSTGRES_URL REDIS_URL AMQP_URL=$RABBITMQ_URL SMTP_URL MAIL_FROM=boxoffice@localhost
    # Outside SQLite the program makes no secret up; this one lives as long as the database.
    export JWT_SECRET=${JWT_SECRET:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}
    printf '%s\n' "For a shell in the database: DATABASE_URL=$DATABASE_URL just db" >&2
    cargo run --bin boxoffice -- serve

# Run every test, against Postgres, Redis and RabbitMQ servers of their own
test:
    tests/run

# Run the tests that need no server: embedded, in less than two minutes
test-quick:
    tests/run --quick

# Run the tests with FILTER in their name
test-one FILTER:
    tests/run "{{ FILTER }}"

# Try deploy/: the real nginx before two instances, and what dashboards and alerts ask for
test-deployment:
    tests/deployment

# Try compose.yaml: the whole stack, on this machine's engine or on one of its own
test-compose:
    tests/compose

# Build and replace the instances of the compose stack one by one, so that no request is refused
upgrade:
    deploy/upgrade

# Read the files of deploy/ and the shell scripts with hadolint, promtool, shellcheck and their like
test-files:
    tests/files

# Read the OpenAPI document with Redocly and Spectral
test-document:
    tests/document

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

# Make an admin in the database of DATABASE_URL; it asks for the password, and `create-admin --help` says the rest
create-admin email *arguments:
    cargo run --bin boxoffice -- create-admin --email "{{ email }}" {{ arguments }}

# Verify that seats and registrations agree in the database of DATABASE_URL
check:
    @cargo run --quiet --bin boxoffice -- check

# Print the OpenAPI document
openapi:
    @cargo run --quiet --bin boxoffice -- openapi

# Write config/default.toml and .env.example anew, after a setting was declared or changed
settings:
    UPDATE_EXPECT=1 cargo test --workspace --lib the_documents_are_those_of_the_declarations

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

# Bring faults upon two instances in a random order, for SECONDS (default: SOAK_SECS, or half an hour); fails if memory grows
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
