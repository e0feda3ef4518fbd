"""The one that knows them all: wiring, reactor, effects."""
