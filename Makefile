# Everything a person runs here. `make` alone lists it.

CARGO ?= cargo
# How long `make soak` repeats the tests.
SOAK_MINUTES ?= 60

# The tests show that they see deliberate bugs; no other build can have them.
TESTED = --workspace --locked --features slotd/sabotage

ifneq ($(shell command -v cargo-nextest 2>/dev/null),)
TEST = $(CARGO) nextest run $(TESTED)
else
TEST = $(CARGO) test $(TESTED)
endif

.PHONY: help demo test check bench soak

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST)

demo: ## Run the whole product on SQLite with a stand-in for Google; ARGS="--ics FILE" loads a calendar
	$(CARGO) run --release --locked -- demo $(ARGS)

test: ## Run every test on SQLite and on a throw-away PostgreSQL
	tools/postgres run -- $(TEST)

check: ## Check format, lints, documentation and dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	@if command -v cargo-deny >/dev/null; then \
		$(CARGO) deny --locked check bans licenses sources; \
	else \
		echo "note: cargo-deny is not installed, so licenses and sources of dependencies were not checked"; \
	fi

bench: ## Measure
	tools/postgres run -- $(CARGO) bench --workspace --locked

soak: ## Repeat the tests for SOAK_MINUTES with many more random cases and edits
	@end=$$(( $$(date +%s) + 60 * $(SOAK_MINUTES) )); edits=1000; \
	while [ $$(date +%s) -lt $$end ]; do \
		PROPTEST_CASES=5000 SLOTD_KILLS=7 SLOTD_SIMULATION_BASE=$$(date +%s%N) SLOTD_OWNER_MODEL_EDITS=$$edits tools/postgres run -- $(TEST) || exit 1; \
		edits=$$(( edits < 3000 ? edits + 500 : 3000 )); \
	done
