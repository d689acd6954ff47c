"""Fetching: bodies that their producers put into S3, with a pointer in the queue."""
