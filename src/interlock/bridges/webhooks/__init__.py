"""Webhooks: others are told of events by signed HTTP requests, each event at least once and in the ledger's order."""

from __future__ import annotations

from interlock.bridges.webhooks.book import WebhookBook
from interlock.bridges.webhooks.history import History
from interlock.bridges.webhooks.reach import Reach, serve
from interlock.bridges.webhooks.records import Attempt, Delivery, Webhook
from interlock.bridges.webhooks.sender import Sender

__all__ = ["Attempt", "Delivery", "History", "Reach", "Sender", "Webhook", "WebhookBook", "serve"]
