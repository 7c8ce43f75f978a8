"""Webhooks: others are told of events by signed HTTP requests, each event at least once and in the ledger's order."""

from __future__ import annotations

from interlock.bridges.webhooks.book import WebhookBook
from interlock.bridges.webhooks.reach import Reach
from interlock.bridges.webhooks.records import Attempt, Delivery, Webhook
from interlock.bridges.webhooks.sender import Sender

__all__ = ["Attempt", "Delivery", "Reach", "Sender", "Webhook", "WebhookBook"]
