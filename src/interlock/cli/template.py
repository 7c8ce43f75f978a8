"""The interlock.toml that `init` writes: the project's name, and every table as a comment to begin with."""

from __future__ import annotations

from typing import Final

TEMPLATE: Final = """\
# One file wires the loop. Take the "# " away from the tables that you need, and put your names in.
# `interlock plan` checks it and shows what would change; `interlock apply` makes the workspace what it says.
[project]
name = {name}
goal = ""

# [data.people]                          # a dataset: where it comes from, and what its columns mean
# source = "data/people-*.csv"           # files or patterns in this folder; Parquet or CSV
# where = "age BETWEEN 18 AND 54"        # only these rows
# id = "person"                          # the column that names whom a row is about
# time = "year"                          # the column that says when
# target = "outcome"                     # the column that models predict
# sensitive = ["sex"]                    # kept for the audit, never an input

# [data.people.columns]                  # what you know of columns, over what is inferred
# age = {{ range = [0, 120] }}
# region = {{ codes = "1..9" }}

# [pipeline.train]                       # a plain function, module:function
# entry = "pipeline:train"
# args = {{ seed = 0 }}                    # values for its arguments

# [model.outcome]                        # how it is made, and who lets it through
# pipeline = "train"
# data = "people"                        # whom it is about; needed where several tables have a target
# headline = "roc_auc"                   # the metric that people look at first
# approve = "person"                     # or "better than champion": a rule that signs for challengers

# [model.outcome.gates]                  # what a version must show
# roc_auc = ">= 0.75"
# "selection_rate_ratio[sex]" = ">= 0.8"
# leakage = "none"
# approvals = 1

# [deployment.outcome]                   # which model answers, and how a new version takes over
# model = "outcome@champion"
# rollout = {{ canary = "10%", watch = "1 week" }}

# [monitor.outcome]                      # how the deployment of this name is watched
# window = "1 month"
# false_alarms = 0.01                    # the chance of any false alarm in a year
# quality = {{ metric = "roc_auc", at_least = 0.7 }}

# [[when]]                               # what follows from an event, as often as you like
# event = "monitor:outcome alarm"
# do = "retrain train"

# [[when]]
# event = "model:outcome approved"
# do = "deploy outcome"

# [settings]                             # see `interlock config`
# port = 8230
"""
