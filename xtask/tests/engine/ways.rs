//! Ways to the engine.
