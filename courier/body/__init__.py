"""What a message really holds: envelopes that are taken off, and codings that are undone."""
