-- Format 4: what is offered at which price, what became of the question, and a yes from a terminal.
ALTER TABLE offers ADD COLUMN model_id TEXT;
ALTER TABLE offers ADD COLUMN quote TEXT;
ALTER TABLE offers ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE offers ADD COLUMN automatic INTEGER NOT NULL DEFAULT 0;
ALTER TABLE offers ADD COLUMN declined INTEGER NOT NULL DEFAULT 0;
ALTER TABLE offers ADD COLUMN approved_at REAL;
CREATE INDEX IF NOT EXISTS by_request ON offers (request_id);
