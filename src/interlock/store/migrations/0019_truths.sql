-- The truth of other models than those of two classes: `kind` is '' for two classes, whose truth is `label` (0 or 1),
-- 'number' for a regression, whose truth is `number`, and 'class' for more than two classes, whose truth is `class`: one
-- of the model's own as JSON, `"red"` or `3`. With these `label` is -1, so that nobody takes it for one of two classes.
ALTER TABLE labels ADD COLUMN kind TEXT NOT NULL DEFAULT '';
ALTER TABLE labels ADD COLUMN number DOUBLE PRECISION;
ALTER TABLE labels ADD COLUMN class TEXT NOT NULL DEFAULT '';
