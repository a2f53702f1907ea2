-- Schema 1. Documented in docs/trace-schema.md; unknown numbers are NULL.
CREATE TABLE session(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;

CREATE TABLE run(
  run INTEGER PRIMARY KEY, name TEXT NOT NULL, parent INTEGER, fork_step INTEGER NOT NULL, forced_token INTEGER,
  method TEXT NOT NULL, parameters TEXT NOT NULL, seed TEXT NOT NULL, stream INTEGER NOT NULL, models TEXT NOT NULL,
  tokenizer TEXT NOT NULL, prompt_text TEXT NOT NULL, prompt BLOB NOT NULL, max_new_tokens INTEGER NOT NULL,
  stop_strings TEXT NOT NULL, stop_at_end INTEGER NOT NULL, top_k INTEGER NOT NULL, record_level TEXT NOT NULL,
  notes TEXT NOT NULL, created_at INTEGER NOT NULL, state TEXT NOT NULL, stop_reason TEXT NOT NULL,
  prefill_ms REAL, peak_memory_bytes INTEGER);

CREATE TABLE step(
  run INTEGER NOT NULL, step INTEGER NOT NULL, committed_before INTEGER NOT NULL, committed_after INTEGER NOT NULL,
  draft_ms REAL, verify_ms REAL, other_ms REAL, started_at INTEGER, failed INTEGER NOT NULL,
  PRIMARY KEY(run, step)) WITHOUT ROWID;

-- Facts of a step. `seq` is the place of the fact among all facts of its step.
CREATE TABLE forward(run INTEGER, step INTEGER, seq INTEGER, role TEXT, phase TEXT, tokens INTEGER, cached INTEGER, last_layer INTEGER, ms REAL);
CREATE TABLE distribution(run INTEGER, step INTEGER, seq INTEGER, kind TEXT, node INTEGER, position INTEGER, stage INTEGER, entropy REAL, tail_mass REAL, entries BLOB);
CREATE TABLE node(run INTEGER, step INTEGER, seq INTEGER, node INTEGER, parent INTEGER, token INTEGER, q REAL, rank INTEGER, depth INTEGER, owner TEXT);
CREATE TABLE verdict(run INTEGER, step INTEGER, seq INTEGER, node INTEGER, verdict TEXT, rule TEXT, p REAL, q REAL, u REAL, threshold REAL, p_raw REAL, p_rank INTEGER, stage INTEGER);
CREATE TABLE draw(run INTEGER, step INTEGER, seq INTEGER, node INTEGER, purpose TEXT, token INTEGER, u REAL, low REAL, high REAL, probability REAL, stage INTEGER);
CREATE TABLE committed(run INTEGER, step INTEGER, seq INTEGER, position INTEGER, token INTEGER, provenance TEXT, node INTEGER);
CREATE TABLE cell(run INTEGER, step INTEGER, seq INTEGER, position INTEGER, block INTEGER, token INTEGER, confidence REAL, entropy REAL, state TEXT);
-- Rarer facts: rollback, switch, score, note. `a` … `d` by kind, see the documentation.
CREATE TABLE fact(run INTEGER, step INTEGER, seq INTEGER, kind TEXT, a, b, c, d);

CREATE INDEX forward_step ON forward(run, step);
CREATE INDEX distribution_step ON distribution(run, step);
CREATE INDEX node_step ON node(run, step);
CREATE INDEX verdict_step ON verdict(run, step);
CREATE INDEX draw_step ON draw(run, step);
CREATE INDEX committed_step ON committed(run, step);
CREATE INDEX cell_step ON cell(run, step);
CREATE INDEX fact_step ON fact(run, step);

CREATE TABLE token(tokenizer TEXT NOT NULL, token INTEGER NOT NULL, bytes BLOB NOT NULL, text TEXT NOT NULL, PRIMARY KEY(tokenizer, token)) WITHOUT ROWID;
CREATE TABLE blob(name TEXT PRIMARY KEY, bytes BLOB NOT NULL);
