-- Format 5: what is not saved or not shown, and why; who signed what.
ALTER TABLE generations ADD COLUMN unsaved TEXT NOT NULL DEFAULT '[]';
ALTER TABLE generations ADD COLUMN unshown TEXT;
ALTER TABLE generations ADD COLUMN credentials TEXT NOT NULL DEFAULT '[]';
