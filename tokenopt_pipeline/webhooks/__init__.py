"""The HTTP door that providers knock on when a batch has ended."""

from tokenopt_pipeline.webhooks.app import WebhookStore, webhook_app
from tokenopt_pipeline.webhooks.serving import listening, serve

__all__ = ["WebhookStore", "listening", "serve", "webhook_app"]
