-- Schema 3. Named numbers over steps: losses, rates and sizes, such as a training's. A run may have no prompt and no tokens.
CREATE TABLE measure(run INTEGER, step INTEGER, seq INTEGER, name TEXT, value REAL, unit TEXT, at INTEGER);
CREATE INDEX measure_step ON measure(run, step);
