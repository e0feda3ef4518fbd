-- The journal's tables as version 1 made them: what its journals are migrated from.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE states (
  state INTEGER PRIMARY KEY,
  name  TEXT NOT NULL
);

INSERT INTO states VALUES (0, 'waiting'), (1, 'queued'), (2, 'held'), (3, 'running'),
  (4, 'delivering'), (5, 'done'), (6, 'failed'), (7, 'cancelled');

CREATE TABLE tasks (
  seq          INTEGER PRIMARY KEY,
  id           TEXT NOT NULL,
  box          TEXT NOT NULL,
  dropped      TEXT NOT NULL,
  result_name  TEXT NOT NULL,
  name         TEXT NOT NULL,
  key          TEXT NOT NULL,
  spec         TEXT NOT NULL,
  body_sha256  TEXT NOT NULL,
  submitted_at REAL NOT NULL,
  updated_at   REAL NOT NULL,
  priority     INTEGER NOT NULL,
  state        INTEGER NOT NULL,
  attempt      INTEGER NOT NULL,
  failures     INTEGER NOT NULL,
  losses       INTEGER NOT NULL,
  not_before   REAL NOT NULL,
  memory_bytes INTEGER NOT NULL,
  lease        TEXT,
  ending       TEXT,
  history      TEXT,
  twin_of      TEXT,
  result_kept  INTEGER NOT NULL DEFAULT 1,
  CHECK (state BETWEEN 0 AND 7),
  CHECK ((state = 3) = (lease IS NOT NULL)),
  CHECK ((state >= 4) = (ending IS NOT NULL)),
  CHECK (state <> 0 OR twin_of IS NOT NULL),
  CHECK (state <> 3 OR attempt > 0)
);

CREATE UNIQUE INDEX tasks_by_id ON tasks (id);

CREATE INDEX open_tasks ON tasks (seq)
WHERE state < 5;

CREATE INDEX ended_tasks ON tasks (result_kept, updated_at, state) WHERE state >= 5;

CREATE INDEX retryable_tasks ON tasks (seq) WHERE state >= 6;

CREATE INDEX tasks_by_key ON tasks (key) WHERE key <> '';

CREATE TABLE events (
  task  INTEGER NOT NULL,
  n     INTEGER NOT NULL,
  wall  REAL NOT NULL,
  state INTEGER NOT NULL,
  facts TEXT NOT NULL,
  PRIMARY KEY (task, n)
) WITHOUT ROWID;
