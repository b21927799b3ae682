"""The API server: HTTP verbs over the store.

A request goes through one chain: request information, authentication, audit, impersonation, authorization, then to the
handler of its verb. What is known of kinds is in `netlab.api`; what is kept is in the store, as the JSON of the stored
version without its resourceVersion, which is the store's revision. Every answer is JSON; bodies may be JSON, YAML or
protobuf. No other process is spoken to but the store (and webhooks, where they are configured).
"""
