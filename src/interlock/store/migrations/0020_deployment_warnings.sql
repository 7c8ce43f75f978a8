-- What was found when a revision was made and was in nobody's way, as JSON: see interlock.deploy.records.Revision.
ALTER TABLE deployment_revisions ADD COLUMN warnings TEXT NOT NULL DEFAULT '[]';
