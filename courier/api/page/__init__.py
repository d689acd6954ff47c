"""The live page: one HTML document with its own style and script, which reads the API and loads nothing else."""
