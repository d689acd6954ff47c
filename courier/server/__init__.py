"""uvicorn with limits: what the servers of the API and of the virtual queue share."""
