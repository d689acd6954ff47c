"""The replay: records of an audit log, sent again by the real pipeline from a queue in memory that holds them."""
