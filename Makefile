# Two commands: `make up` gives a cluster, `make test` runs the tests. `make down` takes the cluster away.
.PHONY: up down test build

CORACLE = target/release/coracle

build:
	@scripts/install build
	@cargo build --release --quiet --package coracle

up:
	@scripts/install run
	@echo "Building the release binary (minutes the first time)"
	@cargo build --release --quiet --package coracle
	@$(CORACLE) up

down:
	@$(CORACLE) down

test:
	@scripts/install test
	@scripts/test
