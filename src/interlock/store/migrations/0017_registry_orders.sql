-- The live versions and models in the orders that searches ask for, ties and all, so that a page is read off an index from where it
-- begins: for versions by instant the newest first, by number both ways, by name; the same within one model. Those that were put
-- away are in none of them, since there may be many, and no page of the live ones should walk over them.
CREATE INDEX model_versions_by_change ON model_versions (updated_at DESC, model, version DESC) WHERE archived_at IS NULL;
CREATE INDEX model_versions_by_age ON model_versions (created_at DESC, model, version DESC) WHERE archived_at IS NULL;
CREATE INDEX model_versions_by_name ON model_versions (model, version DESC) WHERE archived_at IS NULL;
CREATE INDEX model_versions_by_number ON model_versions (version, model) WHERE archived_at IS NULL;
CREATE INDEX model_versions_by_number_down ON model_versions (version DESC, model) WHERE archived_at IS NULL;
CREATE INDEX model_versions_of_model_by_change ON model_versions (model, updated_at DESC, version DESC) WHERE archived_at IS NULL;
CREATE INDEX model_versions_of_model_by_age ON model_versions (model, created_at DESC, version DESC) WHERE archived_at IS NULL;
CREATE INDEX models_by_change ON models (updated_at, name) WHERE archived_at IS NULL;
CREATE INDEX models_by_change_down ON models (updated_at DESC, name) WHERE archived_at IS NULL;
CREATE INDEX models_by_age ON models (created_at, name) WHERE archived_at IS NULL;
CREATE INDEX models_by_age_down ON models (created_at DESC, name) WHERE archived_at IS NULL;
