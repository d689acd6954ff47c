"""The configuration: options, their units, presets, and where each value came from."""
