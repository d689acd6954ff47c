"""The transport of ``--transport requests``: requests.Session on a pool of threads."""
