"""Queues: durable messages, delivered at least once, in batches, to the worker or to whoever pulls them."""
