"""How a viewer follows its VM: state machines without sockets or clocks (spec/migration.md)."""
