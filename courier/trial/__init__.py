"""The trial of one message: the request that it would become, and what the policy makes of the answer."""
